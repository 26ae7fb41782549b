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
        let settings = try Settings(
            CoreSettings.all,
            environment: [
                "API_WEB_AUTH_DOMAIN": "tenant.example", "API_WEB_AUTH_AUDIENCE": "https://api.example",
            ],
            arguments: [])
        let configuration = try ServiceConfiguration(settings, environment: [:])
        let router = Router(context: ServiceContext.self)
        router.get("/") { _, context -> String in
            let before = MultiThreadedEventLoopGroup.currentEventLoop
            await Task { await Task.yield() }.value
            let after = MultiThreadedEventLoopGroup.currentEventLoop
            return before != nil && before === after
                ? "one loop" : "\(String(describing: before)), \(String(describing: after))"
        }
        let listener = try await HTTPListener.start(
            router.buildResponder(), at: ServiceConfiguration.Address(host: "127.0.0.1", port: 0),
            configuration: configuration, logger: Logger(label: "") { _ in SwiftLogNoOpLogHandler() })
        let socket = try TestSocket(port: listener.port)
        socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        let answer = await socket.readToEnd()
        await listener.stop()
        #expect(answer.hasSuffix("\r\n\r\none loop"), "\(answer)")
    }
}
