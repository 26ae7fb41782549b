import BrokerLog
import Glibc
import Logging
import NIOCore
import NIOPosix

/// A whole broker: the listener with its event loops, the streaming engine on loop 0, the log and the
/// monitoring port.
///
///     let broker = try await BrokerServer.start(options: options, version: "1.0", logger: log, streamingLogger: log)
///     // … until the process is told to stop:
///     try await broker.shutdown()
public final class BrokerServer: Sendable {
    typealias Engine = StreamingEngine<LoopCore>

    private let group: MultiThreadedEventLoopGroup
    private let listener: ClientListener
    private let streaming: StreamingService
    private let monitoring: MonitoringServer?
    private let logger: Logger
    private let streamingLogger: Logger

    /// The port that clients connect to.
    public var port: Int { listener.port }
    /// The port of the monitoring endpoint; nil if it is off.
    public var monitoringPort: Int? { monitoring?.port }

    private init(
        group: MultiThreadedEventLoopGroup, listener: ClientListener, streaming: StreamingService,
        monitoring: MonitoringServer?, logger: Logger, streamingLogger: Logger
    ) {
        self.group = group
        self.listener = listener
        self.streaming = streaming
        self.monitoring = monitoring
        self.logger = logger
        self.streamingLogger = streamingLogger
    }

    /// Recovers the store and serves clients from then on.
    ///
    /// - Parameters:
    ///   - version: the product's version, for the log and monitoring.
    ///   - logger: lines of the NATS part.
    ///   - streamingLogger: lines of the streaming part, each of which begins with `STREAM: `.
    /// - Throws: `BrokerStartError` with a sentence for the person who starts it.
    public static func start(
        options: BrokerOptions, version: String, logger: Logger, streamingLogger: Logger
    ) async throws(BrokerStartError) -> BrokerServer {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, options.loops))
        // First of all: loop 0 starts the log's threads, which inherit it.
        for loop in group.makeIterator() { loop.execute { ThreadPriority.followProcess() } }
        do {
            return try await start(
                options: options, version: version, logger: logger, streamingLogger: streamingLogger,
                group: group)
        } catch {
            // The start has failed; that its threads could not be joined changes nothing.
            try? await group.shutdownGracefully()
            throw BrokerStartError(error, options: options)
        }
    }

    private static func start(
        options: BrokerOptions, version: String, logger: Logger, streamingLogger: Logger,
        group: MultiThreadedEventLoopGroup
    ) async throws -> BrokerServer {
        let banner = StartBanner(options: options, version: version, logger: streamingLogger)
        banner.starting()
        let listener: ClientListener
        do {
            listener = try await ClientListener.start(
                options: options, serverID: ServerIdentity.random(), group: group, logger: logger)
        } catch let error as IOError {
            throw BrokerStartError(
                "cannot listen for clients on \(options.host):\(options.port): \(reason(error))")
        } catch is SocketAddressError.UnknownHost {
            throw BrokerStartError(
                "cannot listen for clients on \(options.host):\(options.port): there is no such host")
        }
        let streaming: StreamingService
        do {
            streaming = try await StreamingService.start(
                options: options, listener: listener, logger: streamingLogger)
        } catch {
            // What went wrong before is what is told.
            try? await listener.shutdown()
            throw error
        }
        var monitoring: MonitoringServer?
        do {
            monitoring = try await startMonitoring(
                options: options, version: version, listener: listener, streaming: streaming, group: group)
            if let monitoring {
                logger.info("Starting http monitor on \(options.host):\(monitoring.port)")
            }
            try await listener.accept()
        } catch {
            await monitoring?.shutdown()
            // Closes the log. What went wrong before is what is told.
            try? await streaming.stop()
            try? await listener.shutdown()
            throw error
        }
        logger.info("Listening for client connections on \(options.host):\(listener.port)")
        logger.info("Server is ready")
        banner.ready()
        return BrokerServer(
            group: group, listener: listener, streaming: streaming, monitoring: monitoring, logger: logger,
            streamingLogger: streamingLogger)
    }

    private static func startMonitoring(
        options: BrokerOptions, version: String, listener: ClientListener, streaming: StreamingService,
        group: MultiThreadedEventLoopGroup
    ) async throws -> MonitoringServer? {
        guard let port = options.monitoringPort else { return nil }
        var extensions = MonitoringRoutes.Extensions()
        extensions.streaming = { request in
            try await streaming.withEngine { $0.answer(request, version: version) }
        }
        extensions.health = { try await streaming.withEngine { $0.health() } }
        extensions.metrics = { metrics in try await streaming.withEngine { $0.addMetrics(to: metrics) } }
        extensions.links = ["serverz", "storez", "clientsz", "channelsz"].map {
            (path: "/streaming/\($0)", text: "Streaming \($0)")
        }
        let routes = MonitoringRoutes(
            listener: listener, options: options, productVersion: version, extensions: extensions)
        do {
            return try await MonitoringServer.start(
                host: options.host, port: port, group: group, routes: routes)
        } catch let error as IOError {
            throw BrokerStartError(
                "cannot listen for monitoring on \(options.host):\(port): \(reason(error))")
        }
    }

    /// What the system says of a failed call, without the call.
    private static func reason(_ error: IOError) -> String {
        unsafe String(cString: strerror(error.errnoCode))
    }

    /// Stops accepting, closes every client, puts the store on disk and ends the threads.
    public func shutdown() async throws {
        streamingLogger.info("STREAM: Shutting down.")
        logger.info("Initiating Shutdown...")
        await listener.stopAccepting()
        await monitoring?.shutdown()
        try await streaming.stop()
        try await listener.shutdown()
        try await group.shutdownGracefully()
        logger.info("Server Exiting..")
    }
}

/// Why a broker could not be started: a sentence for the person who must act.
public struct BrokerStartError: Error, CustomStringConvertible {
    /// The sentence.
    public let description: String

    init(_ description: String) { self.description = description }

    init(_ error: any Error, options: BrokerOptions) {
        switch error {
        case let error as LogError:
            if case .otherCluster(let recovered) = error.code {
                description =
                    "cluster ID \"\(options.clusterID)\" does not match recovered value of \"\(recovered)\": "
                    + "start with -cid \(recovered), or with another -dir"
            } else {
                description = error.description
            }
        case let error as BrokerStartError: description = error.description
        default: description = "\(error)"
        }
    }
}
