import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import BrokerClient

@Suite("Connecting to a name with several addresses", .timeLimit(.minutes(10)))
struct ConnectingTests {
    /// Knows the addresses of every name, as soon as it is told to answer.
    final class Addresses: Resolver, Sendable {
        private let hosts: [String]
        private let answer = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Void.self)
        private let isAsked = Mutex(false)

        init(_ hosts: String...) { self.hosts = hosts }

        /// Whether a client waits for the answer.
        var wasAsked: Bool { isAsked.withLock { $0 } }
        /// Gives the answer, now and from now on.
        func tell() { answer.succeed() }

        func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
            isAsked.withLock { $0 = true }
            return answer.futureResult.flatMapThrowing { [hosts] in
                try hosts.map { try SocketAddress(ipAddress: $0, port: port) }
            }
        }

        func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
            answer.futureResult.map { [] }
        }

        func cancelQueries() {}
    }

    func options(_ server: ScriptedServer, _ addresses: Addresses) -> ClientOptions {
        var options = ClientOptions(servers: [ServerURL(host: "broker.example", port: server.port)])
        options.connectTimeout = .seconds(300)
        options.reconnect.firstDelay = .milliseconds(1)
        options.resolver = addresses
        return options
    }

    @Test("a client connects, and connects again, when the first address refuses and the second one serves")
    func secondAddress() async throws {
        let server = try await ScriptedServer()
        let addresses = Addresses("127.0.0.2", "127.0.0.1")
        addresses.tell()
        let options = options(server, addresses)
        async let connected = Client.connect(options)
        let connection = try await server.greeted()
        let client = try await connected
        var events = client.events().makeAsyncIterator()
        await connection.close()
        _ = try await server.greeted()
        guard case .disconnected = await events.next() else {
            Issue.record("a loss is an event")
            return
        }
        #expect(await events.next() == .reconnected(server: "broker.example:\(server.port)"))
        await client.close()
        await server.stop()
    }

    @Test("a connection that opens after the client was closed is closed")
    func closedMeanwhile() async throws {
        let server = try await ScriptedServer()
        let addresses = Addresses("127.0.0.1")
        let options = options(server, addresses)
        let connecting = Task { try await Client.connect(options) }
        while !addresses.wasAsked { await Task.yield() }
        connecting.cancel()
        await #expect(throws: ClientError.cancelled) { try await connecting.value }
        addresses.tell()
        let connection = try await server.connection()
        await #expect(throws: ScriptedConnection.Unexpected.self) { try await connection.line() }
        await server.stop()
    }
}
