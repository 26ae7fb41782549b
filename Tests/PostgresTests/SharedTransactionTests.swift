import Foundation
import PostgresCluster
import Testing

@testable import Postgres

/// Convoys whose statements are one transaction. Whether the next one is depends on how quick the last one was, so each of
/// these is done until one was.
extension ConvoyTests {
    /// Tells whether it runs in a shared transaction.
    private static let mode = PostgresQuery(
        unsafeSQL: "SELECT current_setting('transaction_read_only') WHERE $1::int > 0", parameters: [1])

    private func isShared(_ answer: Answer) async throws -> Bool {
        try await answer.value[0].decode(0, as: String.self) == "on"
    }

    /// Sends the statements, between two others, until they shared a transaction with these, and checks them each time.
    private func share(
        _ pool: PostgresPool, _ queries: [PostgresQuery], before: () async throws -> Void = {},
        check: ([Answer]) async throws -> Void
    ) async throws {
        while true {
            for query in queries + [Self.mode] { _ = try? await pool.queryKept(query) }
            try await before()
            let answers = try await together(pool, [Self.mode] + queries + [Self.mode])
            try await check(Array(answers.dropFirst().dropLast()))
            // The one behind them may have been sent once more.
            _ = try await isShared(answers[answers.count - 1])
            if try await isShared(answers[0]) { return }
        }
    }

    @Test("those that follow quick ones are one transaction, in which each has its own answer")
    func sharing() async throws {
        try await run { pool, _, _ in
            try await share(pool, Array(repeating: Self.mode, count: 14)) { answers in
                for answer in answers { _ = try await isShared(answer) }
            }
            // By itself each has its own, in which it may write.
            #expect(try await !isShared(Task { try await pool.queryKept(Self.mode) }))
        }
    }

    @Test("what writes or fails in a shared transaction is done by itself, once")
    func sharedErrors() async throws {
        try await run { pool, _, observer in
            let table = "convoy_\(UUID().uuidString.prefix(8).lowercased())"
            try await observer.execute(script: "CREATE TABLE \(table) (n int PRIMARY KEY)")
            let inserts = [1, 2].map {
                PostgresQuery(
                    unsafeSQL: "WITH new AS (INSERT INTO \(table) VALUES ($1) RETURNING n) SELECT n FROM new",
                    parameters: [$0])
            }
            let wrong: PostgresQuery = "SELECT \(1)::int / (\(1)::int - 1)"
            try await share(pool, [inserts[0], wrong, inserts[1]]) {
                try await observer.execute(script: "TRUNCATE \(table)")
            } check: { answers in
                #expect(try await number(answers[0]) == 1)
                let error = await #expect(throws: PostgresError.self) { try await answers[1].value }
                #expect(error?.sqlState == "22012")
                #expect(try await number(answers[2]) == 2)
                let count = try await observer.query(
                    PostgresQuery(unsafeSQL: "SELECT count(*) FROM \(table)"))
                #expect(try count[0].decode(0, as: Int.self) == 2)
            }
            try await observer.execute(script: "DROP TABLE \(table)")
        }
    }

    @Test("one that has to wait leaves a shared transaction, and those in front of it are answered")
    func sharedWait() async throws {
        try await run { pool, _, observer in
            // Long before the lock is free: the first answer is behind nothing that waits.
            var front: Answer?
            try await share(pool, [Self.mode, blocked]) {
                try await lock(observer, key)
            } check: { answers in
                front = answers[0]
                _ = try await answers[0].value
                try await unlock(observer, key)
                #expect(try await number(answers[1]) == 0)
            }
            #expect(front != nil)
        }
    }

    @Test("one that is cancelled in a shared transaction ends at once, and the others are answered")
    func sharedCancellation() async throws {
        try await run { pool, _, observer in
            try await share(pool, [blocked, "SELECT \(1)::int"]) {
                try await lock(observer, key)
            } check: { answers in
                answers[0].cancel()
                await #expect(throws: CancellationError.self) { try await answers[0].value }
                #expect(try await number(answers[1]) == 1)
                try await unlock(observer, key)
            }
        }
    }

    // MARK: One convoy at a time

    /// The session of the pool's only connection, which is idle.
    private func session(of pool: PostgresPool) throws -> Session {
        try #require(pool.state.withLock { $0.idle.first?.connection.session })
    }

    /// Sends what the connection has prepared as if the last convoy had been quick; whether the first one found itself in a
    /// shared transaction.
    private func sendAfterQuick(_ pool: PostgresPool, _ queries: [PostgresQuery]) async throws -> Bool {
        let session = try session(of: pool)
        session.withLock { session.isConvoyQuick = true }
        let answers = try await together(pool, [Self.mode] + queries)
        for answer in answers { _ = await answer.result }
        return try await isShared(answers[0])
    }

    @Test("only what begins as a read does is part of a shared transaction")
    func readsOnly() async throws {
        func isRead(_ sql: String) throws -> Bool {
            try ConvoyMember(PostgresQuery(unsafeSQL: sql)).isRead
        }
        for sql in ["SELECT 1", " \n\twith a AS (SELECT 1) TABLE a", "values(1)", "Table a", "select"] {
            #expect(try isRead(sql), "\(sql)")
        }
        for sql in ["CALL p()", "COMMIT", "LISTEN a", "ANALYZE", "SELECTED", "", "  ", "-- a\nSELECT 1"] {
            #expect(try !isRead(sql), "\(sql)")
        }
        try await run { pool, _, _ in
            for query in [Self.mode, "ANALYZE pg_am"] { try await pool.queryKept(query) }
            #expect(try await sendAfterQuick(pool, [Self.mode]))
            #expect(try await !sendAfterQuick(pool, ["ANALYZE pg_am"]))
        }
    }

