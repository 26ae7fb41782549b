import Foundation
import PostgresCluster
import Testing

@Suite struct FailureTests {
    @Test(
        "a mistake in the second statement undoes the first, leaves a dirty row, and is told with line and column"
    )
    func syntaxError() async throws {
        let text = "CREATE TABLE a (id int);\nCREATE TABLEE b (id int);"
        let sandbox = try await Sandbox(["1_a.up.sql": text])
        let ending = try await sandbox.migrate("up")
        #expect(ending.status == 1)
        #expect(
            ending.error
                == "error: migration failed: syntax error at or near \"TABLEE\" (column 8) in line 2: \(text) "
                + "(details: pq: syntax error at or near \"TABLEE\")\n")
        let row = try await sandbox.row()
        #expect(row == "1|t")
        let tables = try await sandbox.tables()
        #expect(tables == "")
        for command in [["up"], ["down", "1"], ["goto", "1"], ["down", "-all"]] {
            let next = try await sandbox.raw(["-path", sandbox.path, "-database", sandbox.url()] + command)
            #expect(next.lines == ["error: Dirty database version 1. Fix and force version."])
            #expect(next.status == 1)
        }
    }

    @Test("an error with a detail and without a position; one behind characters of several bytes")
    func details() async throws {
        let text = "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1), (1)"
        let sandbox = try await Sandbox(["1_a.up.sql": text])
        let ending = try await sandbox.migrate("up")
        #expect(
            ending.error
                == "error: migration failed: duplicate key value violates unique constraint \"a_pkey\", "
                + "Key (id)=(1) already exists. in line 0: \(text) "
                + "(details: pq: duplicate key value violates unique constraint \"a_pkey\")\n")
        let other = try await Sandbox(["1_a.up.sql": "SELECT 'äöü'; SELEC"])
        let wide = try await other.migrate("up")
        #expect(wide.error.contains("(column 15) in line 1"))
    }

    @Test("a failing down leaves its target dirty; of the first file that is -1")
    func failingDown() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "", "1_a.down.sql": "SELEC", "2_b.up.sql": "", "3_c.up.sql": "",
            "3_c.down.sql": "SELEC",
        ])
        _ = try await sandbox.migrate("up")
        _ = try await sandbox.migrate("down", "1")
        let row = try await sandbox.row()
        #expect(row == "2|t")
        _ = try await sandbox.migrate("force", "1")
        _ = try await sandbox.migrate("down", "1")
        let first = try await sandbox.row()
        #expect(first == "-1|t")
        let version = try await sandbox.migrate("version")
        #expect(version.lines == ["error: no migration (dirty)"])
        let up = try await sandbox.migrate("up")
        #expect(up.lines == ["error: Dirty database version -1. Fix and force version."])
    }

    @Test(
        "transactions of the file's own: what they committed stays, an open one is rolled back, the lock is free",
        arguments: [
            (
                "BEGIN; CREATE TABLE z1 (); SELECT 1/0; COMMIT",
                "migration failed: division by zero in line 0: ", ""
            ),
            (
                "BEGIN; CREATE TABLE z1 ()",
                "transaction start failed in line 0:  (details: pq: unexpected transaction status idle in transaction)",
                ""
            ),
            (
                "begin; create table z1 (); commit; create table z2 (); select 1/0",
                "migration failed: division by zero in line 0: ", "z1"
            ),
            (
                "CREATE TABLE z1 (); COPY z1 FROM STDIN;",
                "migration failed in line 0: CREATE TABLE z1 (); COPY z1 FROM STDIN; (details: pq: unknown response for simple query: 'G')",
                ""
            ),
            (
                "CREATE TABLE z1 (i int); COPY z1 TO STDOUT;",
                "migration failed in line 0: CREATE TABLE z1 (i int); COPY z1 TO STDOUT; (details: pq: unknown response for simple query: 'H')",
                "z1"
            ),
        ])
    func ownTransactions(_ text: String, _ message: String, _ tables: String) async throws {
        let sandbox = try await Sandbox(["1_a.up.sql": text])
        let ending = try await sandbox.migrate("up")
        #expect(ending.status == 1)
        #expect(ending.error.hasPrefix("error: \(message)"), "\(ending.error)")
        #expect(ending.lines.count == 1)
        let row = try await sandbox.row()
        #expect(row == "1|t")
        let left = try await sandbox.tables()
        #expect(left == tables)
        let locks = try await sandbox.sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        #expect(locks == "0")
    }

    @Test("a server process that dies in the middle ends the run, dirty, without a hang")
    func terminated() async throws {
        let sandbox = try await Sandbox(["1_a.up.sql": "SELECT pg_terminate_backend(pg_backend_pid())"])
        let ending = try await sandbox.migrate("up")
        #expect(ending.status == 1)
        #expect(ending.error.contains("terminating connection due to administrator command"))
        let row = try await sandbox.row()
        #expect(row == "1|t")
    }

    @Test(
        "a whole server that is killed in the middle ends the run; after its return the version is told truly"
    )
    func serverKilled() async throws {
        let cluster = try await PostgresCluster.restartable()
        let slow = "CREATE TABLE a (); SELECT pg_sleep(1000)"
        for isTransactional in [false, true] {
            let sandbox = try await Sandbox(
                ["1_one.up.sql": "CREATE TABLE one ()", "2_a.up.sql": slow], cluster: cluster)
            let child = try sandbox.start("up", global: isTransactional ? ["-tx"] : [])
            try await sandbox.waitUntil(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '\(sandbox.database)' AND query LIKE '%pg_sleep%1000%' AND pid <> pg_backend_pid()"
            )
            try cluster.kill()
            let ending = await child.wait()
            #expect(ending.status == 1, "\(ending.error)")
            #expect(ending.lines.first.map { $0.hasPrefix("1/u one (") } == true)
            #expect(ending.error.contains("error: migration failed"), "\(ending.error)")
            let down = try await sandbox.migrate("version")
            #expect(down.status == 1)
            #expect(down.lines.first?.hasPrefix("error: failed to open database: ") == true, "\(down.error)")
            let waiting = try sandbox.start("version", global: ["-wait", "10m"])
            try await cluster.start()
            let version = try await sandbox.migrate("version")
            #expect(version.lines == [isTransactional ? "1" : "2 (dirty)"])
            let waited = await waiting.wait()
            #expect(waited.lines == version.lines, "-wait has the answer once the server is back")
            let tables = try await sandbox.tables()
            #expect(tables == "one", "the server has undone the second")
            try sandbox.write("2_a.up.sql", "CREATE TABLE a ()")
            if !isTransactional {
                let refused = try await sandbox.migrate("up")
                #expect(refused.lines == ["error: Dirty database version 2. Fix and force version."])
                let repaired = try await sandbox.migrate("repair", "-retry")
                #expect(repaired.status == 0, "\(repaired.error)")
            }
            let again = try await sandbox.migrate("up")
            #expect(again.lineHeads == ["2/u a (DUR)"], "\(again.error)")
        }
    }

    @Test("CREATE INDEX CONCURRENTLY stands alone, or uses x-multi-statement, where earlier pieces stay")
    func concurrently() async throws {
        let index = "CREATE INDEX CONCURRENTLY i ON a (id)"
        let sandbox = try await Sandbox([
            "1_a.up.sql": "CREATE TABLE a (id int)", "2_b.up.sql": index,
            "3_c.up.sql": "DROP INDEX i; \(index);",
        ])
        let ending = try await sandbox.migrate("up")
        #expect(ending.lineHeads.prefix(2) == ["1/u a (DUR)", "2/u b (DUR)"])
        #expect(ending.error.contains("CREATE INDEX CONCURRENTLY cannot"))
        _ = try await sandbox.migrate("force", "2")
        let multi = try await sandbox.migrate("up", query: "x-multi-statement=true")
        #expect(multi.status == 0)
        try sandbox.write(
            "4_d.up.sql",
            "CREATE TABLE d1 ();\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;\n SELEC 2; CREATE TABLE d2 ();"
        )
        let failing = try await sandbox.migrate("up", query: "x-multi-statement=true")
        #expect(
            failing.error
                == "error: migration failed: syntax error at or near \"SELEC\" (column 2) in line 2: \n SELEC 2; (details: pq: syntax error at or near \"SELEC\")\n"
        )
        let tables = try await sandbox.tables()
        #expect(tables == "a,d1")
        let row = try await sandbox.row()
        #expect(row == "4|t")
    }

    @Test("a piece beyond x-multi-statement-max-size is refused")
    func tooLong() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "SELECT 1; SELECT '" + String(repeating: "x", count: 5000) + "'"
        ])
        let ending = try await sandbox.migrate(
            "up", query: "x-multi-statement=true&x-multi-statement-max-size=10")
        #expect(ending.lines == ["error: bufio.Scanner: token too long"])
        #expect(ending.status == 1)
    }

    @Test("timeouts of the tool and of the server cancel a statement and leave a dirty row")
    func timeouts() async throws {
        for query in ["x-statement-timeout=200", "statement_timeout=3000"] {
            let sandbox = try await Sandbox(["1_a.up.sql": "SELECT pg_sleep(100)"])
            let ending = try await sandbox.migrate("up", query: query)
            #expect(ending.status == 1)
            let reason = query.hasPrefix("x-") ? "user request" : "statement timeout"
            #expect(
                ending.lines.first
                    == "error: migration failed: canceling statement due to \(reason) in line 0: SELECT pg_sleep(100) (details: pq: canceling statement due to \(reason))"
            )
            #expect(ending.lines.count == (query.hasPrefix("x-") ? 2 : 1))
            let row = try await sandbox.row()
            #expect(row == "1|t")
        }
    }

    @Test("notices are shown with -verbose alone")
    func notices() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "DO $$ BEGIN RAISE NOTICE 'hello there'; END $$",
            "1_a.down.sql": "DO $$ BEGIN RAISE NOTICE 'bye'; END $$",
        ])
        let quiet = try await sandbox.migrate("up")
        #expect(!quiet.error.contains("hello"))
        let loud = try await sandbox.migrate("down", "1", global: ["-verbose"])
        #expect(loud.error.contains("NOTICE: bye"))
    }

    @Test(
        "a file that is not UTF-8 is sent as it is, refused by the server, and shown byte for byte; a NUL stops before the row"
    )
    func encodings() async throws {
        let sandbox = try await Sandbox()
        let body = Array("SELECT '".utf8) + [0xff, 0xfe] + Array("'".utf8)
        try sandbox.write("1_a.up.sql", bytes: body)
        let ending = try await sandbox.migrate("up")
        #expect(ending.status == 1)
        #expect(ending.error.contains("invalid byte sequence for encoding \"UTF8\": 0xff in line 0: "))
        #expect(ending.errorBytes.firstRange(of: body) != nil)
        let row = try await sandbox.row()
        #expect(row == "1|t")
        _ = try await sandbox.migrate("force", "--", "-1")
        let verbose = try await sandbox.migrate("up", global: ["-verbose"])
        #expect(verbose.error.contains("the byte at offset 8 is the first that does not fit"))
        _ = try await sandbox.migrate("force", "--", "-1")
        try sandbox.write("1_a.up.sql", bytes: [0x53, 0, 0x45, 0])
        let nul = try await sandbox.migrate("up")
        #expect(
            nul.lines == [
                "error: read 1_a.up.sql: there is a NUL byte at offset 1, and the server would stop there; is the file UTF-16?"
            ])
        let clean = try await sandbox.row()
        #expect(clean == "")
    }

    @Test("with -verbose the place is shown with a caret, and the ways out")
    func hints() async throws {
        let sandbox = try await Sandbox(["1_a.up.sql": "CREATE TABLE a ();\n\tCREATE TABLEE b ();\n"])
        let ending = try await sandbox.migrate("up", global: ["-verbose"])
        let texts = ending.lines.map { String($0.dropFirst(20)) }
        #expect(texts.contains("\(sandbox.path)/1_a.up.sql:2:9: syntax error at or near \"TABLEE\""))
        let index = try #require(texts.firstIndex(of: "    \tCREATE TABLEE b ();"))
        #expect(texts[index + 1] == "    \t       ^")
        #expect(ending.error.contains("repair -retry"))
        let dirty = try await sandbox.migrate("up", global: ["-verbose"])
        #expect(dirty.error.contains("repair"))
        let quiet = try await sandbox.migrate("up")
        #expect(quiet.lines.count == 1)
    }
}
