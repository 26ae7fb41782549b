import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import ServicesCore

@Suite("The time of a client")
struct RequestTimerTests {
    /// Keeps errors away from the channel, where they would be thrown at the next write.
    private final class Errors: ChannelInboundHandler {
        typealias InboundIn = HTTPRequestPart
        private(set) var all: [any Error] = []
        func errorCaught(context: ChannelHandlerContext, error: any Error) { all.append(error) }
    }

    private let channel: EmbeddedChannel
    private let errors = Errors()

    /// 5 s to read, 10 s to write.
    init() throws {
        channel = EmbeddedChannel(handlers: [
            RequestTimer(readTimeout: .seconds(5), writeTimeout: .seconds(10)), errors,
        ])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    private func advance(_ seconds: Int64) { channel.embeddedEventLoop.advanceTime(by: .seconds(seconds)) }

    private func sendHead() throws {
        let head = HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/")
        try channel.writeInbound(HTTPRequestPart.head(head))
    }

    private func sendRequest() throws {
        try sendHead()
        try channel.writeInbound(HTTPRequestPart.end(nil))
    }

    private func answer() throws {
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        try channel.writeOutbound(HTTPResponsePart.end(nil))
    }

    @Test("is bounded before the first request")
    func silence() {
        advance(4)
        #expect(channel.isActive)
        advance(1)
        #expect(!channel.isActive)
    }

    @Test(
        "begins anew with a head; a body that comes too late is an error for the handler, which may still answer"
    )
    func slowBody() throws {
        advance(4)
        try sendHead()
        advance(4)
        #expect(errors.all.isEmpty)
        advance(1)
        #expect(errors.all.count == 1 && errors.all.first is RequestTimeout)
        #expect(channel.isActive)
    }

    @Test("stands still while the answer is worked out, however long that takes")
    func slowHandler() throws {
        try sendRequest()
        advance(3_600)
        #expect(channel.isActive)
        try answer()
        #expect(channel.isActive && errors.all.isEmpty)
        // The time to take the answer was the longer one, and ended with it.
        advance(4)
        #expect(channel.isActive)
        advance(1)
        #expect(!channel.isActive)
    }

    @Test("is bounded for taking the answer")
    func slowReader() throws {
        try sendRequest()
        try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
        advance(9)
        #expect(channel.isActive)
        advance(1)
        #expect(!channel.isActive)
    }

    @Test("between two requests is that for reading, whatever was awaited before")
    func pause() throws {
        for _ in 0..<3 {
            try sendRequest()
            advance(1)
            try answer()
            advance(4)
            #expect(channel.isActive)
        }
        advance(1)
        #expect(!channel.isActive)
    }
}
