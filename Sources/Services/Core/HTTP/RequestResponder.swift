import HTTPTypes
import Hummingbird

/// What every request goes through, from outside to inside (services.md 6.3): log → CORS → trace id → errors → (in the
/// route) authentication → handler.
///
/// It stands around the router, not as middleware in it: what Hummingbird does between two costs more than each of ours.
struct RequestResponder: HTTPResponder {
    let router: RouterResponder<ServiceContext>
    let log: RequestRecorder
    let cors: CORS
    let errors: ErrorAnswers
    let clock: ServiceClock

    func respond(to request: Request, context: ServiceContext) async throws -> Response {
        let start = clock.monotonic()
        let statements = StatementCount()
        var context = context
        context.log = RequestLog(service: log.logger, traceID: TraceID(request.headers).text)
        var response: Response
        if cors.isPreflight(request) {
            response = Response(status: .noContent)
        } else {
            do {
                response = try await StatementCount.$current.withValue(statements) {
                    try await router.respond(to: request, context: context)
                }
                // What the router answers itself.
                if context.endpointPath == Self.noRoute { response = errors.notFound(request) }
            } catch {
                response = errors.response(to: error, request, context)
            }
            response.headers[.traceID] = context.log.traceID
        }
        cors.addHeaders(to: &response, for: request)
        log.record(request, response, context, took: clock.monotonic() - start, statements: statements.value)
        return response
    }

    /// What Hummingbird calls the endpoint of a request that has none.
    static let noRoute = "NotFound"
}

extension HTTPField.Name {
    /// `X-Trace-Id`.
    static let traceID = Self("X-Trace-Id") ?? .from
}
