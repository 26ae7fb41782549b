import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOHTTPTypes
import Testing

@testable import ServicesCore

@Suite("HTTP/1.1")
struct HTTPConnectionTests {
    /// A connection behind the other handlers of its pipeline.
    private func connected(_ handlers: any ChannelHandler...) -> (EmbeddedChannel, HTTPConnection) {
        let loop = EmbeddedEventLoop()
        let connection = HTTPConnection(eventLoop: loop)
        return (EmbeddedChannel(handlers: handlers + [connection], loop: loop), connection)
    }

    @Test("a request in origin form keeps its path and fields; its first Host is the authority")
    func requests() throws {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/a%20b?c=//d://e#f")
        head.headers = [
            "host": "x", "X-One": "1", "cookie": "a=b; c=d", "HOST": "y", "x-one": "2", "bad name": "3",
        ]
        let request = try HTTPMessageCodec.request(head)
        #expect(request.method == .get && request.scheme == "http" && request.authority == "x")
        #expect(request.path == "/a%20b?c=//d://e#f")
        #expect(
            request.headerFields.map { "\($0.name.rawName): \($0.value)" }
                == ["X-One: 1", "cookie: a=b; c=d", "HOST: y", "x-one: 2"])
    }

    @Test("a request in absolute form has the path of its URI")
    func absoluteForm() throws {
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "http://y/a/b?c=d")
        #expect(try HTTPMessageCodec.request(head).path == "/a/b?c=d")
    }

    @Test("an answer is one write, with its date; a large body is a second one")
    func answers() throws {
        for (size, writes) in [(0, 1), (5, 1), (16_384, 1), (16_385, 2)] {
            let channel = EmbeddedChannel(handler: HTTPMessageCodec())
            let head = HTTPResponse(
                status: .created, headerFields: [.contentType: "text/plain", .vary: "Origin"])
            let body = ByteBuffer(repeating: UInt8(ascii: "b"), count: size)
            try channel.writeOutbound(HTTPAnswer(head: head, body: body))
            var parts: [ByteBuffer] = []
            while let part = try channel.readOutbound(as: ByteBuffer.self) { parts.append(part) }
            #expect(parts.count == writes)
            let lines = parts.map { String(buffer: $0) }.joined().split(
                separator: "\r\n", omittingEmptySubsequences: false)
            try #require(lines.count == 6)
            #expect(
                lines[..<3] == ["HTTP/1.1 201 Created", "Content-Type: text/plain", "Vary: Origin"])
            #expect(lines[3].hasPrefix("Date: ") && lines[3].hasSuffix(" GMT"))
            #expect(lines[4].isEmpty && lines[5] == String(repeating: "b", count: size))
        }
    }

    @Test("a date is as RFC 9110 has it")
    func dates() {
        #expect(HTTPDate.text(at: 784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(HTTPDate.text(at: 951_782_400) == "Tue, 29 Feb 2000 00:00:00 GMT")
    }

    @Test("no more is read while many requests wait")
    func bound() async throws {
        let reads = Reads()
        let (channel, connection) = connected(reads)
        let head = HTTPRequest(method: .get, scheme: "http", authority: "x", path: "/")
        for _ in 0..<8 {
            channel.pipeline.read()
            try channel.writeInbound(HTTPRequestPart.head(head))
            try channel.writeInbound(HTTPRequestPart.end(nil))
        }
        #expect(reads.count == 8)
        channel.pipeline.read()
        #expect(reads.count == 8)
        #expect(try await connection.nextHead()?.path == "/")
        #expect(reads.count == 9)
    }

    @Test("a body that comes byte by byte waits in few parts")
    func smallParts() async throws {
        let reads = Reads()
        let (channel, connection) = connected(reads)
        let head = HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/")
        try channel.writeInbound(HTTPRequestPart.head(head))
        for _ in 0..<10_000 { try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: "x"))) }
        try channel.writeInbound(HTTPRequestPart.end(nil))
        channel.pipeline.read()
        #expect(reads.count == 1)
        #expect(try await connection.nextHead() != nil)
        var sizes: [Int] = []
        for try await bytes in connection.body() { sizes.append(bytes.readableBytes) }
        #expect(sizes == [4_096, 4_096, 1_808])
        // Large ones are not joined, or nothing would bound them.
        try channel.writeInbound(HTTPRequestPart.head(head))
        for _ in 0..<16 {
            try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(repeating: 0, count: 4_096)))
        }
        channel.pipeline.read()
        #expect(reads.count == 1)
    }

    @Test("what follows a head that is no request is dropped")
    func noRequest() throws {
        let errors = CaughtErrors()
        let channel = EmbeddedChannel(handlers: [HTTPMessageCodec(), errors])
        let head = HTTPRequestHead(version: .http1_1, method: .RAW(value: "b d"), uri: "/")
        try channel.writeInbound(HTTPServerRequestPart.head(head))
        try channel.writeInbound(HTTPServerRequestPart.body(ByteBuffer(string: "x")))
        try channel.writeInbound(HTTPServerRequestPart.end(nil))
        #expect(errors.all as? [HTTPParserError] == [.invalidMethod])
        #expect(try channel.readInbound(as: HTTPRequestPart.self) == nil)
    }

    @Test("parts that make no request are an error")
    func noHead() async throws {
        let (channel, connection) = connected()
        try channel.writeInbound(HTTPRequestPart.end(nil))
        await #expect(throws: HTTPParserError.self) { try await connection.nextHead() }
    }

    @Test(
        "the last request is the one that says so in its version's way, or asks for another protocol",
        arguments: [
            ("1.1", "close", nil, "close"), ("1.1", "Close", nil, "close"),
            ("1.1", "TE, close", nil, "close"), ("1.1", "Upgrade", "h2c", "close"),
            ("1.1", "te, upgrade", "h2c", "close"), ("1.1", "upgrade", nil, "upgrade"),
            ("1.1", nil, "h2c", nil),
            ("1.1", nil, nil, nil), ("1.0", nil, nil, "close"), ("1.0", "Keep-Alive", nil, "keep-alive"),
        ] as [(String, String?, String?, String?)])
    func lastRequest(version: String, field: String?, upgrade: String?, expected: String?) throws {
        for uri in ["/", "http://y/"] {
            var head = HTTPRequestHead(
                version: version == "1.0" ? .http1_0 : .http1_1, method: .GET, uri: uri)
            if let field { head.headers.add(name: "Connection", value: field) }
            if let upgrade { head.headers.add(name: "Upgrade", value: upgrade) }
            #expect(try HTTPMessageCodec.request(head).headerFields[.connection] == expected)
        }
    }

    @Test("when the server stops, the last answer says so")
    func lastAnswer() async throws {
        let (channel, connection) = connected()
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).get()
        let request = HTTPRequest(method: .get, scheme: "http", authority: "x", path: "/")
        for _ in 0..<2 {
            try channel.writeInbound(HTTPRequestPart.head(request))
            try channel.writeInbound(HTTPRequestPart.end(nil))
        }
        channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        for isLast in [false, true] {
            #expect(try await connection.nextHead() != nil)
            #expect(try await connection.write(HTTPAnswer(head: HTTPResponse(status: .ok))) == !isLast)
            let head = HTTPResponse(
                status: .ok, headerFields: isLast ? [.connection: "close"] : [:])
            #expect(try channel.readOutbound(as: HTTPAnswer.self) == HTTPAnswer(head: head))
        }
        #expect(channel.isActive)
    }

    @Test("when the server stops, an answer still goes out")
    func stopping() async throws {
        let slow = SlowSocket()
        let (channel, connection) = connected(slow)
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).get()
        let request = HTTPRequest(method: .get, scheme: "http", authority: "x", path: "/")
        try channel.writeInbound(HTTPRequestPart.head(request))
        try channel.writeInbound(HTTPRequestPart.end(nil))
        #expect(try await connection.nextHead() != nil)
        #expect(try await connection.write(HTTPAnswer(head: HTTPResponse(status: .ok))))
        channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        #expect(channel.isActive)
        for promise in slow.promises { promise.succeed() }
        #expect(!channel.isActive)
    }

    /// Keeps what is written.
    private final class SlowSocket: ChannelOutboundHandler {
        typealias OutboundIn = HTTPAnswer
        private(set) var promises: [EventLoopPromise<Void>] = []
        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            if let promise { promises.append(promise) }
        }
    }

    /// Counts the reads that reach the socket.
    private final class Reads: ChannelOutboundHandler {
        typealias OutboundIn = Never
        private(set) var count = 0
        func read(context: ChannelHandlerContext) {
            count += 1
            context.read()
        }
    }
}
