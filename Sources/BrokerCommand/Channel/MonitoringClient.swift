import BrokerClient
import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks the monitoring endpoint of a server.
struct MonitoringClient {
    private let host: String
    private let port: Int
    private let shown: String

    /// - Parameter url: `http://host:port`.
    init(_ url: String) throws {
        func invalid() -> CommandFailure {
            CommandFailure(
                "\"\(url)\" is no address of a monitoring endpoint; it should be like http://127.0.0.1:8222")
        }
        guard url.hasPrefix("http://") else { throw invalid() }
        // The rules for host and port are those of a server's address, but for the default port.
        let rest = String(url.dropFirst("http://".count))
        guard let address = try? ServerURL(rest), address.user == nil, address.token == nil else {
            throw invalid()
        }
        host = address.host
        port = rest.contains(":") ? address.port : 8222
        shown = url
    }

    /// The JSON at a path.
    ///
    /// - Throws: `CommandFailure` when nothing answers, or the answer is not 200 with JSON.
    func get(_ path: String, timeout: Duration = .seconds(5)) async throws -> JSON {
        let (status, body) = try await fetch(path, timeout: timeout)
        guard status == 200 else {
            throw CommandFailure(
                "\(shown)\(path) answered \(status): \(String(decoding: body.prefix(500), as: UTF8.self))")
        }
        guard let json = JSON(parsing: body) else {
            throw CommandFailure("\(shown)\(path) did not answer JSON")
        }
        return json
    }

    /// Status and body of a path.
    func fetch(_ path: String, timeout: Duration) async throws -> (status: Int, body: [UInt8]) {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: Answer.self)
        let deadline = loop.scheduleTask(in: .nanoseconds(timeout.components.seconds * 1_000_000_000)) {
            promise.fail(CommandFailure("no answer within \(timeout)"))
        }
        defer { deadline.cancel() }
        do {
            let channel = try await ClientBootstrap(group: loop)
                .connectTimeout(.seconds(5))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(AnswerReader(promise))
                    }
                }
                .connect(host: host, port: port).get()
            var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
            head.headers.add(name: "Host", value: "\(host):\(port)")
            head.headers.add(name: "Connection", value: "close")
            channel.write(HTTPClientRequestPart.head(head), promise: nil)
            try await channel.writeAndFlush(HTTPClientRequestPart.end(nil))
            let answer = try await promise.futureResult.get()
            // The server may have closed already.
            channel.close(promise: nil)
            return (answer.status, answer.body)
        } catch {
            promise.fail(error)
            throw CommandFailure(
                "the monitoring endpoint \(shown) cannot be asked (\(error)); is the server started with -m, and --monitor right?"
            )
        }
    }

    private struct Answer: Sendable {
        var status = 0
        var body: [UInt8] = []
    }

    private final class AnswerReader: ChannelInboundHandler {
        typealias InboundIn = HTTPClientResponsePart
        typealias OutboundOut = HTTPClientRequestPart

        private var answer = Answer()
        private let promise: EventLoopPromise<Answer>

        init(_ promise: EventLoopPromise<Answer>) { self.promise = promise }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): answer.status = Int(head.status.code)
            case .body(let bytes):
                answer.body += bytes.readableBytesView
                if answer.body.count > 256 << 20 { context.close(promise: nil) }
            case .end: promise.succeed(answer)
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            promise.fail(CommandFailure("the connection ended before the answer did"))
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            promise.fail(error)
            context.close(promise: nil)
        }
    }
}
