import BrokerClient
import NIOCore
import NIOPosix

/// One run of a benchmark: its connections, all on one event loop, and how it ends.
///
/// One loop is enough: whole blocks of frames are written at once, and frames are compared in place, so that the generator
/// does a fraction of the server's work.
class BenchRun {
    let loop: any EventLoop
    private let promise: EventLoopPromise<Void>
    private var connections: [BenchConnection] = []
    private var isEnded = false

    init(loop: any EventLoop) {
        self.loop = loop
        promise = loop.makePromise()
    }

    /// Ends the run; the first call decides.
    func end(_ error: CommandFailure?) {
        guard !isEnded else { return }
        isEnded = true
        for connection in connections { connection.close() }
        if let error { promise.fail(error) } else { promise.succeed() }
    }

    /// Connects one more role. The server is the first of the options that answers to the first connection.
    func connect(_ role: any BenchRole, _ options: ClientOptions) {
        guard let server = options.servers.first else { return }
        var fields: [String: JSON] = [
            "verbose": .bool(false), "pedantic": .bool(false), "protocol": .integer(1),
            "headers": .bool(true),
            "no_responders": .bool(true), "lang": .string("swift"), "name": .string("broker bench"),
            "version": .string(Version.number),
        ]
        if let user = server.user ?? options.user { fields["user"] = .string(user) }
        if let password = server.password ?? options.password { fields["pass"] = .string(password) }
        if let token = server.token ?? options.token { fields["auth_token"] = .string(token) }
        let connection = BenchConnection(
            role: role, connectLine: "CONNECT \(JSON.object(fields).text)\r\nPING\r\n",
            failed: { [unowned self] reason in end(CommandFailure("\(server): \(reason)")) })
        connections.append(connection)
        let bound = NIOLoopBound(connection, eventLoop: loop)
        let run = NIOLoopBound(self, eventLoop: loop)
        ClientBootstrap(group: loop)
            .connectTimeout(.seconds(5))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 65_536, maximum: 262_144)
            )
            .channelOption(.writeBufferWaterMark, value: .init(low: 262_144, high: 1 << 20))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(bound.value)
                }
            }
            .connect(host: server.host, port: server.port)
            .whenFailure { error in run.value.end(CommandFailure("cannot connect to \(server): \(error)")) }
    }

    /// Starts a run on a loop and waits for its end. `body` makes it there; `report` reads its result there.
    static func perform<Run: BenchRun & SendableMetatype>(
        progress isShown: Bool, total: Int, _ body: @escaping @Sendable (any EventLoop) -> Run,
        done: @escaping @Sendable (Run) -> Int, report: @escaping @Sendable (Run) -> BenchReport
    ) async throws -> BenchReport {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let (run, finished) = try await loop.submit {
            let run = body(loop)
            return (NIOLoopBound(run, eventLoop: loop), run.promise.futureResult)
        }.get()
        var bar = ProgressBar(total: total, isShown: isShown)
        if isShown {
            let ticks = Task { [bar] in
                var bar = bar
                while !Task.isCancelled {
                    // Ten times a second the loop is asked how far it is: nothing to the measurement.
                    guard let count = try? await loop.submit({ done(run.value) }).get() else { return }
                    bar.advance(to: count)
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
            defer { ticks.cancel() }
            try await finished.get()
            bar.finish()
        } else {
            try await finished.get()
        }
        return try await loop.submit { NIOLoopBound(report(run.value), eventLoop: loop) }.flatMapThrowing {
            $0.value
        }
        .get()
    }
}
