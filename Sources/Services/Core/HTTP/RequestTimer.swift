import Hummingbird
import NIOCore
import NIOHTTPTypes

/// A request did not arrive within the read timeout.
struct RequestTimeout: Error {}

/// Nothing more is read before the handlers have taken what was: that is not the client's time.
struct ReadingHeld { let isHeld: Bool }

/// Bounds how long a client may take: to send a request (head and body, also between two requests), to take the answers,
/// and to end the connection when told to. As in the original (Go's `http.Server`), the time between requests counts as
/// reading.
///
/// One a connection, on its event loop.
final class RequestTimer: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPAnswer
    typealias OutboundOut = HTTPAnswer

    private let readTimeout: TimeAmount
    private let writeTimeout: TimeAmount

    /// A head was read and the end of its request was not.
    private var isReading = false
    private var isHeld = false
    /// Heads that were read and have no answer.
    private var unanswered = 0
    /// Answers that were written and have not gone out.
    private var unflushed = 0

    /// When the client must have sent the request; never while it is this side's turn.
    private var readDeadline = NIODeadline.distantFuture
    /// When the client must have taken the oldest answer that has not gone out. What it sends does not move it.
    private var writeDeadline = NIODeadline.distantFuture
    /// When a connection that takes no request any more ends.
    private var lastDeadline = NIODeadline.distantFuture
    private var deadline: NIODeadline { min(readDeadline, writeDeadline, lastDeadline) }

    /// Wakes up at `wakeUp`, which is never after the deadline. It is not moved with the deadline: that would be a change
    /// of the loop's timers with every part of a request, and this is one in five seconds.
    private var timer: Scheduled<Void>?
    private var wakeUp = NIODeadline.distantFuture

    init(readTimeout: Duration, writeTimeout: Duration) {
        self.readTimeout = TimeAmount(readTimeout)
        self.writeTimeout = TimeAmount(writeTimeout)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { awaitRequest(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    func channelActive(context: ChannelHandlerContext) {
        awaitRequest(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            isReading = true
            unanswered += 1
            awaitRequest(context)
        case .body: break
        case .end:
            isReading = false
            awaitRequest(context)
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if unflushed == 0 { awaitReading(context) }
        unanswered -= 1
        unflushed += 1
        let written = promise ?? context.eventLoop.makePromise()
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        written.futureResult.whenComplete { _ in
            let (timer, context) = bound.value
            timer.flushed(context)
        }
        context.write(data, promise: written)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .output {
            lastDeadline = min(lastDeadline, context.eventLoop.now + readTimeout)
            readDeadline = .distantFuture
            schedule(context)
        }
        context.close(mode: mode, promise: promise)
    }

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        guard let event = event as? ReadingHeld else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        isHeld = event.isHeld
        awaitRequest(context)
        promise?.succeed()
    }

    private func flushed(_ context: ChannelHandlerContext) {
        unflushed -= 1
        guard unflushed == 0 else { return awaitReading(context) }
        writeDeadline = .distantFuture
        // An answer before the end of the request (413) leaves the rest of the body to be read, bounded as before.
        if readDeadline == .distantFuture { awaitRequest(context) }
    }

    /// The time to take the oldest answer that has not gone out begins. A further answer behind it does not put it off.
    private func awaitReading(_ context: ChannelHandlerContext) {
        writeDeadline = context.eventLoop.now + writeTimeout
        schedule(context)
    }

    /// The time for a request, or for the rest of one, begins, unless something else comes first: the answers to whole
    /// requests, or room for what is read.
    private func awaitRequest(_ context: ChannelHandlerContext) {
        let whole = isReading ? unanswered - 1 : unanswered
        if whole > 0 || unflushed > 0 || isHeld || lastDeadline != .distantFuture {
            readDeadline = .distantFuture
        } else {
            readDeadline = context.eventLoop.now + readTimeout
            schedule(context)
        }
    }

    private func schedule(_ context: ChannelHandlerContext) {
        let deadline = deadline
        // What ends with the connection, as answers do that were not taken, starts no time.
        guard deadline < wakeUp, context.channel.isActive else { return }
        timer?.cancel()
        wakeUp = deadline
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(deadline: deadline) {
            let (timer, context) = bound.value
            timer.wokeUp(context)
        }
    }

    private func wokeUp(_ context: ChannelHandlerContext) {
        wakeUp = .distantFuture
        let now = context.eventLoop.now
        if deadline > now {
            schedule(context)
        } else if isReading, readDeadline <= now, writeDeadline > now, lastDeadline > now {
            // The handler that waits for the body gets the error and answers 408; then the connection is closed.
            readDeadline = .distantFuture
            lastDeadline = now + writeTimeout
            schedule(context)
            context.fireErrorCaught(RequestTimeout())
        } else {
            context.close(promise: nil)
        }
    }
}
