import Foundation
import Postgres
import PostgresCluster
import Testing

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
                PostgresQuery(unsafeSQL: "INSERT INTO \(table) VALUES ($1) RETURNING n", parameters: [$0])
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
}
