import HTTPTypes
import Hummingbird

/// Preflights, and the headers of CORS on every answer, errors included (services.md 6.2).
struct CORS: Sendable {
    let origins: Set<String>

    private static let allowedHeaders =
        "Authorization, Cache-Control, Content-Type, Strict-Transport-Security, Idempotency-Key, X-Trace-Id"
    private static let allowedMethods = "OPTIONS, GET, POST, DELETE, PUT, PATCH"

    /// A browser asks what it may send: the answer has no body and asks nobody.
    func isPreflight(_ request: Request) -> Bool {
        request.method == .options && request.headers.contains(.origin)
            && request.headers.contains(.accessControlRequestMethod)
    }

    func addHeaders(to response: inout Response, for request: Request) {
        // Caches must not give one origin's answer to another.
        response.headers.append(HTTPField(name: .vary, value: "Origin"))
        guard let origin = request.headers.value(of: .origin), origins.contains(origin) else { return }
        response.headers[.accessControlAllowOrigin] = origin
        response.headers[.accessControlAllowCredentials] = "true"
        if isPreflight(request) {
            response.headers[.accessControlAllowHeaders] = Self.allowedHeaders
            response.headers[.accessControlAllowMethods] = Self.allowedMethods
            response.headers[.accessControlMaxAge] = "600"
        } else {
            response.headers[.accessControlExposeHeaders] = "X-Trace-Id, X-View-Position"
        }
    }
}
