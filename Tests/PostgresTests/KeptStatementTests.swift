import Postgres
import PostgresCluster
import Testing

@Suite("A statement that a connection keeps") struct KeptStatementTests {
    /// A table, and two statements about it that the connection keeps.
    private func run(
        _ body:
            @Sendable (PostgresConnection, _ read: PostgresQuery, _ count: PostgresQuery) async throws -> Void
    ) async throws {
        try await withConnection { connection in
            try await connection.query("CREATE TEMPORARY TABLE kept (id INT); INSERT INTO kept VALUES (1)")
            let read: PostgresQuery = "SELECT * FROM kept WHERE id = \(1)"
            let count: PostgresQuery = "SELECT kept.*, count(*) OVER () FROM kept WHERE id = \(1)"
            for query in [read, count] { #expect(try await connection.queryKept(query).count == 1) }
            try await body(connection, read, count)
        }
    }

    @Test("is prepared once")
    func once() async throws {
        try await run { connection, read, _ in
            for _ in 0..<3 { try await connection.queryKept(read) }
            let prepared = try await connection.query("SELECT count(*) FROM pg_prepared_statements")
            #expect(try prepared.first?.decode(0, as: Int.self) == 2)
        }
    }

    @Test("is prepared anew at once when the tables have changed, or somebody has dropped it")
    func changedTables() async throws {
        try await run { connection, read, count in
            try await connection.query("ALTER TABLE kept ADD name TEXT DEFAULT 'new'")
            let row = try #require(try await connection.queryKept(read).first)
            #expect(try row.decode("name", as: String.self) == "new")
            #expect(try await connection.queryKept(count).first?.columns.count == 3)
            try await connection.query("DEALLOCATE ALL")
            #expect(try await connection.queryKept(read).count == 1)
        }
    }

    @Test("is prepared anew when the transaction that it was part of is run again, all of them at once")
    func transaction() async throws {
        try await run { connection, read, count in
            try await connection.query("ALTER TABLE kept ADD name TEXT")
            let columns = try await connection.withTransaction(attempts: 2) { connection in
                try await connection.queryKept(read)
                return try await connection.queryKept(count).first?.columns.count
            }
            #expect(columns == 3)
            try await connection.query("ALTER TABLE kept ADD more TEXT")
            let error = await #expect(throws: PostgresError.self) {
                try await connection.withTransaction { try await $0.queryKept(read) }
            }
            #expect(error?.code == .statementOutdated && error?.sqlState == "0A000")
            #expect(try await connection.withTransaction { try await $0.queryKept(read) }.count == 1)
        }
    }

    @Test("is not taken for outdated when it asks for what the server cannot do")
    func unsupported() async throws {
        try await run { connection, read, _ in
            try await connection.execute(
                script: """
                    CREATE FUNCTION pg_temp.unsupported(int) RETURNS int LANGUAGE plpgsql
                    AS $$ BEGIN RAISE 'no' USING ERRCODE = '0A000'; END $$
                    """)
            // Prepared at the first time, and found at the second.
            for _ in 0..<2 {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.queryKept("SELECT pg_temp.unsupported(\(1))")
                }
                #expect(error?.code == .server && error?.sqlState == "0A000")
            }
            try await connection.queryKept(read)
            let prepared = try await connection.query("SELECT count(*) FROM pg_prepared_statements")
            #expect(try prepared.first?.decode(0, as: Int.self) == 3)
        }
    }
}