    @Test(
        "an opening that fails once leaves a connection that shares again, one that always does none",
        arguments: [1, 2])
    func failedOpening(_ failures: Int) async throws {
        try await run { pool, _, observer in
            let schema = "shared_\(UUID().uuidString.prefix(8).lowercased())"
            try await observer.execute(
                script: """
                    CREATE SCHEMA \(schema);
                    CREATE FUNCTION \(schema).set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql
                    AS $$ BEGIN RAISE 'not now'; END $$
                    """)
            try await pool.queryKept(Self.mode)
            #expect(try await sendAfterQuick(pool, [Self.mode]))
            try await pool.withConnection {
                _ = try await $0.execute(script: "SET search_path = \(schema), pg_catalog")
            }
            for _ in 0..<failures { #expect(try await !sendAfterQuick(pool, [Self.mode])) }
            try await pool.withConnection { _ = try await $0.execute(script: "RESET search_path") }
            #expect(try await sendAfterQuick(pool, [Self.mode]) == (failures < 2))
            try await observer.execute(script: "DROP SCHEMA \(schema) CASCADE")
        }
    }

    @Test("what opens it is prepared anew when somebody has dropped it")
    func droppedOpening() async throws {
        try await run { pool, _, _ in
            try await pool.queryKept(Self.mode)
            for _ in 0..<3 {
                #expect(try await sendAfterQuick(pool, [Self.mode]))
                try await pool.withConnection { _ = try await $0.execute(script: "DEALLOCATE shared") }
                #expect(try await !sendAfterQuick(pool, [Self.mode]))
            }
        }
    }

    @Test("one that was given while another was under way finds out when it is sent what is prepared")
    func queued() async throws {
        try await withConnection { connection in
            let session = connection.session
            try await withConnection { observer in
                let key = Int.random(in: 0...Int.max)
                for index in 0..<3 { try await connection.queryKept("SELECT \(index)::int") }
                try await observer.query("SELECT pg_advisory_lock(\(key)::bigint)")
                let waiting = Task {
                    try await connection.query("SELECT pg_advisory_xact_lock(\(key)::bigint)")
                }
                while session.withLock({ session.current == nil }) { await Task.yield() }
                let operations = try (0..<3).map {
                    Operation(try ConvoyMember("SELECT \($0)::int"), timeout: nil)
                }
                let answers = operations.map { operation in
                    Task {
                        await withCheckedContinuation { continuation in
                            session.withLock { operation.memberContinuation = continuation }
                        }
                    }
                }
                while session.withLock({ operations.contains { $0.memberContinuation == nil } }) {
                    await Task.yield()
                }
                session.withLock { session.isConvoyQuick = true }
                session.carry(operations) {}
                session.withLock { session.kept = [:] }
                try await observer.query("SELECT pg_advisory_unlock(\(key)::bigint)")
                _ = try await waiting.value
                for (index, answer) in answers.enumerated() {
                    let results = try await answer.value?.get()
                    #expect(try results?.last?.first?.decode(0, as: Int.self) == index)
                }
            }
        }
    }

    @Test("an answer does not wait for all that are behind it", .timeLimit(.minutes(5)))
    func flushed() async throws {
        try await run { pool, _, observer in
            // Takes the limit of time from those behind it in the transaction.
            let endless: PostgresQuery =
                "SELECT set_config('statement_timeout', '0', true) WHERE \(1)::int > 0"
            for query in [Self.mode, endless, blocked] { try await pool.queryKept(query) }
            try await lock(observer, key)
            let session = try session(of: pool)
            session.withLock { session.isConvoyQuick = true }
            let behind = Array(repeating: Self.mode, count: 6)
            let answers = try await together(pool, [Self.mode, endless] + behind + [blocked])
            for index in [0, 2, 3, 4, 5, 6, 7] { #expect(try await isShared(answers[index])) }
            try await unlock(observer, key)
            #expect(try await number(answers[8]) == 0)
        }
    }

    @Test("what writes breaks one, and what fails three in turn, then they go by themselves")
    func memory() async throws {
        try await run { pool, _, observer in
            let table = "convoy_\(UUID().uuidString.prefix(8).lowercased())"
            try await observer.execute(script: "CREATE TABLE \(table) (n int)")
            let write = PostgresQuery(
                unsafeSQL: "WITH new AS (INSERT INTO \(table) VALUES ($1)) SELECT 0", parameters: [1])
            let quotient = { (n: Int) -> PostgresQuery in "SELECT 1 / \(n)::int" }
            for query in [Self.mode, write, quotient(1)] { try await pool.queryKept(query) }
            #expect(try await sendAfterQuick(pool, [write]))
            #expect(try await !sendAfterQuick(pool, [write]))
            // One that did well in between begins anew.
            for n in [0, 0, 1, 0, 0, 0] { #expect(try await sendAfterQuick(pool, [quotient(n)])) }
            #expect(try await !sendAfterQuick(pool, [quotient(0)]))
            #expect(try await sendAfterQuick(pool, [Self.mode]))
            try await observer.execute(script: "DROP TABLE \(table)")
        }
    }

    @Test("the time of one that is sent once more began when it was sent first")
    func deadline() async throws {
        try await withConnection { connection in
            let session = connection.session
            let operation = Operation(try ConvoyMember("SELECT 1"), timeout: .seconds(600))
            let deadlines = (0..<2).map { _ in
                session.withLock {
                    session.lockedLimitTime(of: operation)
                    if let timer = operation.timer { session.poller.callOff(timer) }
                    return operation.deadline
                }
            }
            #expect(deadlines[0] != nil && deadlines[0] == deadlines[1])
        }
    }
}
