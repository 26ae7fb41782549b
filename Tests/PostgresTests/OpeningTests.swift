import Postgres
import PostgresCluster
import Testing

@Suite("Openings that are called off", .timeLimit(.minutes(10)))
struct OpeningTests {
    // The handler of a cancellation holds its task while it asks for the session, so whoever holds the session must not
    // wait for the task: the poller once did, and with it stood every connection of the process.
    @Test("whenever it is called off, an opening ends, and others go on")
    func calledOff() async throws {
        let configuration = try await PostgresConfiguration.testServer()
        let clock = ContinuousClock()
        let began = clock.now
        try await PostgresConnection.open(configuration).close()
        // One that waited for other tests says nothing about the others.
        let whole = min(clock.now - began, .milliseconds(10))
        for round in 0..<400 {
            let opening = Task.detached { try await PostgresConnection.open(configuration) }
            // Around the end of an opening, as long as the first took and some more.
            let due = clock.now + whole * (round % 40) / 25
            while clock.now < due { await Task.yield() }
            opening.cancel()
            if case .success(let connection) = await opening.result { connection.close() }
        }
        try await withConnection { connection in
            let row = try await connection.query("SELECT 1")[0]
            #expect(try row.decode(0, as: Int.self) == 1)
        }
    }
}
