import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization

/// A listening HTTP server that can be stopped by itself.
final class HTTPListener: Sendable {
    let port: Int
    private let group: ServiceGroup
    private let task: Task<Void, any Error>

    private init(port: Int, group: ServiceGroup, task: Task<Void, any Error>) {
        self.port = port
        self.group = group
        self.task = task
    }

    /// Listens; returns when connections are accepted.
    static func start<Responder: HTTPResponder>(
        _ responder: Responder, at address: ServiceConfiguration.Address, configuration: ServiceConfiguration,
        logger: Logger
    ) async throws -> HTTPListener
    where Responder.Context: InitializableFromSource<ApplicationRequestContextSource> {
        var quiet = logger
        // Hummingbird tells at info that it starts and stops; ours are the lines that operators know.
        quiet.logLevel = max(logger.logLevel, .warning)
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let limits = {
            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = 32 * 1_024
            limits.maxHeaderListSize = 64 * 1_024
            limits.maxHeaderFieldCount = 100
            return limits
        }()
        let http = EventLoopHTTP1(
            responder: responder, readTimeout: configuration.readTimeout,
            writeTimeout: configuration.writeTimeout, limits: limits)
        let application = Application(
            responder: responder,
            server: HTTPServerBuilder { _ in http },
            configuration: .init(
                address: .hostname(address.host.isEmpty ? "0.0.0.0" : address.host, port: address.port)),
            onServerRunning: { channel in
                continuation.yield(channel.localAddress?.port ?? 0)
                continuation.finish()
            },
            logger: quiet)
        let group = ServiceGroup(configuration: .init(services: [application], logger: quiet))
        let task = Task {
            defer { continuation.finish() }
            try await group.run()
        }
        for await port in ports { return HTTPListener(port: port, group: group, task: task) }
        // It ended without listening: that is the error.
        try await task.value
        throw CancellationError()
    }

    /// Accepts nothing more, and returns when the requests under way are answered.
    func stop() async {
        await group.triggerGracefulShutdown()
        // That it ended is all that matters here.
        _ = try? await task.value
    }
}
