import Foundation
import PostgresCluster
import Testing

/// Files from 1 MiB on are sent in pieces; nothing else may show it.
@Suite struct LargeFileTests {
    private static let padding = "INSERT INTO t VALUES ('" + String(repeating: "ü", count: 500) + "');\n"
    private static let filler = String(repeating: padding, count: 1_500)

    @Test(
        "a large file is one transaction: an error in it leaves nothing, and is told by its place in the whole file"
    )
    func failure() async throws {
        let text = "CREATE TABLE t (t text);\n" + Self.filler + "SELECT 1; SELEC 2;\n" + Self.filler
        let sandbox = try await Sandbox(["1_a.up.sql": text])
        let ending = try await sandbox.migrate("up")
        #expect(ending.status == 1)
        #expect(
            ending.error
                == "error: migration failed: syntax error at or near \"SELEC\" (column 11) in line 1502: \(text) "
                + "(details: pq: syntax error at or near \"SELEC\")\n")
        let row = try await sandbox.row()
        #expect(row == "1|t")
        let tables = try await sandbox.tables()
        #expect(tables == "")
    }

    @Test("what large files do is what small ones do", arguments: [[], ["-tx"]])
    func success(_ flags: [String]) async throws {
        let statements = [
            "CREATE TABLE t (t text, x xid8 DEFAULT pg_current_xact_id());",
            Self.filler.replacing("INTO t ", with: "INTO t (t) "),
            "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN count(*) FROM t; END; $$;",
            "INSERT INTO t (t) VALUES (E'a\\';'\n'\\';b');", "SELECT f()",
        ]
        let sandbox = try await Sandbox(["1_a.up.sql": statements.joined(separator: "\n")])
        let ending = try await sandbox.raw(["-path", sandbox.path, "-database", sandbox.url(), "up"] + flags)
        #expect(ending.lineHeads == ["1/u a (DUR)"])
        #expect(ending.status == 0)
        // One transaction has one number.
        let counts = try await sandbox.sql(
            "SELECT count(*), count(DISTINCT x::text), f(), max(t) FILTER (WHERE t LIKE 'a%') FROM t")
        #expect(counts == "1501|1|1501|a';';b")
        let row = try await sandbox.row()
        #expect(row == "1|f")
    }

    @Test("a constraint that is checked at the end fails the whole file, and -tx leaves nothing to repair")
    func atTheEnd() async throws {
        let text = "CREATE TABLE t (t text UNIQUE DEFERRABLE INITIALLY DEFERRED);\n" + Self.filler
        let sandbox = try await Sandbox(["1_a.up.sql": text])
        let ending = try await sandbox.migrate("up", "-tx")
        #expect(ending.status == 1)
        let row = try await sandbox.row()
        #expect(row == "")
        let plain = try await sandbox.migrate("up")
        #expect(
            plain.error.hasPrefix(
                "error: migration failed: duplicate key value violates unique constraint \"t_t_key\", Key (t)="
            ))
        let dirty = try await sandbox.row()
        #expect(dirty == "1|t")
        let tables = try await sandbox.tables()
        #expect(tables == "")
    }

    @Test("statements of transactions, and changes of how strings are read, have a large file sent whole")
    func whole() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "BEGIN; CREATE TABLE t (t text); COMMIT;\n" + Self.filler + "SELECT 1/0;",
            "2_b.up.sql": Self.filler + "SELECT set_config('standard_conforming_strings', 'off', false);"
                + Self.filler + "SELECT 1;",
        ])
        let ending = try await sandbox.migrate("up")
        #expect(ending.error.hasPrefix("error: migration failed: division by zero in line 0: BEGIN;"))
        let kept = try await sandbox.sql("SELECT count(*) FROM t")
        #expect(kept == "0")
        _ = try await sandbox.migrate("force", "1")
        let changed = try await sandbox.migrate("up")
        #expect(changed.lineHeads == ["2/u b (DUR)"])
        let once = try await sandbox.sql("SELECT count(*) FROM t")
        #expect(once == "3000")
    }

    @Test(
        "text behind a change of its encoding is read as in one message", .timeLimit(.minutes(2)),
        arguments: [
            "SET client_encoding = 'LATIN1'", "SET NAMES 'LATIN1'", "SET \"client_encoding\" TO LATIN1",
            "SELECT set_config('client_encoding', 'LATIN1', false)",
        ])
    func encoding(_ statement: String) async throws {
        let text =
            "CREATE TABLE t (t text);\n\(Self.filler)\(statement);\n\(Self.filler)INSERT INTO t VALUES ('ä');"
        let sandbox = try await Sandbox(["1_a.up.sql": text])
        let ending = try await sandbox.migrate("up")
        #expect(ending.lineHeads == ["1/u a (DUR)"])
        let texts = try await sandbox.sql(
            "SELECT count(*), count(DISTINCT t), min(t), left(max(t), 1) FROM t")
        #expect(texts == "3001|2|ä|ü")
    }

    @Test("a single statement is sent alone, whatever comments are behind it")
    func alone() async throws {
        let comment = String(repeating: "-- a comment; it's long\n", count: 50_000)
        let sandbox = try await Sandbox([
            "1_a.up.sql": "CREATE TABLE t (t text)",
            "2_b.up.sql": "CREATE INDEX CONCURRENTLY i ON t (t);\n" + comment,
            "3_c.up.sql": "INSERT INTO t VALUES ('c'); SELECT 1;\n" + comment,
        ])
        let ending = try await sandbox.migrate("up")
        #expect(ending.lineHeads == ["1/u a (DUR)", "2/u b (DUR)", "3/u c (DUR)"])
    }

    @Test("the time for a statement is that of the whole file")
    func timeout() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "CREATE TABLE t (t text);\n" + Self.filler + "SELECT pg_sleep(600);\n" + Self.filler
        ])
        let ending = try await sandbox.migrate("up", query: "x-statement-timeout=2000")
        #expect(ending.status == 1)
        #expect(
            ending.error.hasPrefix(
                "error: migration failed: canceling statement due to user request in line 0: CREATE TABLE t"))
        let tables = try await sandbox.tables()
        #expect(tables == "")
    }
}
