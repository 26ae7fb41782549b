import HTTPTypes
import Hummingbird
import Logging

/// One structured line and the numbers of every request: no query string, no token, no body.
struct RequestRecorder: Sendable {
    let logger: Logger
    let metrics: Metrics

    func record(
        _ request: Request, _ response: Response, _ context: ServiceContext, took elapsed: Duration,
        statements: Int
    ) {
        // A path that is no route is not kept: it would be a label, and a line, of the caller's choice.
        let route = context.endpointPath.flatMap { $0 == RequestResponder.noRoute ? nil : $0 } ?? "(none)"
        let method = Self.label(request.method)
        metrics.recordRequest(
            method: method, route: route, status: response.status.code, took: elapsed,
            statements: statements)
        // Below its level the metadata is not even put together.
        logger.info("request", metadata: line(response, context, method, route, elapsed))
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
