import Foundation
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import ServicesTesting
import Testing

@testable import ServicesCore

@Suite("Handlers")
struct EventLoopHTTP1Tests {
    @Test("run on the event loop of their connection, also after they have waited")
    func onTheLoop() async throws {
        let router = Router(context: ServiceContext.self)
        router.get("/") { _, context -> String in
            let before = MultiThreadedEventLoopGroup.currentEventLoop
            await Task { await Task.yield() }.value
            let after = MultiThreadedEventLoopGroup.currentEventLoop
            return before != nil && before === after
                ? "one loop" : "\(String(describing: before)), \(String(describing: after))"
        }
        let answer = try await answers(
            of: router, to: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        #expect(answer.hasSuffix("\r\n\r\none loop"), "\(answer)")
    }

    /// What a client gets that writes all before it reads.
    private func answers(
        of router: Router<ServiceContext>, to requests: String, isHalfClosed: Bool = false
    ) async throws -> String {
        try await served(by: router) { socket in
            socket.write(requests)
            if isHalfClosed { socket.endWriting() }
            return await socket.readToEnd()
        }
    }

    private func served<Result>(
        by router: Router<ServiceContext>, _ client: (TestSocket) async throws -> Result
    ) async throws -> Result {
        let settings = try Settings(
            CoreSettings.all,
            environment: [
                "API_WEB_AUTH_DOMAIN": "tenant.example", "API_WEB_AUTH_AUDIENCE": "https://api.example",
            ],
            arguments: [])
        let configuration = try ServiceConfiguration(settings, environment: [:])
        let listener = try await HTTPListener.start(
            router.buildResponder(), at: ServiceConfiguration.Address(host: "127.0.0.1", port: 0),
            configuration: configuration, logger: Logger(label: "") { _ in SwiftLogNoOpLogHandler() })
        let result = try await client(TestSocket(port: listener.port))
        await listener.stop()
        return result
    }

    private let plain = {
        let router = Router(context: ServiceContext.self)
        router.get("/") { _, _ in "plain" }
        router.post("/") { _, _ in "ignored" }
        router.post("/body") { request, _ in
            String(buffer: try await request.body.collect(upTo: 1_000))
        }
        return router
    }()

    @Test("a client that has ended its side gets all of an answer that is larger than the kernel takes")
    func halfClosed() async throws {
        let size = 16_000_000
        let router = Router(context: ServiceContext.self)
        router.get("/") { _, _ in ByteBuffer(repeating: UInt8(ascii: "x"), count: size) }
        let answer = try await answers(
            of: router, to: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", isHalfClosed: true)
        #expect(answer.utf8.count > size && answer.hasSuffix("xxx"))
    }

    @Test("a client that sends a large body nobody wants gets the answer, and the connection ends")
    func refusedBody() async throws {
        let body = String(repeating: "x", count: 16_000_000)
        let head =
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
        let answer = try await served(by: plain) { socket in
            #expect(socket.write(head + body), "the server reads all of it")
            return await socket.readToEnd()
        }
        #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("ignored"), "\(answer)")
    }

    @Test(
        "the answer to the last request says that it is the last, and nothing behind it is answered",
        arguments: [
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
        ])
    func last(request: String) async throws {
        let more = "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + String(repeating: "x", count: 500_000)
        let answer = try await answers(of: plain, to: request + more, isHalfClosed: true)
        #expect(answer.contains("\r\nConnection: close\r\n"), "\(answer)")
        #expect(answer.components(separatedBy: "HTTP/1.1 ").count == 2, "\(answer)")
    }

    @Test("a client of HTTP/1.0 that asks for it may send another request")
    func oldClient() async throws {
        let answer = try await answers(
            of: plain, to: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        let parts = answer.components(separatedBy: "HTTP/1.1 200 ")
        try #require(parts.count == 3, "\(answer)")
        #expect(parts[1].contains("\r\nConnection: keep-alive\r\n"))
        #expect(parts[2].contains("\r\nConnection: close\r\n"))
    }

    @Test(
        "a body that breaks is answered once",
        arguments: [
            ("/body", "Transfer-Encoding: chunked\r\n\r\n", "400 "),
            ("/body", "Content-Length: 10\r\n\r\n", "400 "),
            // It has its answer already.
            ("/", "Transfer-Encoding: chunked\r\n\r\n", "200 "),
        ])
    func brokenBody(path: String, fields: String, status: String) async throws {
        let answer = try await answers(
            of: plain, to: "POST \(path) HTTP/1.1\r\nHost: x\r\n\(fields)zz\r\n", isHalfClosed: true)
        #expect(answer.hasPrefix("HTTP/1.1 " + status), "\(answer)")
        #expect(answer.components(separatedBy: "HTTP/1.1 ").count == 2, "\(answer)")
    }

    @Test("a client that waits to be told to send its body is told, once")
    func awaitedBody() async throws {
        try await served(by: plain) { socket in
            let head =
                "POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            socket.write(head)
            #expect(await socket.read() == "HTTP/1.1 100 Continue\r\n\r\n")
            socket.write("hello")
            #expect(await socket.read().hasSuffix("\r\n\r\nhello"))
            // It does not wait, or nobody wants its body.
            socket.write(head + "hello")
            #expect(await socket.read().hasPrefix("HTTP/1.1 200 "))
            socket.write(head.replacingOccurrences(of: "/body", with: "/"))
            #expect(await socket.read().hasSuffix("ignored"))
            socket.write("hello")
            socket.endWriting()
            #expect(await socket.readToEnd() == "")
        }
    }
}
