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
    /// When the client has taken too long; nil while it is this side's turn.
    private var deadline: NIODeadline?
    /// Wakes up at `wakeUp`, which is never after the deadline. It is not moved with the deadline: that would be a change
    /// of the loop's timers with every part of a request, and this is one in five seconds.
    private var timer: Scheduled<Void>?
    private var wakeUp = NIODeadline.distantFuture

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
            deadline = nil
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
        let deadline = context.eventLoop.now + delay
        self.deadline = deadline
        guard deadline < wakeUp else { return }
        timer?.cancel()
        wake(at: deadline, context)
    }

    private func wake(at time: NIODeadline, _ context: ChannelHandlerContext) {
        wakeUp = time
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(deadline: time) {
            let (timer, context) = bound.value
            timer.wokeUp(context)
        }
    }

    private func wokeUp(_ context: ChannelHandlerContext) {
        wakeUp = .distantFuture
        guard let deadline else { return }
        if deadline <= context.eventLoop.now { expired(context) } else { wake(at: deadline, context) }
    }

    private func expired(_ context: ChannelHandlerContext) {
        deadline = nil
        switch state {
        case .readingBody:
            // The handler that waits for the body gets the error and answers 408; then the connection is closed.
            context.fireErrorCaught(RequestTimeout())
        case .waitingForHead, .answering: context.close(promise: nil)
        }
    }
}
