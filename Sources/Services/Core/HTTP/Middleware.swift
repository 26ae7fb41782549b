import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Postgres

// The order is that of services.md 6.3: log → CORS → trace id → errors → (in the route) authentication → handler.

/// One structured line and the numbers of every request: no query string, no token, no body.
struct RequestLogMiddleware: RouterMiddleware {
    let logger: Logger
    let metrics: Metrics
    let clock: ServiceClock

    func handle(
        _ request: Request, context: ServiceContext, next: (Request, ServiceContext) async throws -> Response
    ) async throws -> Response {
        let start = clock.monotonic()
        let statements = StatementCount()
        var context = context
        context.log = RequestLog(service: logger, traceID: TraceID(request.headers).text)
        let response = try await StatementCount.$current.withValue(statements) {
            try await next(request, context)
        }
        let elapsed = clock.monotonic() - start
        // A path that is no route is not kept: it would be a label, and a line, of the caller's choice.
        let route = context.endpointPath.flatMap { $0 == "NotFound" ? nil : $0 } ?? "(none)"
        let method = RequestLogMiddleware.label(request.method)
        let status = String(response.status.code)
        metrics.add(.requests, 1, ["method": method, "route": route, "status": status])
        metrics.observe(
            .requestDuration, elapsed.seconds, ["method": method, "route": route, "status": status])
        metrics.observe(.requestStatements, Double(statements.value), ["method": method, "route": route])
        // Below its level the metadata is not even put together.
        logger.info("request", metadata: line(response, context, method, route, elapsed))
        return response
    }

    private func line(
        _ response: Response, _ context: ServiceContext, _ method: String, _ route: String,
        _ elapsed: Duration
    ) -> Logger.Metadata {
        var line: Logger.Metadata = [
            "trace_id": "\(context.log.traceID)", "status": .stringConvertible(response.status.code),
            "method": "\(method)", "path": "\(route)", "remote": "\(context.remoteAddress)",
            "latency_ms": .stringConvertible((elapsed.seconds * 1e6).rounded() / 1e3),
        ]
        if let userID = context.caller.userID { line["user_id"] = "\(userID)" }
        return line
    }

    /// The methods of HTTP by name; what a client made up is one label.
    private static func label(_ method: HTTPRequest.Method) -> String {
        switch method {
        case .get, .head, .post, .put, .patch, .delete, .options, .trace, .connect: method.rawValue
        default: "(other)"
        }
    }
}

/// Answers preflights and adds the headers of CORS to every answer, errors included (services.md 6.2).
struct CORSMiddleware: RouterMiddleware {
    let origins: Set<String>

    private static let allowedHeaders =
        "Authorization, Cache-Control, Content-Type, Strict-Transport-Security, Idempotency-Key, X-Trace-Id"
    private static let allowedMethods = "OPTIONS, GET, POST, DELETE, PUT, PATCH"

    func handle(
        _ request: Request, context: ServiceContext, next: (Request, ServiceContext) async throws -> Response
    ) async throws -> Response {
        let origin = request.headers[.origin].flatMap { origins.contains($0) ? $0 : nil }
        let isPreflight =
            request.method == .options && request.headers[.origin] != nil
            && request.headers[.accessControlRequestMethod] != nil
        var response = isPreflight ? Response(status: .noContent) : try await next(request, context)
        // Caches must not give one origin's answer to another.
        response.headers.append(HTTPField(name: .vary, value: "Origin"))
        if let origin {
            response.headers[.accessControlAllowOrigin] = origin
            response.headers[.accessControlAllowCredentials] = "true"
            if isPreflight {
                response.headers[.accessControlAllowHeaders] = Self.allowedHeaders
                response.headers[.accessControlAllowMethods] = Self.allowedMethods
                response.headers[.accessControlMaxAge] = "600"
            } else {
                response.headers[.accessControlExposeHeaders] = "X-Trace-Id, X-View-Position"
            }
        }
        return response
    }
}

/// Gives the caller the trace id of the request.
struct TraceIDMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: ServiceContext, next: (Request, ServiceContext) async throws -> Response
    ) async throws -> Response {
        var response = try await next(request, context)
        response.headers[.traceID] = context.log.traceID
        return response
    }
}

/// Turns whatever was thrown into an answer of the common shape.
struct ErrorMiddleware: RouterMiddleware {
    let table: RouteTable

    func handle(
        _ request: Request, context: ServiceContext, next: (Request, ServiceContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            let error = answer(to: error, request, context)
            return Self.response(to: error, isHead: request.method == .head)
        }
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
        case let error as HTTPError where error.status == .notFound:
            return notFound(request.uri.path)
        case let error as PostgresError where error.isUnavailable:
            context.log.logger.error("the database is not available", metadata: ["error": "\(error)"])
            return .unavailable("database unavailable")
        case let error as HTTPError:
            return RequestError(error.status, error.body ?? error.status.reasonPhrase)
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

extension HTTPField.Name {
    /// `X-Trace-Id`.
    static let traceID = Self("X-Trace-Id") ?? .from
}
