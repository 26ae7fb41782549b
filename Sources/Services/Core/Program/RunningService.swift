import AsyncHTTPClient
import Hummingbird
import Logging
import NIOCore
import Postgres
import Synchronization

/// A service that runs in this process.
///
/// ```swift
/// let service = try await RunningService.start(ProjectsService.self, configuration, logger: logger)
/// // … http://127.0.0.1:\(service.port)
/// await service.shutdown()
/// ```
///
/// It starts whether or not the database and the broker are there, and connects to them when they come.
public final class RunningService: Sendable {
    /// The port of the API.
    public let port: Int
    /// The port of the debug listener; nil when it is off.
    public let debugPort: Int?
    /// The numbers.
    public let metrics: Metrics
    /// The routes as `METHOD /path/{name}`.
    public let routes: [String]

    private let configuration: ServiceConfiguration
    private let resources: ServiceResources
    private let readiness: Readiness
    private let broker: BrokerLink
    private let server: HTTPListener
    private let debugServer: HTTPListener?
    private let background: Background
    private let logger: Logger

    /// The tasks beside the listeners, each ended by itself and in order.
    private struct Background: Sendable {
        let service: Task<Void, Never>
        let consumer: Task<Void, Never>
        let relay: Task<Void, Never>
        let link: Task<Void, Never>
        let keys: Task<Void, Never>
    }

    /// Starts a service; returns when it listens.
    ///
    /// - Throws: When a port cannot be listened on.
    public static func start<Service: BackendService>(
        _ type: Service.Type, _ configuration: ServiceConfiguration, clock: ServiceClock = .system,
        logger: Logger
    ) async throws -> RunningService {
        let metrics = Metrics()
        let resources = ServiceResources(
            configuration: configuration, database: Database.make(configuration, logger),
            httpClient: HTTPClient.make(), metrics: metrics, clock: clock, logger: logger)
        do {
            return try await start(type, resources)
        } catch {
            await resources.database.pool.shutdown()
            // The start has failed, and that is what is told.
            try? await resources.httpClient.shutdown()
            throw error
        }
    }

    private static func start<Service: BackendService>(
        _ type: Service.Type, _ resources: ServiceResources
    ) async throws -> RunningService {
        let (configuration, clock, metrics) = (resources.configuration, resources.clock, resources.metrics)
        let logger = resources.logger
        let service = Service(resources)
        let broker = BrokerLink(configuration.broker, clock: clock, logger: logger)
        let outbox = OutboxState()
        let readiness = Readiness(database: resources.database, broker: broker, outbox: outbox)
        let inbox = Inbox(
            consumer: configuration.broker.queueGroup, database: resources.database,
            listeners: service.listeners)
        let keys = KeyStore.make(resources)
        let api = API(service, resources: resources, keys: keys)
        let server = try await HTTPListener.start(
            api.responder, at: configuration.address, configuration: configuration, logger: logger)
        let debugServer: HTTPListener?
        do {
            debugServer = try await configuration.debugAddress.map {
                (address: $0, routes: debugRouter(readiness, metrics))
            }
            .asyncMap {
                try await HTTPListener.start(
                    $0.routes, at: $0.address, configuration: configuration, logger: logger)
            }
        } catch {
            await server.stop()
            throw error
        }
        let relay = OutboxRelay(
            configuration: configuration.database, database: resources.database, broker: broker, clock: clock,
            metrics: metrics,
            logger: logger, failPoint: configuration.failPoint, state: outbox)
        let consumer = EventConsumer(
            configuration: configuration.broker, inbox: inbox, broker: broker, clock: clock,
            metrics: metrics, logger: logger, failPoint: configuration.failPoint,
            parked: ParkedEvents(inbox: inbox, metrics: metrics, logger: logger))
        let background = Background(
            service: Task { await service.run() }, consumer: Task { await consumer.run() },
            relay: Task { await relay.run() }, link: Task { await broker.run() },
            keys: Task { await keys.prepare() })
        return RunningService(
            port: server.port, debugPort: debugServer?.port, routes: api.routes, resources: resources,
            readiness: readiness, broker: broker, server: server, debugServer: debugServer,
            background: background)
    }

    private init(
        port: Int, debugPort: Int?, routes: [String], resources: ServiceResources, readiness: Readiness,
        broker: BrokerLink, server: HTTPListener, debugServer: HTTPListener?, background: Background
    ) {
        self.port = port
        self.debugPort = debugPort
        self.routes = routes
        self.resources = resources
        self.readiness = readiness
        self.broker = broker
        self.server = server
        self.debugServer = debugServer
        self.background = background
        configuration = resources.configuration
        metrics = resources.metrics
        logger = resources.logger
    }

    /// The service's database.
    public var database: Database { resources.database }

    /// Ends the service in the order of services.md 5.6: the API after its requests, the subscriptions after their
    /// handlers have committed and acknowledged, the relay, the session with the broker, the database.
    ///
    /// Whoever waits for an outside system has half of the time for a shutdown: then the call, or the pause before the
    /// next one, ends as if that system were away, and what waits for it can end in order.
    public func shutdown() async {
        logger.info("shutting down")
        readiness.isShuttingDown = true
        let (resources, limit) = (resources, configuration.shutdownTimeout)
        let hangingUp = Task {
            try await resources.clock.sleep(limit / 2)
            resources.isHangingUp.set()
            try await resources.httpClient.shutdown()
        }
        defer { hangingUp.cancel() }
        // Together with the requests, since both may wait for the same system.
        background.service.cancel()
        await server.stop()
        for task in [background.service, background.consumer, background.relay, background.keys] {
            task.cancel()
            await task.value
        }
        await broker.end(background.link)
        await resources.database.pool.shutdown()
        do {
            try await resources.httpClient.shutdown()
        } catch {
            logger.debug("the HTTP client did not end in order", metadata: ["error": "\(error)"])
        }
        await debugServer?.stop()
        logger.info("shut down")
    }
}

extension Database {
    /// The database that a configuration names.
    static func make(_ configuration: ServiceConfiguration, _ logger: Logger) -> Database {
        var connection = configuration.database
        connection.logger = logger
        var options = PostgresPool.Options()
        options.maximumConnections = configuration.databasePoolSize
        options.acquireTimeout = configuration.settings[CoreSettings.databaseTimeout]
        return Database(PostgresPool(connection, options: options))
    }
}

extension HTTPClient {
    /// A client for outside systems: 5 s to connect, no redirects (credentials go to the host that was configured).
    static func make() -> HTTPClient {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(5)
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }
}

extension Optional where Wrapped: Sendable {
    fileprivate func asyncMap<Value>(_ body: (Wrapped) async throws -> Value) async rethrows -> Value? {
        guard let self else { return nil }
        return try await body(self)
    }
}
