import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import ServicesCore

/// The whole way from the socket to the connection's task, on a clock of the test's.
@Suite("A hostile client")
struct HostileClientTests {
    private let loop = EmbeddedEventLoop()
    private let channel: EmbeddedChannel
    private let connection: HTTPConnection
    private let reads = Reads()

    /// 5 s to read, 10 s to write.
    init() throws {
        channel = EmbeddedChannel(handler: reads, loop: loop)
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 1_024
        limits.maxHeaderListSize = 2_048
        limits.maxHeaderFieldCount = 10
        connection = try EventLoopHTTP1(
            responder: Router(context: ServiceContext.self).buildResponder(), readTimeout: .seconds(5),
            writeTimeout: .seconds(10), limits: limits
        ).addHandlers(to: channel)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    private func advance(_ seconds: Int64) { loop.advanceTime(by: .seconds(seconds)) }

    private func send(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

    private func answer() async throws -> Bool {
        try await connection.write(
            HTTPAnswer(head: HTTPResponse(status: .ok, headerFields: [.contentLength: "0"])))
    }

    private func sentText() throws -> String {
        var text = ""
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: bytes) }
        return text
    }

    @Test("that floods the service with requests makes it hold those of one read, and read no more")
    func flood() async throws {
        let request = "GET / HTTP/1.1\r\n\r\n"
        let count = HTTPConnection.readLimit / request.utf8.count
        channel.pipeline.read()
        try send(String(repeating: request, count: count))
        for _ in 0..<1_000 { channel.pipeline.read() }
        #expect(reads.count == 1)
        // That is this side's time.
        advance(3_600)
        #expect(channel.isActive)
        for number in 1...count {
            #expect(try await connection.nextHead()?.path == "/")
            #expect(try await answer())
            #expect(connection.isRequestWaiting == (number < count))
            // All but the last few are taken before more is read.
            if number < count - 8 { #expect(reads.count == 1) }
        }
        #expect(reads.count == 2)
        #expect(try sentText().components(separatedBy: "HTTP/1.1 200 OK\r\n").count == count + 1)
    }

    @Test(
        "that floods the service and ends its side, so that all of it is read, has some served and no more kept"
    )
    func floodAtEnd() async throws {
        try send(String(repeating: "GET / HTTP/1.1\r\n\r\n", count: 5_000))
        var count = 0
        while try await connection.nextHead() != nil {
            count += 1
            guard try await answer() else { break }
        }
        #expect(count == HTTPConnection.requestLimit)
        #expect(try sentText().components(separatedBy: "Connection: close\r\n").count == 2)
    }

    @Test("that goes on sending requests does not keep the server from stopping")
    func stopping() async throws {
        let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        try send("POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
        #expect(try await connection.nextHead()?.path == "/first")
        channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        // What was begun is taken to its end, and nothing behind it.
        try send("x" + request + request)
        #expect(try await connection.body().collect(upTo: 10) == ByteBuffer(string: "xx"))
        #expect(try await !answer())
        #expect(try sentText().contains("Connection: close\r\n"))
        #expect(!connection.isRequestWaiting)
    }

    @Test("that was not told to send its body cannot have the next request taken for it")
    func awaitedBody() async throws {
        try send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        #expect(try await connection.nextHead() != nil)
        #expect(try await !answer())
        #expect(try sentText().contains("Connection: close\r\n"))
    }

    @Test("that sends no HTTP behind a request gets an answer to each")
    func noHTTPBehindRequest() async throws {
        try send("GET / HTTP/1.1\r\nHost: x\r\n\r\n\u{0}\r\n\r\n")
        #expect(try await connection.nextHead() != nil)
        #expect(try await answer())
        await #expect(throws: HTTPParserError.self) { try await connection.nextHead() }
    }

    @Test(
        "whose body comes too late is told that its connection ends, and has no further request taken",
        arguments: ["", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
    func lateBody(further: String) async throws {
        try send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx")
        #expect(try await connection.nextHead() != nil)
        advance(5)
        try send("x" + further)
        #expect(try await !answer())
        #expect(try sentText().contains("Connection: close\r\n"))
        await #expect(throws: RequestTimeout.self) { try await connection.nextHead() }
    }

    @Test("that sends a head byte by byte has the time of one request")
    func slowHead() throws {
        for byte in "GET / H" {
            #expect(channel.isActive)
            try send(String(byte))
            advance(1)
            if !channel.isActive { break }
        }
        #expect(!channel.isActive)
        #expect(loop.now == NIODeadline.uptimeNanoseconds(5_000_000_000))
    }

    @Test("that sends a body byte by byte has the time of one request")
    func slowBody() async throws {
        try send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        #expect(try await connection.nextHead() != nil)
        for _ in 0..<5 {
            try send("x")
            advance(1)
        }
        await #expect(throws: RequestTimeout.self) {
            for try await _ in connection.body() {}
        }
        #expect(try await !answer())
        // And no other.
        try send(String(repeating: "x", count: 95) + "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        advance(10)
        #expect(!channel.isActive)
    }

    @Test("that sends a refused body for ever has the time of one request")
    func refusedBody() async throws {
        try send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        #expect(try await connection.nextHead() != nil)
        #expect(try await answer())
        for _ in 0..<5 {
            #expect(channel.isActive)
            try send("1\r\nx\r\n")
            advance(1)
        }
        await #expect(throws: RequestTimeout.self) { try await connection.nextHead() }
        advance(10)
        #expect(!channel.isActive)
    }

    @Test("that sends requests and takes no answer has the time of one answer")
    func unread() async throws {
        reads.isDeaf = true
        for second in 0..<10 {
            #expect(channel.isActive, "second \(second)")
            try send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await connection.nextHead() != nil)
            #expect(try await answer())
            advance(1)
        }
        #expect(!channel.isActive)
    }

    @Test("whose request is whole is not cut while others are before it, however long they take")
    func pipelined() async throws {
        try send(
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        #expect(try await connection.nextHead()?.path == "/a")
        advance(3_600)
        #expect(try await answer())
        advance(3_600)
        #expect(try await connection.nextHead()?.path == "/b")
        advance(3_600)
        #expect(try await connection.body().collect(upTo: 10) == ByteBuffer(string: "x"))
        #expect(try await answer())
        #expect(channel.isActive)
        advance(5)
        #expect(!channel.isActive)
    }

    private static let noRequests: [String] = {
        let long = String(repeating: "x", count: 1_025)
        let half = "X: " + String(repeating: "x", count: 500) + "\r\n"
        return [
            "\u{0}\u{1}\u{2}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nno field\r\n\r\n",
            "GET / HTTP/1.1\r\nX-Long: \(long)\r\n\r\n",
            "GET / HTTP/1.1\r\n\(String(repeating: half, count: 5))\r\n",
            "GET / HTTP/1.1\r\n\(String(repeating: "X: x\r\n", count: 11))\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        ]
    }()

    @Test("that sends no HTTP gets nothing further", arguments: noRequests)
    func noHTTP(text: String) async throws {
        try send(text)
        await #expect(throws: HTTPParserError.self) {
            // The parser may have had the head when it saw what was wrong.
            while try await connection.nextHead() != nil {}
        }
        try send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(!connection.isRequestWaiting)
    }

    @Test(
        "whose body breaks has its request refused",
        arguments: ["zz\r\n", "-1\r\n", "fffffffffffffffff\r\n", "1\r\nxx\r\n", "1;\u{0}\r\nx\r\n"])
    func brokenChunks(text: String) async throws {
        try send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + text)
        #expect(try await connection.nextHead() != nil)
        await #expect(throws: BrokenRequest.self) {
            for try await _ in connection.body() {}
        }
    }

    @Test("that goes away in the middle of a body has broken its request", arguments: [true, false])
    func abort(isHalfClosed: Bool) async throws {
        try send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
        #expect(try await connection.nextHead() != nil)
        if isHalfClosed {
            channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        } else {
            try await channel.close()
        }
        await #expect(throws: BrokenRequest.self) {
            for try await _ in connection.body() {}
        }
    }

    /// The socket: counts what is asked of it, and may take nothing.
    private final class Reads: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        var isDeaf = false
        private(set) var count = 0
        private var kept: [EventLoopPromise<Void>?] = []
        func read(context: ChannelHandlerContext) {
            count += 1
            context.read()
        }
        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            if isDeaf { kept.append(promise) } else { context.write(data, promise: promise) }
        }
        func handlerRemoved(context: ChannelHandlerContext) {
            for promise in kept { promise?.fail(ChannelError.ioOnClosedChannel) }
        }
    }
}
