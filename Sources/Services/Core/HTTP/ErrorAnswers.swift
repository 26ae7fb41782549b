import HTTPTypes
import Hummingbird
import NIOCore
import Postgres

/// Turns whatever was thrown into an answer of the common shape.
struct ErrorAnswers: Sendable {
    let table: RouteTable

    func response(to error: any Error, _ request: Request, _ context: ServiceContext) -> Response {
        Self.response(to: answer(to: error, request, context), isHead: request.method == .head)
    }

    /// For a path that is no route, or has none for the method.
    func notFound(_ request: Request) -> Response {
        Self.response(to: notFound(request.uri.path), isHead: request.method == .head)
    }

    static func response(to error: RequestError, isHead: Bool) -> Response {
        let body = error.body
        var headers = error.headers
        headers[.contentType] = "application/json"
        headers[.contentLength] = String(body.count)
        return Response(
            status: error.status, headers: headers,
            body: isHead ? ResponseBody() : ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }

    private func answer(
        to error: any Error, _ request: Request, _ context: ServiceContext
    ) -> RequestError {
        switch error {
        case let error as RequestError: return error
        case is RequestTimeout:
            return RequestError(
                .requestTimeout, "the request did not arrive in time", headers: [.connection: "close"])
        case is BrokenRequest:
            return RequestError(.badRequest, "the request is not whole", headers: [.connection: "close"])
        case let error as PostgresError where error.isUnavailable:
            context.log.logger.error("the database is not available", metadata: ["error": "\(error)"])
            return .unavailable("database unavailable")
        default:
            context.log.logger.error("a request failed", metadata: ["error": "\(error)"])
            return RequestError(.internalServerError, "Internal Server Error")
        }
    }

    private func notFound(_ path: String) -> RequestError {
        let methods = table.methods(of: path)
        if methods.isEmpty { return RequestError(.notFound, "no such path") }
        return RequestError(
            .methodNotAllowed, "method not allowed", headers: [.allow: methods.joined(separator: ", ")])
    }
}
