import Logging
import NIOPosix

@testable import Broker

/// A NATS core without the streaming engine, on a free port of loopback.
enum CoreFixture {
    /// Options for a core on a free port; `change` adapts them.
    static func options(_ change: (inout BrokerOptions) -> Void = { _ in }) -> BrokerOptions {
        var options = BrokerOptions()
        options.host = "127.0.0.1"
        options.port = -1
        // Of a machine that is busy, ten seconds may pass anywhere: only a test of the deadline has a shorter one.
        options.writeDeadlineNanoseconds = 600_000_000_000
        change(&options)
        return options
    }

    /// Runs `body` with a started core, and ends it afterwards.
    static func run<Result>(
        loops: Int = 1, _ options: BrokerOptions = options(),
        cpuLatencyDevice: String = CPULatencyRequest.device,
        logger: Logger = Logger(label: "core", factory: { _ in SwiftLogNoOpLogHandler() }),
        prepare: @escaping @Sendable (LoopCore) -> Void = { _ in },
        _ body: (ClientListener) async throws -> Result
    ) async throws -> Result {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let listener = try await ClientListener.start(
            options: options, serverID: "NTEST", group: group, logger: logger,
            cpuLatencyDevice: cpuLatencyDevice)
        do {
            try await listener.onLoop(0) { prepare($0) }
            try await listener.accept()
            let result = try await body(listener)
            try await listener.shutdown()
            try await group.shutdownGracefully()
            return result
        } catch {
            try await listener.shutdown()
            try await group.shutdownGracefully()
            throw error
        }
    }
}
