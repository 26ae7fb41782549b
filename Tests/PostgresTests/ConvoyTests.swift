import Foundation
import Postgres
import PostgresCluster
import Testing

/// Statements that wait for a connection and then share it.
@Suite("Statements that travel together") struct ConvoyTests {
    typealias Answer = Task<PostgresResult, any Error>

    /// A pool of one connection, whose process number the body gets, and somebody who looks on.
    func run(
        _ body: (_ pool: PostgresPool, _ pid: Int, _ observer: PostgresConnection) async throws -> Void
    ) async throws {
        var options = PostgresPool.Options()
        options.maximumConnections = 1
        options.acquireTimeout = .seconds(600)
        let pool = PostgresPool(try await PostgresConfiguration.testServer(), options: options)
        let pid = try await pool.withConnection { $0.backendProcessID }
        try await withConnection { try await body(pool, pid, $0) }
        // Ends when no connection is lent. A request to cancel that is still on its way holds one.
        await pool.shutdown()
        #expect(pool.statistics.lent == 0)
        #expect(pool.statistics.waiting == 0)
    }

    /// Has the statements wait, in this order, until the connection is free for all of them.
    func together(
        _ pool: PostgresPool, _ queries: [PostgresQuery], timeout: Duration? = nil
    ) async throws -> [Answer] {
        try await pool.withConnection { _ in
            var answers: [Answer] = []
            for (index, query) in queries.enumerated() {
                // The first one has the time limit.
                let timeout = index == 0 ? timeout : nil
                answers.append(Task { try await pool.queryKept(query, timeout: timeout) })
                while pool.statistics.waiting < answers.count { await Task.yield() }
            }
            return answers
        }
    }

    func number(_ answer: Answer) async throws -> Int {
        try await answer.value[0].decode(0, as: Int.self)
    }

    private func untilBlocked(_ pid: Int, _ observer: PostgresConnection) async throws {
        try await waitUntil(
            observer, "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = \(pid)")
    }

    /// Tests run side by side: each has locks of its own.
    let key = Int.random(in: 0...Int.max)
    private let otherKey = Int.random(in: 0...Int.max)

    /// Waits for the lock and answers 0.
    var blocked: PostgresQuery { "SELECT 0 FROM pg_advisory_xact_lock(\(key)::bigint)" }

    func lock(_ observer: PostgresConnection, _ key: Int) async throws {
        try await observer.query("SELECT pg_advisory_lock(\(key)::bigint)")
    }

    func unlock(_ observer: PostgresConnection, _ key: Int) async throws {
        try await observer.query("SELECT pg_advisory_unlock(\(key)::bigint)")
    }

