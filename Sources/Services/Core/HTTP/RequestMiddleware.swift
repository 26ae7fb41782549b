import HTTPTypes
import Hummingbird

/// What every request goes through, from outside to inside (services.md 6.3): log → CORS → trace id → errors → (in the
/// route) authentication → handler.
///
/// One middleware for all of them: what Hummingbird does between two costs more than each of ours does.
struct RequestMiddleware: RouterMiddleware {
    let log: RequestRecorder
    let cors: CORS
    let errors: ErrorAnswers
    let clock: ServiceClock

    func handle(
        _ request: Request, context: ServiceContext,
        next: @concurrent (Request, ServiceContext) async throws -> Response
    ) async throws -> Response {
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
                    try await next(request, context)
                }
            } catch {
                response = errors.response(to: error, request, context)
            }
            response.headers[.traceID] = context.log.traceID
        }
        cors.addHeaders(to: &response, for: request)
        log.record(request, response, context, took: clock.monotonic() - start, statements: statements.value)
        return response
    }
}

extension HTTPField.Name {
    /// `X-Trace-Id`.
    static let traceID = Self("X-Trace-Id") ?? .from
}
