import Hummingbird
import NIOCore
import NIOHTTPTypes

/// A request did not arrive within the read timeout.
struct RequestTimeout: Error {}

/// Bounds how long a client may take: to send a request (head and body, also between two requests), and to take the
/// answer. As in the original (Go's `http.Server`), the time between requests counts as reading.
///
/// One a connection, on its event loop.
final class RequestTimer: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private enum State {
        case waitingForHead
        case readingBody
        case answering
    }

    private let readTimeout: TimeAmount
    private let writeTimeout: TimeAmount
    private var state = State.waitingForHead
    private var timer: Scheduled<Void>?

    init(readTimeout: Duration, writeTimeout: Duration) {
        self.readTimeout = TimeAmount(readTimeout)
        self.writeTimeout = TimeAmount(writeTimeout)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { start(readTimeout, context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    func channelActive(context: ChannelHandlerContext) {
        start(readTimeout, context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            state = .readingBody
            start(readTimeout, context)
        case .body: break
        case .end:
            state = .answering
            timer?.cancel()
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head:
            if state == .answering { start(writeTimeout, context) }
            context.write(data, promise: promise)
        case .body: context.write(data, promise: promise)
        case .end:
            let written = promise ?? context.eventLoop.makePromise()
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            written.futureResult.whenSuccess { _ in
                let (timer, context) = bound.value
                timer.answered(context)
            }
            context.write(data, promise: written)
        }
    }

    private func answered(_ context: ChannelHandlerContext) {
        // An answer before the end of the request (413) leaves the rest of the body to be read, bounded as before.
        guard state == .answering else { return }
        state = .waitingForHead
        start(readTimeout, context)
    }

    private func start(_ delay: TimeAmount, _ context: ChannelHandlerContext) {
        timer?.cancel()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: delay) {
            let (timer, context) = bound.value
            timer.expired(context)
        }
    }

    private func expired(_ context: ChannelHandlerContext) {
        switch state {
        case .readingBody:
            // The handler that waits for the body gets the error and answers 408; then the connection is closed.
            context.fireErrorCaught(RequestTimeout())
        case .waitingForHead, .answering: context.close(promise: nil)
        }
    }
}
