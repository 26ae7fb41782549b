import HTTPTypes
import Hummingbird
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// The end of a connection's pipeline: keeps the parts of requests until the connection's task takes them, and writes its
/// answers.
///
/// What waits is bounded: from `partLimit` parts on nothing more is read from the socket, and what was read before is no more
/// than `readLimit` bytes, or some 900 of the shortest requests. Where the client has sent its last byte NIO reads all there is,
/// asked or not; then `requestLimit` is the bound.
///
/// One task serves a connection, on the event loop of the connection. NIO's own way from a pipeline to a task
/// (`NIOAsyncChannel`) works across threads, with locks, which costs more than the rest of the pipeline.
// @unchecked: every variable is touched on the event loop of the channel only, which each method from outside checks.
final class HTTPConnection: ChannelDuplexHandler, RemovableChannelHandler, @unchecked Sendable {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPAnswer

    /// Bytes that are read from the socket at once.
    static let readLimit = 16 * 1_024
    private static let partLimit = 16
    /// Requests that may wait for their answers: more than one read has, however short they are.
    static let requestLimit = 1_024
    /// Pieces of a body that are smaller together are one part: a client can send each byte by itself.
    private static let joinedBody = 4_096

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
    /// The client sends the body when it is told to.
    private var isBodyAwaited = false
    /// Heads that were read and have no answer yet.
    private var unanswered = 0
    /// The last answer that was written: done when it, and so every one before it, has gone out.
    private var written: EventLoopFuture<Void>?
    /// Nothing more is answered: what comes is read, so that it does not reset the connection under the last answer, and
    /// dropped.
    private var isClosing = false
    /// The connection ends with the last answer, and no further request is taken: the server stops, or too many wait.
    private var isStopping = false
    /// A request was not taken, so nothing behind it is.
    private var isDropping = false

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    // MARK: The task

    /// The head of the next request; nil when there is none.
    ///
    /// - Throws: What ended the connection, for example `HTTPParserError`.
    func nextHead() async throws -> HTTPRequest? {
        eventLoop.preconditionInEventLoop()
        while try await nextOfBody(of: request) != nil {}
        guard let part = try await nextPart() else { return nil }
        guard case .head(let head) = part else { throw HTTPParserError.unknown }
        request += 1
        isBodyOpen = true
        isBodyAwaited =
            head.headerFields.value(of: .expect).map { $0.lowercased() == "100-continue" } ?? false
        return head
    }

    /// More was read than the end of the request that was taken last.
    var isRequestWaiting: Bool { parts.count > 1 }

    /// The body of the request whose head was taken last.
    func body() -> RequestBody {
        eventLoop.preconditionInEventLoop()
        if case .end = parts.first { return RequestBody(buffer: ByteBuffer()) }
        return RequestBody(asyncSequence: Body(connection: self, request: request))
    }

    /// Writes an answer; returns when the connection takes more, which is not yet when the client has all of it.
    ///
    /// - Throws: When the connection has ended.
    /// - Returns: Whether a further request may be served: neither does the answer say otherwise nor does the server stop.
    func write(_ answer: HTTPAnswer) async throws -> Bool {
        eventLoop.preconditionInEventLoop()
        guard let context else { throw ChannelError.ioOnClosedChannel }
        unanswered -= 1
        // Who was not told to send a body may leave it out or not: what comes next cannot be told from it.
        let isBodyUncertain = isBodyAwaited && parts.isEmpty
        isBodyAwaited = false
        var answer = answer
        if isBodyUncertain || unanswered <= 0 && (isStopping || hasRequestFailed) {
            answer.head.headerFields[.connection] = "close"
        }
        let isLast = answer.head.headerFields.value(of: .connection) == "close"
        let promise = context.eventLoop.makePromise(of: Void.self)
        written = promise.futureResult
        context.writeAndFlush(wrapOutboundOut(answer), promise: promise)
        // The client may take it slowly, also one that sends nothing more. `RequestTimer` bounds that.
        while let context = self.context, context.channel.isActive, !context.channel.isWritable {
            await wait()
        }
        return !isLast
    }

