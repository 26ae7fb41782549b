import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A client that writes and reads bytes and knows no protocol. Waits for what it expects, never for time.
final class RawClient: Sendable {
    private struct State {
        var received: [UInt8] = []
        var hasEnded = false
        /// Rises with every change, so that a waiter sees what came since it looked.
        var version = 0
        var waiter: CheckedContinuation<Void, Never>?
    }

    private final class Handler: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        let state = Mutex(State())

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let buffer = unwrapInboundIn(data)
            change { $0.received.append(contentsOf: buffer.readableBytesView) }
        }

        func channelInactive(context: ChannelHandlerContext) { change { $0.hasEnded = true } }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if let event = event as? ChannelEvent, event == .inputClosed { change { $0.hasEnded = true } }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            change { $0.hasEnded = true }
            context.close(promise: nil)
        }

        func change(_ body: (inout State) -> Void) {
            let waiter = state.withLock { state in
                body(&state)
                state.version += 1
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }

    struct Ended: Error, CustomStringConvertible {
        let rest: String
        var description: String { "the connection ended; not yet taken: \(rest.debugDescription)" }
    }

    private let channel: any Channel
    private let handler: Handler

    private init(channel: any Channel, handler: Handler) {
        self.channel = channel
        self.handler = handler
    }

    /// Connects and takes the INFO line.
    static func connect(port: Int, reading: Bool = true) async throws -> RawClient {
        let client = try await open(port: port, reading: reading)
        if reading { #expect(try await client.line().hasPrefix("INFO {")) }
        return client
    }

    /// Connects; INFO is the first line to read.
    static func open(host: String = "127.0.0.1", port: Int, reading: Bool = true) async throws -> RawClient {
        let handler = Handler()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelOption(.autoRead, value: reading)
            .channelOption(.socketOption(.so_rcvbuf), value: reading ? 1 << 20 : 4096)
            .channelInitializer { $0.pipeline.addHandler(handler) }
            .connect(host: host, port: port).get()
        return RawClient(channel: channel, handler: handler)
    }

    /// Connects as a library does: CONNECT with these options, PING, and the PONG is taken.
    static func ready(port: Int, _ options: String = "") async throws -> RawClient {
        let client = try await connect(port: port)
        let rest = options.isEmpty ? "" : "," + options
        client.send("CONNECT {\"verbose\":false,\"pedantic\":false\(rest)}\r\nPING\r\n")
        #expect(try await client.line() == "PONG")
        return client
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) {
        channel.writeAndFlush(channel.allocator.buffer(bytes: bytes), promise: nil)
    }

    /// Writes and waits until the socket took it.
    func sendAndWait(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(channel.allocator.buffer(bytes: bytes)).get()
    }

    func startReading() async throws { try await channel.setOption(.autoRead, value: true).get() }

    /// The next line without CR LF. The broker's pings are answered on the way, unless they are asked for.
    func line(includingPings: Bool = false) async throws -> String {
        while true {
            let line = try await take { bytes in
                guard let end = bytes.firstIndex(of: 0x0A) else { return nil }
                return end + 1
            }.dropLast(2).text
            if line != "PING" || includingPings { return line }
            send("PONG\r\n")
        }
    }

    /// Exactly `count` bytes.
    func bytes(_ count: Int) async throws -> [UInt8] {
        try await take { $0.count >= count ? count : nil }
    }

    /// The next `MSG` or `HMSG`: its line, and what its last number announces.
    func message() async throws -> (line: String, payload: [UInt8]) {
        let line = try await line()
        try #require(line.hasPrefix("MSG ") || line.hasPrefix("HMSG "), "not a message: \(line)")
        let size = Int(line.split(separator: " ").last ?? "") ?? 0
        let payload = try await bytes(size + 2)
        #expect(payload.suffix(2) == [0x0D, 0x0A])
        return (line, Array(payload.dropLast(2)))
    }

    /// Everything until the broker closes.
    func rest() async throws -> String {
        while true {
            let (ended, bytes, version) = handler.state.withLock { ($0.hasEnded, $0.received, $0.version) }
            if ended { return bytes.text }
            await change(since: version)
        }
    }

    /// Everything that comes before the answer to a PING sent now.
    func untilPong() async throws -> String {
        send("PING\r\n")
        let end = Array("PONG\r\n".utf8)
        let bytes = try await take { bytes in
            guard bytes.count >= end.count else { return nil }
            var start = 0
            while let letter = bytes[start...].firstIndex(of: 0x50) {
                if bytes[letter...].starts(with: end) { return letter + end.count }
                start = letter + 1
            }
            return nil
        }
        let text = bytes.dropLast(end.count).text
        let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
        guard lines.contains("PING") else { return text }
        send("PONG\r\n")
        return lines.filter { $0 != "PING" }.joined(separator: "\r\n")
    }

    private func take(_ length: ([UInt8]) -> Int?) async throws -> [UInt8] {
        while true {
            let (result, ended, version): ([UInt8]?, Bool, Int) = handler.state.withLock { state in
                guard let count = length(state.received) else { return (nil, state.hasEnded, state.version) }
                let result = Array(state.received.prefix(count))
                state.received.removeFirst(count)
                return (result, false, state.version)
            }
            if let result { return result }
            if ended { throw Ended(rest: handler.state.withLock { $0.received.text }) }
            await change(since: version)
        }
    }

    /// Waits for bytes or the end, unless either came since `version`.
    private func change(since version: Int) async {
        await withCheckedContinuation { continuation in
            let isLate = handler.state.withLock { state in
                if state.version != version { return true }
                state.waiter = continuation
                return false
            }
            if isLate { continuation.resume() }
        }
    }

    func closeOutput() async throws { try await channel.close(mode: .output).get() }

    func close() async {
        // Closed already is closed.
        try? await channel.close().get()
    }
}

extension Sequence where Element == UInt8 {
    var text: String { String(decoding: Array(self), as: UTF8.self) }
}
