import NIOCore
import NIOPosix

/// A server whose every word the test says: it accepts connections on a port of its own, hands the lines that come to the
/// test, and sends what the test wants.
final class ScriptedServer: Sendable {
    private let channel: any Channel
    private let accepted: AsyncStream<ScriptedConnection>
    private let handOver: AsyncStream<ScriptedConnection>.Continuation

    /// Listens; `port` 0 is a free one.
    init(port: Int = 0) async throws {
        let (accepted, handOver) = AsyncStream.makeStream(of: ScriptedConnection.self)
        self.accepted = accepted
        self.handOver = handOver
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (lines, lineContinuation) = AsyncStream.makeStream(of: String.self)
                    try channel.pipeline.syncOperations.addHandler(LineReader(lineContinuation))
                    handOver.yield(ScriptedConnection(channel: channel, lines: lines))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        self.port = channel.localAddress?.port ?? 0
    }

    /// The port; still known when it was stopped.
    let port: Int
    var url: String { "nats://127.0.0.1:\(port)" }

    /// The next connection that comes.
    func connection() async throws -> ScriptedConnection {
        var iterator = accepted.makeAsyncIterator()
        guard let connection = await iterator.next() else { throw Ended() }
        return connection
    }

    /// The next connection, after the usual greeting; its first line is CONNECT.
    func greeted(info: String = ScriptedServer.info()) async throws -> ScriptedConnection {
        let connection = try await connection()
        connection.send("INFO \(info)\r\n")
        connection.connectLine = try await connection.line("CONNECT ")
        _ = try await connection.line("PING")
        connection.send("PONG\r\n")
        return connection
    }

    static func info(_ more: String = "") -> String {
        #"{"server_id":"S","version":"2.12.0","proto":1,"headers":true,"max_payload":1024\#(more)}"#
    }

    func stop() async {
        try? await channel.close()
        handOver.finish()
    }

    struct Ended: Error {}
}

/// One connection to a `ScriptedServer`.
final class ScriptedConnection: @unchecked Sendable {
    let channel: any Channel
    private let lines: AsyncStream<String>
    /// What the client said in CONNECT; written before the test sees the connection.
    var connectLine = ""

    init(channel: any Channel, lines: AsyncStream<String>) {
        self.channel = channel
        self.lines = lines
    }

    func send(_ text: String) {
        channel.writeAndFlush(ByteBuffer(string: text), promise: nil)
    }

    func send(_ bytes: [UInt8]) {
        channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }

    /// The next line; it must begin with `prefix`. What may come at any time is skipped unless it is asked for: PONGs, and
    /// the pings of a streaming client.
    func line(_ prefix: String = "") async throws -> String {
        var iterator = lines.makeAsyncIterator()
        while let line = await iterator.next() {
            if line == "PONG", prefix != "PONG" { continue }
            if line.hasPrefix("PUB _STAN.discover."), line.contains(".pings "),
                !prefix.hasPrefix("PUB _STAN.discover.")
            {
                // Its body may hold line feeds.
                let size = line.split(separator: " ").last.flatMap { Int($0) } ?? 0
                var taken = -1
                while taken < size, let part = await iterator.next() { taken += part.utf8.count + 1 }
                continue
            }
            guard line.hasPrefix(prefix) else { throw Unexpected(line: line, wanted: prefix) }
            return line
        }
        throw Unexpected(line: "end of the connection", wanted: prefix)
    }

    /// A MSG.
    func message(_ subject: String, sid: String, reply: String = "", _ payload: String) {
        send(
            "MSG \(subject) \(sid) \(reply.isEmpty ? "" : reply + " ")\(payload.utf8.count)\r\n\(payload)\r\n"
        )
    }

    func close() async {
        try? await channel.close()
    }

    struct Unexpected: Error {
        let line: String
        let wanted: String
    }
}

/// Cuts what comes into lines.
private final class LineReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let lines: AsyncStream<String>.Continuation
    private var rest: [UInt8] = []

    init(_ lines: AsyncStream<String>.Continuation) { self.lines = lines }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        rest += unwrapInboundIn(data).readableBytesView
        while let end = rest.firstIndex(of: 0x0A) {
            var line = rest[..<end]
            if line.last == 0x0D { line.removeLast() }
            lines.yield(String(decoding: line, as: UTF8.self))
            rest.removeSubrange(...end)
        }
    }

    func channelInactive(context: ChannelHandlerContext) { lines.finish() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
