import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// HTTP/1.1 whose handlers run on the event loop of their connection.
///
/// A handler that ran on a thread of Swift's pool would cost two changes of threads a request, there and back, which
/// is more than what the handler does (docs/decisions/0031). Answers are whole: nothing is sent before all of it is known.
struct EventLoopHTTP1<Responder: HTTPResponder>: ServerChildChannel
where Responder.Context: InitializableFromSource<ApplicationRequestContextSource> {
    /// A connection that was set up.
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        fileprivate let connection: HTTPConnection
    }

    let responder: Responder
    let readTimeout: Duration
    let writeTimeout: Duration
    let limits: NIOHTTPDecoderLimitConfiguration

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            // What is read at once is parsed at once, so this bounds how many heads can wait (`HTTPConnection`).
            let options = channel.syncOptions
            try options?.setOption(.maxMessagesPerRead, value: 1)
            try options?.setOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 1_024, initial: 2_048, maximum: HTTPConnection.readLimit))
            return Value(channel: channel, connection: try addHandlers(to: channel))
        }
    }

    /// Adds what lies between the socket and the connection's task.
    func addHandlers(to channel: any Channel) throws -> HTTPConnection {
        let connection = HTTPConnection(eventLoop: channel.eventLoop)
        let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)
        try channel.pipeline.syncOperations.addHandlers([
            // The parser leaves nothing over, but for what follows a request for another protocol.
            ByteToMessageHandler(decoder, maximumBufferSize: 128 * 1_024), HTTPMessageCodec(),
            RequestTimer(readTimeout: readTimeout, writeTimeout: writeTimeout), connection,
        ])
        return connection
    }

    func handle(value: Value, logger: Logger) async {
        await withTaskCancellationHandler {
            // Within the other: a task that goes on looks for its executor among what was set for it, the last first.
            await withTaskExecutorPreference(EventLoopExecutor(value.channel.eventLoop)) {
                await serve(value, logger)
            }
        } onCancel: {
            value.channel.close(mode: .input, promise: nil)
        }
    }

    private func serve(_ value: Value, _ logger: Logger) async {
        let connection = value.connection
        do {
            while let head = try await connection.nextHead() {
                let request = Request(head: head, body: connection.body())
                let context = Responder.Context(
                    source: ApplicationRequestContextSource(channel: value.channel, logger: logger))
                var answer = try await self.answer(to: request, context, logger)
                if let field = request.headers.value(of: .connection),
                    field == "close" || field == "keep-alive",
                    !answer.head.headerFields.contains(.connection)
                {
                    answer.head.headerFields[.connection] = field
                }
                guard try await connection.write(answer) else { break }
                // Who sends many requests at once does not keep other connections of the loop from their turn.
                if connection.isRequestWaiting { await Task.yield() }
            }
        } catch is HTTPParserError {
            // In place of a head: the error of a body is its handler's.
            let refusal = HTTPResponse(
                status: .badRequest, headerFields: [.connection: "close", .contentLength: "0"])
            // Whoever sends no HTTP may be gone.
            _ = try? await connection.write(HTTPAnswer(head: refusal))
        } catch {
            logger.trace("a connection has ended", metadata: ["error": "\(error)"])
        }
        await connection.close()
    }

    /// The answer with all of its body, and its length.
    private func answer(
        to request: Request, _ context: Responder.Context, _ logger: Logger
    ) async throws -> HTTPAnswer {
        var response: Response
        do {
            response = try await responder.respond(to: request, context: context)
        } catch is BrokenRequest {
            response = Response(status: .badRequest, headers: [.connection: "close"])
        } catch {
            logger.debug("a responder failed", metadata: ["error": "\(error)"])
            response = Response(status: .internalServerError)
        }
        let collected = CollectedBody()
        if response.body.contentLength != 0 { try await response.body.write(BodyCollector(body: collected)) }
        // RFC 9110, 8.6: neither of these has a body, nor a length.
        if response.status.kind == .informational || response.status == .noContent {
            response.headers[.contentLength] = nil
            return HTTPAnswer(head: response.head)
        }
        // 9.3.2 and 15.4.5: these have none either, but may have the length of what they leave out.
        if request.method == .head || response.status == .notModified {
            return HTTPAnswer(head: response.head)
        }
        if !response.headers.contains(.contentLength) {
            response.headers[.contentLength] = String(collected.bytes.readableBytes)
        }
        return HTTPAnswer(head: response.head, body: collected.bytes)
    }
}

/// What a response has written.
private final class CollectedBody {
    var bytes = ByteBuffer()
}

private struct BodyCollector: ResponseBodyWriter {
    let body: CollectedBody

    mutating func write(_ buffer: ByteBuffer) {
        if body.bytes.readableBytes == 0 {
            body.bytes = buffer
        } else {
            body.bytes.writeImmutableBuffer(buffer)
        }
    }

    consuming func finish(_ trailingHeaders: HTTPFields?) {}
}

/// Runs tasks on an event loop.
private final class EventLoopExecutor: TaskExecutor {
    private let eventLoop: any EventLoop

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        eventLoop.execute { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
