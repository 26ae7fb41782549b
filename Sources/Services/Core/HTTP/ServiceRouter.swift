import HTTPTypes
import Hummingbird

/// The routes of a service.
///
/// ```swift
/// router.get("/api/v1/projects/:pid", for: .registeredUser) { call in
///     .ok(try await projects.find(call.id("pid"), for: call.userID))
/// }
/// ```
///
/// Literal segments win over parameters. A known path with another method answers 405 with `Allow`.
public final class ServiceRouter {
    /// Who may call a route.
    public enum Access: Sendable {
        /// Nobody is asked who he is.
        case anyone
        /// Whoever has a valid token, also without an account here.
        case token
        /// A valid token with the claim of an internal user id: 403 `user not registered` without.
        case registeredUser
    }

    /// Answers a request.
    public typealias Handler = @Sendable (Call) async throws -> Reply

    let router = Router(context: ServiceContext.self)
    private(set) var table = RouteTable()
    private let authenticator: Authenticator

    init(authenticator: Authenticator) { self.authenticator = authenticator }

    /// Adds a route for GET, and for HEAD, which answers the same without the body.
    public func get(_ path: String, for access: Access, handler: @escaping Handler) {
        add(.get, path, access, handler)
        add(.head, path, access, handler)
    }

    /// Adds a route for POST.
    public func post(_ path: String, for access: Access, handler: @escaping Handler) {
        add(.post, path, access, handler)
    }

    /// Adds a route for PATCH.
    public func patch(_ path: String, for access: Access, handler: @escaping Handler) {
        add(.patch, path, access, handler)
    }

    /// Adds a route for DELETE.
    public func delete(_ path: String, for access: Access, handler: @escaping Handler) {
        add(.delete, path, access, handler)
    }

    private func add(
        _ method: HTTPRequest.Method, _ path: String, _ access: Access, _ handler: @escaping Handler
    ) {
        table.add(method, path)
        router.on(
            RouterPath(path), method: method,
            responder: Route(authenticator: authenticator, access: access, method: method, handler: handler))
    }

    /// Every route as `METHOD /path/{name}`, HEAD left out: what the OpenAPI document must have.
    public var routes: [String] { table.routes }
}

/// Answers the requests for one route.
private struct Route: HTTPResponder {
    let authenticator: Authenticator
    let access: ServiceRouter.Access
    let method: HTTPRequest.Method
    let handler: ServiceRouter.Handler

    func respond(to request: Request, context: ServiceContext) async throws -> Response {
        let identity = try await authenticator.identity(of: request, for: access)
        context.caller.userID = identity.userID
        let call = Call(request: request, context: context, identity: identity)
        return try await handler(call).response(isHead: method == .head)
    }
}

/// Which methods a path has.
struct RouteTable: Sendable {
    private struct Entry: Sendable {
        let segments: [Substring]
        let path: String
        var methods: [HTTPRequest.Method]
    }

    private var entries: [Entry] = []

    mutating func add(_ method: HTTPRequest.Method, _ path: String) {
        if let index = entries.firstIndex(where: { $0.path == path }) {
            entries[index].methods.append(method)
        } else {
            entries.append(Entry(segments: path.split(separator: "/"), path: path, methods: [method]))
        }
    }

    var routes: [String] {
        entries.flatMap { entry in
            let path = entry.segments.map { $0.first == ":" ? "/{\($0.dropFirst())}" : "/\($0)" }.joined()
            return entry.methods.filter { $0 != .head }.map { "\($0.rawValue) \(path)" }
        }
    }

    /// The methods of the route that a path matches, literal segments before parameters; none for an unknown path.
    func methods(of path: String) -> [String] {
        let segments = path.split(separator: "/")
        let matching = entries.filter { entry in
            entry.segments.count == segments.count
                && zip(entry.segments, segments).allSatisfy { $0.first == ":" || $0 == $1 }
        }
        guard let best = matching.max(by: { Self.literals($0).lexicographicallyPrecedes(Self.literals($1)) })
        else { return [] }
        return (best.methods.map(\.rawValue) + ["OPTIONS"]).sorted()
    }

    private static func literals(_ entry: Entry) -> [Int] { entry.segments.map { $0.first == ":" ? 0 : 1 } }
}
