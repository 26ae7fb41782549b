import Foundation
import Migrate
import PostgresCluster
import Testing

/// What goes beyond golang-migrate.
@Suite struct BeyondTests {
    @Test(
        "-tx leaves a failed migration's database as it was; a file may opt out; one with its own COMMIT is run without"
    )
    func transactional() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "CREATE TABLE a ()", "2_b.up.sql": "CREATE TABLE b (); SELEC",
        ])
        for arguments in [["-tx", "up"], ["up", "-tx"]] {
            let ending = try await sandbox.raw(
                ["-path", sandbox.path, "-database", sandbox.url()] + arguments)
            #expect(ending.status == 1)
            #expect(
                ending.error.contains(
                    "error: migration failed: syntax error at or near \"SELEC\" (column 20) in line 1:"))
            let row = try await sandbox.row()
            #expect(row == "1|f")
        }
        try sandbox.write(
            "2_b.up.sql", "-- migrate:no-transaction\nCREATE INDEX CONCURRENTLY i ON pg_none (x)")
        let out = try await sandbox.migrate("up", query: "x-tx=true")
        #expect(out.status == 1)
        let dirty = try await sandbox.row()
        #expect(dirty == "2|t")
        _ = try await sandbox.migrate("force", "1")
        try sandbox.write("2_b.up.sql", "BEGIN; CREATE TABLE b (); COMMIT; SELECT 1")
        let own = try await sandbox.migrate("up", global: ["-tx"])
        #expect(own.status == 0)
        #expect(own.error.contains("transaction statements of its own"))
        try sandbox.write("3_c.up.sql", "CREATE TABLE c ()")
        let plain = try await sandbox.migrate("up", global: ["-tx"])
        #expect(plain.lineHeads == ["3/u c (DUR)"])
        let row = try await sandbox.row()
        #expect(row == "3|f")
    }

    @Test("status shows every version, reads only, and has exit codes for machines")
    func status() async throws {
        let sandbox = try await Sandbox(Sandbox.three.filter { $0.key != "2_two.down.sql" })
        let fresh = try await sandbox.migrate("status", "-exit-code")
        #expect(fresh.status == 3)
        #expect(fresh.error.isEmpty)
        let untouched = try await sandbox.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        #expect(untouched == "0")
        _ = try await sandbox.migrate("up", "2")
        let text = try await sandbox.migrate("status")
        #expect(
            text.output
                == "version 2, 1 pending\n  1  one    applied\n  2  two    current, missing-down\n  3  three  pending\n"
        )
        let json = try await sandbox.migrate("status", "-json")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(object["version"] as? Int == 2)
        #expect(object["pending"] as? Int == 1)
        #expect((object["migrations"] as? [Any])?.count == 3)
        for (row, code) in [("(2, true)", 4), ("(77, false)", 5), ("(3, false)", 0)] as [(String, Int32)] {
            _ = try await sandbox.sql(
                "TRUNCATE schema_migrations; INSERT INTO schema_migrations VALUES \(row)")
            let ending = try await sandbox.migrate("status", "-exit-code")
            #expect(ending.status == code)
        }
    }

    @Test("-dry-run shows what would run, with -sql the text, and changes nothing")
    func dryRun() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let up = try await sandbox.migrate("up", "-dry-run")
        #expect(up.lines == ["1/u one", "2/u two", "3/u three"])
        let short = try await sandbox.migrate("up", "-dry-run", "-sql", "5")
        #expect(short.lines.last == "error: limit 2 short")
        #expect(short.status == 1)
        #expect(short.output.contains("CREATE TABLE two (id int)"))
        let tables = try await sandbox.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        #expect(tables == "0")
        let alone = try await sandbox.migrate("up", "-sql")
        #expect(alone.status == 2)
    }

    @Test("repair explains, goes back or goes on, and only when asked")
    func repair() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up", "1")
        let nothing = try await sandbox.migrate("repair", "-retry")
        #expect(nothing.output == "the database is not dirty: there is nothing to repair\n")
        try sandbox.write("2_two.up.sql", "SELEC")
        _ = try await sandbox.migrate("up")
        let explained = try await sandbox.migrate("repair")
        #expect(explained.output.contains("2_two.up.sql, from version 1"))
        let still = try await sandbox.row()
        #expect(still == "2|t")
        _ = try await sandbox.migrate("repair", "-retry")
        let back = try await sandbox.row()
        #expect(back == "1|f")
        _ = try await sandbox.migrate("up")
        _ = try await sandbox.migrate("repair", "-applied")
        let on = try await sandbox.row()
        #expect(on == "2|f")
        let both = try await sandbox.migrate("repair", "-retry", "-applied")
        #expect(both.status == 2)
    }

    @Test(
        "the history finds edited, vanished and late files; -verify warns or stops; without a history nothing is known"
    )
    func history() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up", "1")
        _ = try await sandbox.migrate("up", query: "x-history=true")
        let rows = try await sandbox.sql(
            "SELECT version, direction, outcome FROM schema_migrations_history ORDER BY sequence")
        #expect(rows == "1|up|assumed\n2|up|applied\n3|up|applied")
        let fine = try await sandbox.migrate("verify", query: "x-history=true")
        #expect(fine.status == 0)
        try sandbox.write("2_two.up.sql", "CREATE TABLE changed ()")
        try sandbox.remove("1_one.up.sql")
        try sandbox.remove("1_one.down.sql")
        let found = try await sandbox.migrate("verify", query: "x-history=true")
        #expect(found.status == 1)
        #expect(found.output.contains("version 2: 2_two.up.sql was changed after it was applied"))
        #expect(found.output.contains("version 1: the file of one, which was applied, is gone"))
        let warned = try await sandbox.migrate("up", "-verify=warn", query: "x-history=true")
        #expect(warned.status == 0)
        #expect(warned.error.contains("warning: version 2"))
        let stopped = try await sandbox.migrate("up", "-verify=fail", query: "x-history=true")
        #expect(stopped.status == 1)
        let off = try await sandbox.migrate("up", query: "x-history=true")
        #expect(off.lines == ["no change"])
        let without = try await sandbox.migrate("up", "-verify=fail")
        #expect(
            without.lines == [
                "error: -verify=fail compares with the history: add x-history=true to the database URL"
            ])
        let wrong = try await sandbox.migrate("up", "-verify=perhaps")
        #expect(wrong.status == 2)
        let columns = try await sandbox.sql(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'schema_migrations'")
        #expect(columns == "2")
    }

    @Test(
        "a file that came late is told by verify and status, once the history knows that it was passed over")
    func late() async throws {
        let sandbox = try await Sandbox(Sandbox.three.filter { !$0.key.hasPrefix("2") })
        _ = try await sandbox.migrate("up", query: "x-history=true")
        try sandbox.write("2_two.up.sql", "CREATE TABLE two ()")
        try sandbox.write("2_two.down.sql", "DROP TABLE two")
        let found = try await sandbox.migrate("verify", query: "x-history=true")
        #expect(found.status == 1)
        #expect(
            found.output.contains(
                "version 2: 2_two.up.sql came after a later version was applied, and up passes it over"))
        let status = try await sandbox.migrate("status", query: "x-history=true")
        #expect(status.output.contains("  2  two    out-of-order?\n"), "\(status.output)")
        let unknown = try await sandbox.migrate("status")
        #expect(unknown.output.contains("  2  two    applied\n"), "\(unknown.output)")
    }

    @Test("with -verbose names that are nearly migrations are told; without, nothing is")
    func nearlyMigrations() async throws {
        let sandbox = try await Sandbox([
            "1_a.UP.sql": "SELECT 1", "V2_b.up.sql": "SELECT 1", "notes.txt": "",
        ])
        let told = try await sandbox.migrate("status", global: ["-verbose"])
        #expect(
            told.error.contains(
                "warning: 1_a.UP.sql is no migration: up and down are written in small letters"))
        #expect(
            told.error.contains("warning: V2_b.up.sql is no migration: its name is not VERSION_NAME.up.sql"))
        #expect(!told.error.contains("notes.txt"))
        let silent = try await sandbox.migrate("status")
        #expect(silent.error.isEmpty)
    }

    @Test("with -verbose it is told what is odd about the migrations; without, nothing is")
    func oddMigrations() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "", "1_a.down.sql": "", "000002_b.up.sql": "", "3_c.up.sql.bak": "",
            "3_c.down.sql": "",
        ])
        try FileManager.default.createSymbolicLink(
            atPath: "\(sandbox.path)/4_d.up.sql", withDestinationPath: "nowhere.sql")
        try FileManager.default.createSymbolicLink(
            atPath: "\(sandbox.path)/4_d.down.sql", withDestinationPath: "1_a.down.sql")
        let told = try await sandbox.migrate("status", global: ["-verbose"])
        let warnings = told.error.split(separator: "\n").compactMap { line in
            line.range(of: "warning: ").map { String(line[$0.upperBound...]) }
        }
        #expect(
            warnings == [
                "000002_b.up.sql and 1_a.up.sql have versions of different width: listed by name they stand in another "
                    + "order than they run",
                "000002_b.up.sql has no down file: undoing it changes the version and nothing else",
                "3_c.up.sql.bak is a migration as any other: what stands behind up or down makes no difference",
                "4_d.up.sql is a link that leads to no file",
            ])
        let silent = try await sandbox.migrate("status")
        #expect(silent.error.isEmpty)
    }

    @Test("files of one width, without any way back, are not odd")
    func ordinaryMigrations() async throws {
        let sandbox = try await Sandbox(["08_a.up.sql": "", "09_b.up.sql": "", "10_c.up.sql": ""])
        let told = try await sandbox.migrate("status", global: ["-verbose"])
        #expect(!told.error.contains("warning: "))
    }

    @Test("a lock that the original would not see is refused")
    func otherLock() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let refused = try await sandbox.migrate("up", query: "x-lock=table")
        #expect(refused.status == 1)
        #expect(
            refused.error.contains("x-lock=table is not available: the lock is PostgreSQL's advisory lock"))
        let tables = try await sandbox.tables()
        #expect(tables.isEmpty)
    }

    @Test(
        "-wait and wait give up at the end of their time with the original's words, and at once on what waiting cannot mend"
    )
    func waiting() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let refused = try await sandbox.raw([
            "-database", "postgres://u:p@127.0.0.1:1/a?sslmode=disable", "wait", "-timeout", "300ms",
        ])
        #expect(
            refused.lines.last
                == "error: failed to open database: dial tcp 127.0.0.1:1: connect: connection refused")
        #expect(refused.status == 1)
        let up = try await sandbox.raw([
            "-path", sandbox.path, "-wait", "1h", "-database", sandbox.cluster.url("nodb"), "up",
        ])
        #expect(up.lines == ["error: failed to open database: pq: database \"nodb\" does not exist"])
        let ready = try await sandbox.raw(["-database", sandbox.url(), "wait"])
        #expect(ready.status == 0)
    }

    @Test("baseline and -allow-ahead")
    func baseline() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let set = try await sandbox.migrate("baseline", "2")
        #expect(set.status == 0, "\(set.error)")
        let again = try await sandbox.migrate("baseline", "3")
        #expect(again.status == 1)
        _ = try await sandbox.migrate("force", "77")
        let ahead = try await sandbox.migrate("up", "-allow-ahead")
        #expect(ahead.status == 0)
        #expect(ahead.error.contains("warning: the database is at version 77"))
    }

    @Test("a program runs its migrations in process")
    func embedding() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let migrator = try await Migrator.open(
            source: MigrationSource(directory: sandbox.path), database: DatabaseURL(sandbox.url()))
        defer { migrator.close() }
        let run = try await migrator.run(.up(nil))
        #expect(run.steps.map(\.version) == [1, 2, 3])
        let version = try await migrator.version()
        #expect(version.number == 3)
        let again = try await migrator.run(.up(nil))
        #expect(again.isNoChange)
    }
}
