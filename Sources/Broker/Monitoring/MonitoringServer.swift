import NIOCore
import NIOHTTP1
import NIOPosix

/// The HTTP port of monitoring (nats-core.md 7.1). Any method is answered like GET.
final class MonitoringServer: Sendable {
    private let channel: any Channel
    /// The port that it listens on.
    let port: Int

    private init(channel: any Channel, port: Int) {
        self.channel = channel
        self.port = port
    }

    /// Binds `host` and `port` (-1: any free port) on the loops of `group`.
    /// Throws NIO's `IOError` when the address is in use or not ours.
    static func start(
        host: String, port: Int, group: MultiThreadedEventLoopGroup, routes: MonitoringRoutes
    ) async throws -> MonitoringServer {
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    // A request that does not come to an end must not hold the connection for ever.
                    try pipeline.addHandler(IdleStateHandler(readTimeout: .seconds(30)))
                    try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                    try pipeline.addHandler(MonitoringHandler(routes: routes))
                }
            }
            .bind(host: host, port: max(port, 0)).get()
        let port = channel.localAddress?.port ?? port
        routes.listens(on: port)
        return MonitoringServer(channel: channel, port: port)
    }

    /// Stops listening. Answers under way end with their connections.
    func shutdown() async {
        // A port that is closed already is what we want.
        try? await channel.close().get()
    }
}

/// One HTTP connection: each request's answer is made in a task and written back on the loop. The pipeline
/// handler in front lets the next request through only when the answer is out.
private final class MonitoringHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let routes: MonitoringRoutes
    private var request: HTTPRequestHead?

    init(routes: MonitoringRoutes) { self.routes = routes }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): request = head
        case .body: break
        case .end:
            guard let head = request else { return }
            request = nil
            answer(head, context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        Self.respond(
            to: head.uri, routes, context.channel, version: head.version, withoutBody: head.method == .HEAD,
            keepsAlive: head.isKeepAlive)
    }

    private static func respond(
        to target: String, _ routes: MonitoringRoutes, _ channel: any Channel, version: HTTPVersion,
        withoutBody: Bool, keepsAlive: Bool
    ) {
        Task {
            let response = await routes.answer(target)
            write(response, to: channel, version: version, withoutBody: withoutBody, keepsAlive: keepsAlive)
        }
    }

    private static func write(
        _ response: MonitoringResponse, to channel: any Channel, version: HTTPVersion, withoutBody: Bool,
        keepsAlive: Bool
    ) {
        var headers = HTTPHeaders()
        headers.add(name: "Content-Type", value: response.contentType)
        headers.add(name: "Content-Length", value: String(response.body.count))
        if response.contentType == "application/json" {
            headers.add(name: "Access-Control-Allow-Origin", value: "*")
        }
        if !keepsAlive { headers.add(name: "Connection", value: "close") }
        let head = HTTPResponseHead(
            version: version, status: HTTPResponseStatus(statusCode: response.status), headers: headers)
        channel.write(HTTPServerResponsePart.head(head), promise: nil)
        if !withoutBody {
            let body = channel.allocator.buffer(bytes: response.body)
            channel.write(HTTPServerResponsePart.body(.byteBuffer(body)), promise: nil)
        }
        channel.writeAndFlush(HTTPServerResponsePart.end(nil)).whenComplete { _ in
            if !keepsAlive { channel.close(promise: nil) }
        }
    }
}