    @Test("each caller gets its own answer, and all are under way before the first is answered")
    func answers() async throws {
        try await run { pool, pid, observer in
            for _ in 0..<3 {
                try await lock(observer, key)
                let answers = try await together(pool, [blocked] + (1..<10).map { "SELECT \($0)::int" })
                try await untilBlocked(pid, observer)
                #expect(pool.statistics.waiting == 0)
                try await unlock(observer, key)
                for (index, answer) in answers.enumerated() { #expect(try await number(answer) == index) }
            }
            #expect(pool.statistics.opened == 1)
            // Of the callers' statements: that of a shared transaction is there where a convoy was quick.
            let prepared = try await pool.query(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%transaction_read_only%'"
            )
            #expect(try prepared[0].decode(0, as: Int.self) == 2)
        }
    }

    @Test("an error of one, also in what cannot be prepared, leaves what the others do")
    func errors() async throws {
        try await run { pool, _, observer in
            let table = "convoy_\(UUID().uuidString.prefix(8).lowercased())"
            try await observer.execute(script: "CREATE TABLE \(table) (n int PRIMARY KEY)")
            let insert = PostgresQuery(
                unsafeSQL: "INSERT INTO \(table) VALUES ($1) RETURNING n", parameters: [1])
            let other = PostgresQuery(
                unsafeSQL: "INSERT INTO \(table) VALUES ($1) RETURNING n", parameters: [2])
            for _ in 0..<2 {
                try await observer.execute(script: "TRUNCATE \(table)")
                let answers = try await together(
                    pool,
                    [insert, insert, "SELECT \(1)::int / \(0)::int"]
                        // The later ones count on the preparation of the first one.
                        + Array(repeating: "SELECT \(1) FROM nowhere", count: 4) + [other])
                #expect(try await number(answers[0]) == 1)
                for (index, state) in [(1, "23505"), (2, "22012")] + (3...6).map({ ($0, "42P01") }) {
                    let error = await #expect(throws: PostgresError.self) { try await answers[index].value }
                    #expect(error?.sqlState == state)
                }
                #expect(try await number(answers[7]) == 2)
                let count = try await observer.query(
                    PostgresQuery(unsafeSQL: "SELECT count(*) FROM \(table)"))
                #expect(try count[0].decode(0, as: Int.self) == 2)
            }
            await #expect(throws: PostgresError.self) { try await pool.queryKept("SELECT \("a\0b")") }
            try await observer.execute(script: "DROP TABLE \(table)")
        }
    }

    @Test(
        "the one that the server is at can be cancelled, or run out of its time, and the others are answered")
    func cancellation() async throws {
        try await run { pool, pid, observer in
            try await lock(observer, key)
            let answers = try await together(pool, [blocked, "SELECT \(1)::int", "SELECT \(2)::int"])
            try await untilBlocked(pid, observer)
            answers[0].cancel()
            await #expect(throws: CancellationError.self) { try await answers[0].value }
            for number in 1...2 { #expect(try await self.number(answers[number]) == number) }

            let late = try await together(
                pool, [blocked, "SELECT \(1)::int", "SELECT \(2)::int"], timeout: .milliseconds(50))
            let error = await #expect(throws: PostgresError.self) { try await late[0].value }
            #expect(error?.code == .timedOut)
            for number in 1...2 { #expect(try await self.number(late[number]) == number) }
            try await unlock(observer, key)
        }
    }

    /// Cancels the one behind the head, which waits for the lock, and then gives the head its lock.
    private func cancelSecond(
        of answers: [Answer], _ pid: Int, _ observer: PostgresConnection
    ) async throws {
        try await untilBlocked(pid, observer)
        answers[1].cancel()
        await #expect(throws: CancellationError.self) { try await answers[1].value }
        try await unlock(observer, key)
        #expect(try await number(answers[0]) == 0)
        #expect(try await number(answers[2]) == 2)
    }

    @Test("one that waits behind others is cancelled at once, and they are answered")
    func cancellationBehind() async throws {
        try await run { pool, pid, observer in
            try await lock(observer, key)
            let answers = try await together(pool, [blocked, blocked, "SELECT \(2)::int"])
            try await cancelSecond(of: answers, pid, observer)
        }
    }

    @Test("one that nobody waits for is cancelled on the server when it holds up those behind it")
    func abandoned() async throws {
        try await run { pool, pid, observer in
            for key in [key, otherKey] { try await lock(observer, key) }
            let answers = try await together(
                pool,
                [blocked, "SELECT 0 FROM pg_advisory_xact_lock(\(otherKey)::bigint)", "SELECT \(2)::int"])
            try await cancelSecond(of: answers, pid, observer)
            try await unlock(observer, otherKey)
        }
    }

    @Test("a cancellation that comes too late for its own statement fails no other one")
    func lateCancellations() async throws {
        try await run { pool, _, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<20 {
                    group.addTask {
                        for step in 0..<50 {
                            let query: PostgresQuery = "SELECT \(step)::int FROM pg_sleep(\(0.0005))"
                            let answer = Answer { try await pool.queryKept(query) }
                            if task.isMultiple(of: 2) {
                                await Task.yield()
                                answer.cancel()
                                // It was in time or not.
                                _ = await answer.result
                            } else {
                                let number = try await self.number(answer)
                                #expect(number == step)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("all that a lost connection carried fail, and the next statement has a new one")
    func termination() async throws {
        try await run { pool, pid, observer in
            try await lock(observer, key)
            let answers = try await together(pool, ["SELECT \(0)::int", blocked, "SELECT \(2)::int"])
            #expect(try await number(answers[0]) == 0)
            try await untilBlocked(pid, observer)
            try await observer.query("SELECT pg_terminate_backend(\(pid), 60000)")
            let ended = await #expect(throws: PostgresError.self) { try await answers[1].value }
            #expect(ended?.sqlState == "57P01")
            let behind = await #expect(throws: PostgresError.self) { try await answers[2].value }
            #expect(behind?.code == .connectionLost)
            try await unlock(observer, key)
            #expect(try await pool.queryKept("SELECT \(1)::int").count == 1)
            #expect(pool.statistics.opened == 2)
        }
    }

    @Test("those whose tables have changed are prepared anew, and only once")
    func outdated() async throws {
        try await run { pool, _, observer in
            let table = "convoy_\(UUID().uuidString.prefix(8).lowercased())"
            try await observer.execute(
                script: "CREATE TABLE \(table) (n int); INSERT INTO \(table) VALUES (1)")
            let read = PostgresQuery(unsafeSQL: "SELECT * FROM \(table) WHERE n = $1::int", parameters: [1])
            _ = try await pool.queryKept(read)
            try await observer.execute(script: "ALTER TABLE \(table) ADD name text")
            let answers = try await together(pool, [read, "SELECT \(1)::int", read])
            for index in [0, 2] { #expect(try await answers[index].value.columns.count == 2) }
            #expect(try await number(answers[1]) == 1)
            try await observer.execute(script: "DROP TABLE \(table)")
        }
    }

    @Test("a pool that is shut down refuses those that wait, and ends when those under way are answered")
    func shutdown() async throws {
        try await run { pool, pid, observer in
            try await lock(observer, key)
            let answers = try await together(pool, [blocked, "SELECT \(1)::int"])
            try await untilBlocked(pid, observer)
            let late = Answer { try await pool.queryKept("SELECT \(1)::int") }
            while pool.statistics.waiting < 1 { await Task.yield() }
            async let ended: Void = pool.shutdown()
            let refused = await #expect(throws: PostgresError.self) { try await late.value }
            #expect(refused?.code == .poolClosed)
            try await unlock(observer, key)
            for (index, answer) in answers.enumerated() { #expect(try await number(answer) == index) }
            await ended
        }
    }
}
