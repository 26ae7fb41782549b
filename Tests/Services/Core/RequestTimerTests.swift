import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import ServicesCore

@Suite("The time of a client")
struct RequestTimerTests {
    /// An embedded channel cannot close one direction.
    private final class HalfClose: ChannelOutboundHandler {
        typealias OutboundIn = HTTPResponsePart
        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            if mode == .output { promise?.succeed() } else { context.close(mode: mode, promise: promise) }
        }
    }

    private let channel: EmbeddedChannel
    private let errors = CaughtErrors()

    /// 5 s to read, 10 s to write.
    init() throws {
        channel = EmbeddedChannel(handlers: [
            HalfClose(), RequestTimer(readTimeout: .seconds(5), writeTimeout: .seconds(10)), errors,
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
        try channel.writeOutbound(HTTPAnswer(head: HTTPResponse(status: .ok)))
    }

    /// The client does not take it.
    private func answerInVain() {
        channel.write(HTTPAnswer(head: HTTPResponse(status: .ok)), promise: nil)
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
        answerInVain()
        advance(9)
        #expect(channel.isActive)
        advance(1)
        #expect(!channel.isActive)
    }

    @Test("for taking an answer is not moved by what the client sends meanwhile, nor by the answers to that")
    func deafClient() throws {
        try sendRequest()
        for _ in 0..<5 {
            answerInVain()
            try sendRequest()
            advance(2)
            #expect(channel.isActive == (channel.embeddedEventLoop.now < .uptimeNanoseconds(10_000_000_000)))
        }
        #expect(!channel.isActive)
    }

    @Test("for the answer to a body that came too late is the last one")
    func afterTheTimeout() throws {
        try sendHead()
        advance(5)
        #expect(errors.all.count == 1)
        try sendRequest()
        advance(9)
        #expect(channel.isActive)
        advance(1)
        #expect(!channel.isActive && errors.all.count == 1)
    }

    @Test("for the rest of a body begins when the requests before it are answered")
    func bodyBehindOthers() throws {
        try sendRequest()
        try sendHead()
        advance(3_600)
        #expect(channel.isActive && errors.all.isEmpty)
        try answer()
        advance(4)
        #expect(errors.all.isEmpty)
        advance(1)
        #expect(errors.all.count == 1)
    }

    @Test("to end the connection is bounded, also in the middle of a body")
    func closing() throws {
        for isWhole in [true, false] {
            let test = try RequestTimerTests()
            if isWhole { try test.sendRequest() } else { try test.sendHead() }
            try test.answer()
            test.advance(1)
            try test.channel.close(mode: .output).wait()
            test.advance(4)
            try test.channel.writeInbound(HTTPRequestPart.end(nil))
            #expect(test.channel.isActive && test.errors.all.isEmpty)
            test.advance(1)
            #expect(!test.channel.isActive)
        }
    }

    @Test("stands still while a whole request waits behind another one")
    func pipelined() throws {
        try sendRequest()
        try sendRequest()
        try answer()
        advance(3_600)
        #expect(channel.isActive)
        try answer()
        advance(5)
        #expect(!channel.isActive)
    }

    @Test("stands still while nothing is read because much waits")
    func held() throws {
        try sendHead()
        channel.triggerUserOutboundEvent(ReadingHeld(isHeld: true), promise: nil)
        advance(3_600)
        #expect(channel.isActive && errors.all.isEmpty)
        channel.triggerUserOutboundEvent(ReadingHeld(isHeld: false), promise: nil)
        advance(4)
        #expect(errors.all.isEmpty)
        advance(1)
        #expect(errors.all.count == 1)
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
