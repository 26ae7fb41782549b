import Testing

@testable import Broker

@Suite("what was read while a connection was paused", .timeLimit(.minutes(10)))
struct BacklogTests {
    /// Runs `body` with the only client of a core; its connection is paused and has read `input`.
    private func paused(
        _ input: String, _ body: (RawClient, ClientListener) async throws -> Void
    ) async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            try await core.onLoop(0) { core in
                for connection in core.state.pointee.connections.all { core.pause(connection, .engine) }
            }
            try await client.sendAndWait(Array(input.utf8))
            let size = input.utf8.count
            func hasRead() async throws -> Bool {
                try await core.onLoop(0) { core in
                    core.state.pointee.connections.all.contains { $0.pointee.backlog.count == size }
                }
            }
            while try await !hasRead() { await Task.yield() }
            try await body(client, core)
        }
    }

    @Test("is thrown away when the connection is cut off before its turn comes")
    func cutOff() async throws {
        try await paused("SUB b 2\r\n") { (client, core) async throws in
            try await core.onLoop(0) { core in
                for connection in core.state.pointee.connections.all {
                    core.resume(connection, .engine)
                    core.cutOff(connection, .slowConsumerPending)
                }
            }
            #expect(try await client.rest() == "")
            while try await core.onLoop(0, { $0.state.pointee.connections.count }) > 0 { await Task.yield() }
            let interests = try await core.onLoop(0) { $0.state.pointee.router.count }
            #expect(interests == 0)
        }
    }

    @Test("is processed whole when the client closes its side before its turn comes")
    func inputEnded() async throws {
        try await paused("SUB a 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\n") { (client, core) async throws in
            try await core.onLoop(0) { core in
                for connection in core.state.pointee.connections.all {
                    core.resume(connection, .engine)
                    core.inputEnded(connection)
                }
            }
            #expect(try await client.rest() == "MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n")
        }
    }
}
