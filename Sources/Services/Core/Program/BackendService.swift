import AsyncHTTPClient
import Logging

/// A service: its settings, its routes, the events that it listens to.
///
/// ```swift
/// public struct ProjectsService: BackendService {
///     public static let name = "projects"
///     public init(_ resources: ServiceResources) { … }
///     public func addRoutes(to router: ServiceRouter) { router.get("/api/v1/projects", for: .registeredUser) { … } }
///     public var listeners: [EventListener] { [EventListener(MembershipCreated.self) { … }] }
/// }
/// ```
///
/// The command is then one line: `await ServiceProgram<ProjectsService>.main()`.
public protocol BackendService: Sendable {
    /// The name of the command and of the path: `projects` has `/api/v1/projects`.
    static var name: String { get }
    /// Settings beside those of every service.
    static var settings: [any SettingDefinition] { get }
    /// Says what is wrong with the service's own settings together; a line each.
    static func problems(_ settings: Settings) -> [String]
    /// The OpenAPI document, served at `/api/v1/{name}/openapi.yaml`.
    static var openAPI: [UInt8] { get }

    /// Makes the service; it does nothing yet.
    init(_ resources: ServiceResources)
    /// Adds the routes; health and the OpenAPI document are there already.
    func addRoutes(to router: ServiceRouter)
    /// What listens to the events of other services.
    var listeners: [EventListener] { get }
    /// Works in the background until the task is cancelled; what is under way then must be finished.
    func run() async
}

extension BackendService {
    /// None.
    public static var settings: [any SettingDefinition] { [] }
    /// None.
    public static func problems(_ settings: Settings) -> [String] { [] }
    /// None.
    public var listeners: [EventListener] { [] }
    /// Nothing to do in the background.
    public func run() async {}
}

/// What a service works with.
public struct ServiceResources: Sendable {
    /// Its configuration; `configuration.settings` has the service's own settings.
    public let configuration: ServiceConfiguration
    /// Its database.
    public let database: Database
    /// For calls of outside systems; shut down by the one who made it.
    public let httpClient: HTTPClient
    /// Set at a shutdown, when whoever still waits for an outside system is to give up.
    public let isHangingUp = Latch()
    /// Its numbers.
    public let metrics: Metrics
    /// The times that it lives by.
    public let clock: ServiceClock
    /// Its log.
    public let logger: Logger
}
