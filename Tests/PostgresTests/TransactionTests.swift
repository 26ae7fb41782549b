import Postgres
import Testing

@Suite struct TransactionTests {
    @Test("a transaction begins with its first statement, whatever that is, and one without any asks nothing")
    func firstStatements() async throws {
        try await withConnection { connection in
            try await withConnection { observer in
                let pid = connection.backendProcessID
                try await connection.execute(script: "CREATE TEMP TABLE t (n int)")
                func state() async throws -> String {
                    try await observer.query("SELECT state FROM pg_stat_activity WHERE pid = \(pid)")[0]
                        .decode(0, as: String.self)
                }
                struct Stop: Error {}
                let firsts: [(PostgresConnection) async throws -> Void] = [
                    { _ = try await $0.query("INSERT INTO t VALUES (\(1)::int)") },
                    { _ = try await $0.queryKept("INSERT INTO t VALUES (\(1)::int)") },
                    { _ = try await $0.query("INSERT INTO t VALUES (1)") },
                    { _ = try await $0.execute(script: "INSERT INTO t VALUES (1)") },
                    { _ = try await $0.pipeline(["INSERT INTO t VALUES (\(1)::int)"]) },
                    {
                        try await $0.withRows(of: "INSERT INTO t VALUES (1) RETURNING n") {
                            for try await _ in $0 {}
                        }
                    },
                ]
                for first in firsts {
                    await #expect(throws: Stop.self) {
                        try await connection.withTransaction(isolation: .serializable) { transaction in
                            #expect(transaction.transactionStatus == .inTransaction)
                            let before = try await state()
                            #expect(before == "idle")
                            try await first(transaction)
                            let after = try await state()
                            #expect(after == "idle in transaction")
                            let row = try await transaction.query(
                                "SELECT current_setting('transaction_isolation'), count(*), \(7)::int FROM t")[
                                    0]
                            #expect(try row.decode(String.self, Int.self, Int.self) == ("serializable", 1, 7))
                            throw Stop()
                        }
                    }
                    #expect(connection.transactionStatus == .idle)
                    let count = try await connection.query("SELECT count(*) FROM t")[0].decode(
                        0, as: Int.self)
                    #expect(count == 0)
                }
                for bad in ["SELECT \(1)::int / \(0)::int", "SELECT 1/0"] as [PostgresQuery] {
                    let error = await #expect(throws: PostgresError.self) {
                        try await connection.withTransaction { try await $0.query(bad) }
                    }
                    #expect(error?.sqlState == "22012" && error?.completedStatements == 0)
                    #expect(connection.transactionStatus == .idle)
                }
                let empty = try await connection.withTransaction { _ in 5 }
                #expect(empty == 5)
                #expect(connection.transactionStatus == .idle)
            }
        }
    }
}
