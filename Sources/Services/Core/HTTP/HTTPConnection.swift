import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// The end of a connection's pipeline: keeps the parts of requests until the connection's task takes them, and writes its
/// answers.
///
/// Requests that wait are bounded: from `partLimit` parts on nothing more is read from the socket.
///
/// One task serves a connection, on the event loop of the connection. NIO's own way from a pipeline to a task
/// (`NIOAsyncChannel`) works across threads, with locks, which costs more than the rest of the pipeline.
// @unchecked: every variable is touched on the event loop of the channel only, which each method from outside checks.
final class HTTPConnection: ChannelDuplexHandler, RemovableChannelHandler, @unchecked Sendable {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPResponsePart

    private static let partLimit = 16

    private let eventLoop: any EventLoop
    private var context: ChannelHandlerContext?
    private var parts = CircularBuffer<HTTPRequestPart>()
    /// Why no part comes behind those that are kept.
    private var end: Result<Void, any Error>?
    private var isReadHeld = false
    private var waiter: CheckedContinuation<Void, Never>?
    /// Counts the requests that the task has taken; a body belongs to one of them.
    private var request = 0
    private var isBodyOpen = false
    /// Heads that were read and have no answer yet.
    private var unanswered = 0
    /// The server stops: the connection ends with the last answer.
    private var isStopping = false

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    // MARK: The task

    /// The head of the next request; nil when there is none.
    ///
    /// - Throws: What ended the connection, for example `HTTPParserError`.
    func nextHead() async throws -> HTTPRequest? {
        eventLoop.preconditionInEventLoop()
        while try await nextOfBody(of: request) != nil {}
        guard let part = try await nextPart() else { return nil }
        guard case .head(let head) = part else { preconditionFailure("a request begins with its head") }
        request += 1
        isBodyOpen = true
        return head
    }

    /// The body of the request whose head was taken last.
    func body() -> RequestBody {
        eventLoop.preconditionInEventLoop()
        if case .end = parts.first { return RequestBody(buffer: ByteBuffer()) }
        return RequestBody(asyncSequence: Body(connection: self, request: request))
    }

    /// Writes an answer; returns when the connection takes more.
    ///
    /// - Throws: When the connection has ended.
    /// - Returns: Whether a further request may be served.
    func write(_ head: HTTPResponse, _ body: ByteBuffer) async throws -> Bool {
        eventLoop.preconditionInEventLoop()
        guard let context else { throw ChannelError.ioOnClosedChannel }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if body.readableBytes > 0 { context.write(wrapOutboundOut(.body(body)), promise: nil) }
        unanswered -= 1
        let isLast = isStopping && unanswered <= 0
        if context.channel.isWritable, !isLast {
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            if context.channel.isWritable { return true }
            // The client takes it slowly. `RequestTimer` bounds that.
            await untilWritable()
        } else {
            let written = context.eventLoop.makePromise(of: Void.self)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
            try await written.futureResult.get()
            if isLast { context.close(promise: nil) }
        }
        return !isLast
    }

    private func untilWritable() async {
        while end == nil, let context, !context.channel.isWritable { await wait() }
    }

    private func nextPart() async throws -> HTTPRequestPart? {
        while true {
            if let part = parts.popFirst() {
                if isReadHeld, parts.count < Self.partLimit {
                    isReadHeld = false
                    context?.read()
                }
                return part
            }
            if let end {
                try end.get()
                return nil
            }
            await wait()
        }
    }

    fileprivate func nextOfBody(of request: Int) async throws -> ByteBuffer? {
        eventLoop.preconditionInEventLoop()
        guard isBodyOpen, request == self.request else { return nil }
        switch try await nextPart() {
        case .body(let bytes): return bytes
        case .end, nil:
            isBodyOpen = false
            return nil
        case .head: preconditionFailure("a request ends before the next one begins")
        }
    }

    private func wait() async {
        precondition(waiter == nil, "one task serves a connection")
        await withCheckedContinuation { waiter = $0 }
    }

    private func wake() {
        guard let waiter else { return }
        self.waiter = nil
        waiter.resume()
    }

    /// No part comes any more.
    private func finish(_ result: Result<Void, any Error>) {
        if end == nil { end = result }
        wake()
    }

    // MARK: The pipeline

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        finish(.success(()))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if case .head = part { unanswered += 1 }
        parts.append(part)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if !parts.isEmpty { wake() }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if parts.count < Self.partLimit { context.read() } else { isReadHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        wake()
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(.success(()))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if end == nil {
            finish(.failure(error))
        } else if error is RequestTimeout {
            // Refused before, and the client does not hang up.
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            isStopping = true
            if unanswered <= 0 { context.close(promise: nil) }
        case ChannelEvent.inputClosed:
            finish(.success(()))
            context.fireUserInboundEventTriggered(event)
        default: context.fireUserInboundEventTriggered(event)
        }
    }
}

/// The body of a request, as it comes.
private struct Body: AsyncSequence, Sendable {
    let connection: HTTPConnection
    let request: Int

    struct AsyncIterator: AsyncIteratorProtocol {
        let body: Body
        mutating func next() async throws -> ByteBuffer? {
            try await body.connection.nextOfBody(of: body.request)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(body: self) }
}
