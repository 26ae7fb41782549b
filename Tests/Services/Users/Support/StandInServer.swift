import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A request as a stand-in sees it.
struct ReceivedRequest: Sendable {
    let method: String
    /// Path and query as they were sent, still percent-encoded.
    let target: String
    let headers: [String: String]
    let body: Data

    var path: String { String(target.prefix { $0 != "?" }) }
    /// The query's fields, decoded.
    var query: [String: String] { Self.form(String(target.drop { $0 != "?" }.dropFirst())) }
    /// The body as a JSON object.
    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: body)) as? [String: Any] ?? [:]
    }
    /// The body as a form.
    var form: [String: String] { Self.form(String(decoding: body, as: UTF8.self)) }

    private static func form(_ text: String) -> [String: String] {
        var fields: [String: String] = [:]
        for field in text.split(separator: "&") {
            let parts = field.split(separator: "=", maxSplits: 1)
            fields[String(parts[0])] = parts.count > 1 ? String(parts[1]).removingPercentEncoding : ""
        }
        return fields
    }
}

/// What a stand-in answers.
struct StandInAnswer: Sendable {
    var status = 200
    var headers: [String: String] = [:]
    var body = Data()

    static func json(_ object: Any, status: Int = 200) throws -> StandInAnswer {
        StandInAnswer(
            status: status, headers: ["content-type": "application/json"],
            body: try JSONSerialization.data(withJSONObject: object))
    }
}

/// An HTTP server of the test's own that plays somebody else's API.
enum StandInServer {
    typealias Answering = @Sendable (ReceivedRequest) async throws -> StandInAnswer

    /// Runs a server while `body` runs, which is given the base URL; then cuts every connection.
    static func run<Value: Sendable>(
        answering answer: @escaping Answering, _ body: (_ baseURL: String) async throws -> Value
    ) async throws -> Value {
        let connections = Mutex<[any Channel]>([])
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                connections.withLock { $0.append(channel) }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let outcome = await Result(catching: {
            try await body("http://127.0.0.1:\(server.localAddress?.port ?? 0)")
        })
        try await server.close()
        // Those that the client has closed already say so.
        for channel in connections.withLock({ $0 }) { try? await channel.close() }
        return try outcome.get()
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart

        private let answer: Answering
        private var head: HTTPRequestHead?
        private var body = Data()
        private var task: Task<Void, Never>?

        init(_ answer: @escaping Answering) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): (self.head, body) = (head, Data())
            case .body(let part): body += part.readableBytesView
            case .end:
                guard let head else { return }
                var headers: [String: String] = [:]
                for (name, value) in head.headers { headers[name.lowercased()] = value }
                let request = ReceivedRequest(
                    method: head.method.rawValue, target: head.uri, headers: headers, body: body)
                task = Task { [answer, channel = context.channel] in
                    // A stand-in that fails is a server that fails.
                    let answer = (try? await answer(request)) ?? StandInAnswer(status: 500)
                    var headers = HTTPHeaders(answer.headers.map { ($0.key, $0.value) })
                    headers.replaceOrAdd(name: "content-length", value: String(answer.body.count))
                    let head = HTTPResponseHead(
                        version: .http1_1, status: .init(statusCode: answer.status), headers: headers)
                    channel.write(HTTPServerResponsePart.head(head), promise: nil)
                    channel.write(
                        HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: answer.body))), promise: nil
                    )
                    channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
                }
            }
        }

        func channelInactive(context: ChannelHandlerContext) { task?.cancel() }
    }
}

extension Result where Failure == any Error {
    init(catching body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