    /// What came last broke a rule, or came too late: no request can follow it.
    private var hasFailed: Bool { if case .failure = end { true } else { false } }

    /// So it was, and it was no request of its own, which has an answer of its own (400).
    private var hasRequestFailed: Bool {
        guard case .failure(let error) = end else { return false }
        guard error is HTTPParserError else { return true }
        if case .end = parts.last { return false }
        return isBodyOpen
    }

    /// Ends the connection when the answers have gone out, and waits for the client to end it too; `RequestTimer` bounds
    /// both.
    func close() async {
        eventLoop.preconditionInEventLoop()
        // A client may write all before it reads.
        dropInput()
        // An answer that cannot be written has ended the connection already.
        if let written { _ = try? await written.get() }
        if let context {
            let closed = context.channel.closeFuture
            closeOutput(context)
            // A channel closes without an error.
            try? await closed.get()
        }
    }

    /// Not the other direction: what the client sends still would reset the connection under the answer.
    private func closeOutput(_ context: ChannelHandlerContext) {
        dropInput()
        context.close(mode: .output, promise: nil)
        finish(.success(()))
    }

    private func dropInput() {
        isClosing = true
        parts.removeAll()
        continueReading()
    }

    private func continueReading() {
        guard isReadHeld, let context else { return }
        isReadHeld = false
        context.triggerUserOutboundEvent(ReadingHeld(isHeld: false), promise: nil)
        context.read()
    }

    private func nextPart() async throws -> HTTPRequestPart? {
        while true {
            if let part = parts.popFirst() {
                // Its memory grows with what waits, and would stay.
                if parts.isEmpty, parts.capacity > 8 * Self.partLimit { parts = CircularBuffer() }
                if parts.count < Self.partLimit { continueReading() }
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
        if isBodyAwaited {
            isBodyAwaited = false
            if parts.isEmpty { context?.triggerUserOutboundEvent(BodyAwaited(), promise: nil) }
        }
        let part: HTTPRequestPart?
        do { part = try await nextPart() } catch let error as RequestTimeout { throw error } catch {
            throw BrokenRequest()
        }
        switch part {
        case .body(let bytes): return bytes
        case .end:
            isBodyOpen = false
            return nil
        case .head, nil: throw BrokenRequest()
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

    /// No request is under way, but its answer may be.
    private func closeWhenWritten(_ context: ChannelHandlerContext) {
        guard let written else { return context.close(promise: nil) }
        // Whoever sends nothing is not waited for.
        let isIdle = !isBodyOpen
        written.whenComplete { _ in
            guard self.unanswered <= 0, let context = self.context else { return }
            if isIdle { context.close(promise: nil) } else { self.closeOutput(context) }
        }
    }

    // MARK: The pipeline

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        finish(.success(()))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing, !isDropping else { return }
        let part = unwrapInboundIn(data)
        switch part {
        case .head:
            if unanswered >= Self.requestLimit || hasFailed { isStopping = true }
            if isStopping {
                isDropping = true
                return
            }
            unanswered += 1
        case .body(var bytes):
            if case .body(var last) = parts.last,
                last.readableBytes + bytes.readableBytes <= Self.joinedBody
            {
                parts.removeLast()
                last.writeBuffer(&bytes)
                parts.append(.body(last))
                return
            }
        case .end: break
        }
        parts.append(part)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if !parts.isEmpty { wake() }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if parts.count < Self.partLimit {
            context.read()
        } else if !isReadHeld {
            isReadHeld = true
            context.triggerUserOutboundEvent(ReadingHeld(isHeld: true), promise: nil)
        }
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
        finish(.failure(error))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            isStopping = true
            if unanswered <= 0 { closeWhenWritten(context) }
        case ChannelEvent.inputClosed:
            finish(.success(()))
            context.fireUserInboundEventTriggered(event)
        default: context.fireUserInboundEventTriggered(event)
        }
    }
}

/// A request whose body ends, or breaks the rules of HTTP, before it is whole.
struct BrokenRequest: Error {}

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
