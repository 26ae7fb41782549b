import BrokerProtocol
import Logging
import NIOCore
import NIOPosix

/// Accepts clients and owns the loops that serve them.
///
/// `start` makes one `LoopCore` per event loop and binds the port, but accepts nobody before `accept` is
/// called, so that what must be in place first (the streaming engine on loop 0) can be put there.
final class ClientListener: Sendable {
    private let shared: SharedCore
    private let loops: [LoopReference]
    private let channel: any Channel
    /// The port that clients connect to.
    let port: Int

    private init(shared: SharedCore, loops: [LoopReference], channel: any Channel, port: Int) {
        self.shared = shared
        self.loops = loops
        self.channel = channel
        self.port = port
    }

    /// Binds `options.host` and `options.port` (-1: any free port) and spreads the clients over the loops of
    /// `group`. Throws NIO's `IOError` when the address is in use or not ours, `BrokerStartError` when processors cannot
    /// be kept ready.
    static func start(
        options: BrokerOptions, serverID: String, group: MultiThreadedEventLoopGroup, logger: Logger,
        cpuLatencyDevice: String = CPULatencyRequest.device
    ) async throws -> ClientListener {
        let shared = SharedCore(options: options, serverID: serverID)
        let eventLoops = Array(group.makeIterator())
        let requests = try options.cpuLatencyMicroseconds.map { microseconds in
            try eventLoops.map { _ in
                try CPULatencyRequest(microseconds: microseconds, device: cpuLatencyDevice)
            }
        }
        let cores = eventLoops.enumerated().map { index, eventLoop in
            LoopReference(
                core: LoopCore(
                    eventLoop: eventLoop, index: index, loops: eventLoops.count, shared: shared,
                    logger: logger))
        }
        for reference in cores {
            // Set before any event loop uses it: the first use is behind a task submitted later.
            reference.core.peers = cores.map(\.core)
        }
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.autoRead, value: false)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: 262_144)
            )
            // Not writable means: something of the last write is still to be sent.
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 1, high: 1))
            .childChannelInitializer { channel in
                guard let reference = cores.first(where: { $0.core.eventLoop === channel.eventLoop }) else {
                    preconditionFailure("a child channel lives on a loop of the group")
                }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ClientHandler(core: reference.core, writesToSocket: true))
                }
            }
        let channel = try await bootstrap.bind(host: options.host, port: max(options.port, 0)).get()
        if let requests {
            for (reference, request) in zip(cores, requests) { reference.core.cpuLatency = request }
        }
        let port = channel.localAddress?.port ?? options.port
        if options.advertisedPort == nil {
            var info = shared.serverInfo
            info.port = port
            shared.serverInfo = info
        }
        return ClientListener(shared: shared, loops: cores, channel: channel, port: port)
    }

    /// Begins to accept clients.
    func accept() async throws {
        try await channel.setOption(.autoRead, value: true).get()
    }

    /// Runs `body` with the loop core on its loop; loop 0 is the streaming engine's.
    func onLoop<Result: Sendable>(
        _ index: Int, _ body: @escaping @Sendable (LoopCore) throws -> Result
    ) async throws -> Result {
        let reference = loops[index]
        return try await reference.core.eventLoop.submit { try body(reference.core) }.get()
    }

    /// The counts of all loops together.
    func counters() async throws -> LoopCounters {
        var total = LoopCounters()
        for index in loops.indices {
            total += try await onLoop(index) { core in
                var counters = unsafe core.state.pointee.counters
                counters.subscriptions = unsafe core.state.pointee.router.count
                return counters
            }
        }
        return total
    }

    /// What INFO says.
    var serverInfo: ServerInfo { shared.serverInfo }

    /// Stops accepting.
    func stopAccepting() async {
        // A listener that is closed already is what we want.
        try? await channel.close().get()
    }

    /// Closes every client and waits until all are gone.
    func shutdown() async throws {
        await stopAccepting()
        for reference in loops {
            let eventLoop = reference.core.eventLoop
            try await eventLoop.flatSubmit { reference.core.stop() }.get()
        }
        for index in loops.indices {
            try await onLoop(index) { core in
                // The loops know each other, and so would keep each other for ever.
                core.peers = []
                core.cpuLatency = nil
            }
        }
    }
}
