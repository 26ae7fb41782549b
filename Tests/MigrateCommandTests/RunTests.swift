import Foundation
import PostgresCluster
import Testing

@Suite struct RunTests {
    @Test("up applies all in order, a second up says no change; -all undoes all and leaves no row")
    func upAndDown() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let up = try await sandbox.migrate("up")
        #expect(up.lineHeads == ["1/u one (DUR)", "2/u two (DUR)", "3/u three (DUR)"])
        #expect(up.status == 0)
        #expect(up.output.isEmpty)
        let again = try await sandbox.migrate("up")
        #expect(again.lines == ["no change"])
        #expect(again.status == 0)
        let tables = try await sandbox.tables()
        #expect(tables == "one,three,two")
        let down = try await sandbox.migrate("down", "-all")
        #expect(down.lineHeads == ["3/d three (DUR)", "2/d two (DUR)", "1/d one (DUR)"])
        let rows = try await sandbox.sql("SELECT count(*) FROM schema_migrations")
        #expect(rows == "0")
        let nothing = try await sandbox.tables()
        #expect(nothing == "")
        let columns = try await sandbox.sql(
            "SELECT string_agg(column_name || ' ' || data_type || ' ' || is_nullable, ',' ORDER BY ordinal_position) "
                + "FROM information_schema.columns WHERE table_name = 'schema_migrations'")
        #expect(columns == "version bigint NO,dirty boolean NO")
    }

    @Test(
        "limits, zero, goto, and what lies beyond the ends",
        arguments: [
            // Each: where it starts, the command, the lines, the exit code, the row afterwards.
            (-1, ["up", "1"], ["1/u one (DUR)"], 0, "1|f"), (1, ["up", "0"], ["no change"], 0, "1|f"),
            (2, ["down", "1"], ["2/d two (DUR)"], 0, "1|f"), (2, ["down", "0"], ["no change"], 0, "2|f"),
            (3, ["up", "1"], ["error: file does not exist"], 1, "3|f"),
            (2, ["up", "5"], ["3/u three (DUR)", "error: limit 4 short"], 1, "3|f"),
            (-1, ["down", "1"], ["error: file does not exist"], 1, ""),
            (-1, ["down", "-all"], ["no change"], 0, ""),
            (1, ["down", "5"], ["1/d one (DUR)", "error: limit 4 short"], 1, ""),
            (2, ["goto", "2"], ["no change"], 0, "2|f"),
            (1, ["goto", "3"], ["2/u two (DUR)", "3/u three (DUR)"], 0, "3|f"),
            (3, ["goto", "1"], ["3/d three (DUR)", "2/d two (DUR)"], 0, "1|f"),
            (
                1, ["goto", "9"],
                ["error: no migration found for version 9: read down for version 9 .: file does not exist"],
                1, "1|f"
            ),
            (
                1, ["goto", "0"],
                ["error: no migration found for version 0: read down for version 0 .: file does not exist"],
                1, "1|f"
            ),
            (1, ["goto", "x"], ["error: can't read version argument V"], 1, "1|f"),
            (1, ["goto"], ["error: please specify version argument V"], 1, "1|f"),
            (1, ["up", "x"], ["error: can't read limit argument N"], 1, "1|f"),
            (1, ["up", "+1"], ["error: can't read limit argument N"], 1, "1|f"),
            (1, ["up", "1", "junk"], ["2/u two (DUR)"], 0, "2|f"),
            (1, ["down", "x"], ["error: can't read limit argument N"], 1, "1|f"),
            (1, ["down", "-all", "1"], ["error: -all cannot be used with other arguments"], 1, "1|f"),
            (1, ["down", "1", "2"], ["error: too many arguments"], 1, "1|f"),
            (1, ["down", "5", "-all"], ["error: too many arguments"], 1, "1|f"),
            (3, ["version"], ["3"], 0, "3|f"), (3, ["version", "-help"], ["3"], 0, "3|f"),
            (-1, ["version"], ["error: no migration"], 1, ""),
        ] as [(Int, [String], [String], Int32, String)])
    func steps(_ start: Int, _ command: [String], _ lines: [String], _ status: Int32, _ row: String)
        async throws
    {
        let sandbox = try await Sandbox(Sandbox.three)
        if start > 0 { _ = try await sandbox.migrate("up", String(start)) }
        let ending = try await sandbox.raw(["-path", sandbox.path, "-database", sandbox.url()] + command)
        #expect(ending.lineHeads == lines)
        #expect(ending.status == status)
        #expect(ending.output.isEmpty)
        let after = try await sandbox.row()
        #expect(after == row)
    }

    @Test("-verbose stamps every line and tells each step; -prefetch changes only the words")
    func verbose() async throws {
        for prefetch in ["0", "1", "10", "1000"] {
            let sandbox = try await Sandbox(Sandbox.three)
            let ending = try await sandbox.migrate("up", global: ["-verbose", "-prefetch", prefetch])
            #expect(ending.status == 0)
            #expect(
                ending.lines.allSatisfy { $0.prefixMatch(of: #/\d{4}/\d\d/\d\d \d\d:\d\d:\d\d /#) != nil })
            let texts = ending.lines.map { $0.dropFirst(20) }
            let word = prefetch == "0" ? "Scheduled" : "Start buffering"
            for label in ["1/u one", "2/u two", "3/u three"] {
                #expect(texts.contains("\(word) \(label)"))
                #expect(texts.contains("Read and execute \(label)"))
                #expect(texts.contains { $0.hasPrefix("Finished \(label) (read ") })
            }
            #expect(texts.dropLast().last?.hasPrefix("Finished after ") == true)
            #expect(texts.last == "Closing source and database")
            let row = try await sandbox.row()
            #expect(row == "3|f")
        }
    }

    @Test("a file that came late with a lower number is passed over by up, and gone through by goto")
    func late() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "CREATE TABLE a ()", "3_c.up.sql": "CREATE TABLE c ()",
            "3_c.down.sql": "DROP TABLE c",
        ])
        _ = try await sandbox.migrate("up")
        try sandbox.write("2_b.up.sql", "CREATE TABLE b ()")
        try sandbox.write("2_b.down.sql", "CREATE TABLE down_of_b ()")
        let up = try await sandbox.migrate("up")
        #expect(up.lines == ["no change"])
        let goTo = try await sandbox.migrate("goto", "1")
        #expect(goTo.lineHeads == ["3/d c (DUR)", "2/d b (DUR)"])
        let tables = try await sandbox.tables()
        #expect(tables == "a,down_of_b")
    }

    @Test(
        "force sets any version from -1 without a word, and clears the mark; what is not there stays not there"
    )
    func force() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let force = try await sandbox.migrate("force", "77")
        #expect(force.error.isEmpty)
        #expect(force.status == 0)
        let missing =
            "error: no migration found for version 77: read down for version 77 .: file does not exist"
        for command in [["up"], ["down", "1"], ["goto", "1"], ["down", "-all"]] {
            let ending = try await sandbox.raw(["-path", sandbox.path, "-database", sandbox.url()] + command)
            #expect(ending.lines == [missing])
            #expect(ending.status == 1)
        }
        let version = try await sandbox.migrate("version")
        #expect(version.lines == ["77"])
        let unset = try await sandbox.migrate("force", "--", "-1")
        #expect(unset.status == 0)
        let row = try await sandbox.row()
        #expect(row == "")
        let below = try await sandbox.migrate("force", "--", "-2")
        #expect(below.lines == ["error: argument V must be >= -1"])
        _ = try await sandbox.sql("INSERT INTO schema_migrations VALUES (2, true)")
        let dirty = try await sandbox.migrate("version")
        #expect(dirty.lines == ["2 (dirty)"])
        #expect(dirty.status == 0)
        _ = try await sandbox.migrate("force", "2")
        let clean = try await sandbox.row()
        #expect(clean == "2|f")
        _ = try await sandbox.migrate("force", "0")
        let zero = try await sandbox.migrate("up")
        #expect(
            zero.lines == [
                "error: no migration found for version 0: read down for version 0 .: file does not exist"
            ])
    }

    @Test(
        "down and drop ask; only y accepts",
        arguments: [
            ("", false), ("n\n", false), ("yes\n", false), ("\n", false), ("Y\n", true), ("  y\n", true),
            ("y z\n", true), ("y", true),
        ])
    func prompts(_ answer: String, _ isAccepted: Bool) async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up", "1")
        let down = try await sandbox.migrate("down", input: answer)
        #expect(down.lines.first == "Are you sure you want to apply all down migrations? [y/N]")
        #expect(
            down.lines.dropFirst().first
                == (isAccepted ? "Applying all down migrations" : "Not applying all down migrations"))
        #expect(down.status == (isAccepted ? 0 : 1))
        let row = try await sandbox.row()
        #expect(row == (isAccepted ? "" : "1|f"))
        let drop = try await sandbox.raw(["drop"], input: answer)
        #expect(drop.lines.first == "Are you sure you want to drop the entire database schema? [y/N]")
        #expect(
            drop.lines.dropFirst()
                == (isAccepted
                    ? [
                        "Dropping the entire database schema",
                        "error: failed to parse scheme from source URL: URL cannot be empty",
                    ]
                    : ["Aborted dropping the entire database schema"]))
        #expect(drop.status == 1)
    }

    @Test("drop -f takes the base tables of the current schema and nothing else, also from a dirty database")
    func drop() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up")
        _ = try await sandbox.sql(
            """
            UPDATE schema_migrations SET dirty = true; CREATE SEQUENCE s; CREATE TYPE e AS ENUM ('a');
            CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA other;
            CREATE TABLE other.t (); CREATE VIEW v AS SELECT * FROM one; CREATE TABLE "we""ird" ();
            """)
        let ending = try await sandbox.migrate("drop", "-f")
        #expect(ending.error.isEmpty)
        #expect(ending.status == 0)
        let left = try await sandbox.sql(
            "SELECT string_agg(relnamespace::regnamespace || '.' || relname, ',' ORDER BY 1) FROM pg_class "
                + "WHERE relnamespace IN ('public'::regnamespace, 'other'::regnamespace)")
        #expect(left == "other.t,public.s" || left == "public.s,other.t")
        let kept = try await sandbox.sql("SELECT f(), 'a'::e")
        #expect(kept == "1|a")
        let again = try await sandbox.migrate("up", "1")
        #expect(again.status == 0)
    }

    @Test("the init container's line works on an empty database and again, whatever blanks the secret has")
    func initContainer() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        for expected in ["3/u three", "no change"] {
            let ending = try await sandbox.raw(
                ["-path", sandbox.path, "-verbose", "-database", " \(sandbox.url())\n", "up"])
            #expect(ending.status == 0)
            #expect(ending.error.contains(expected))
        }
        let bare = try await sandbox.raw(["-path=\(sandbox.path)/", "-database", sandbox.url(), "down", "2"])
        #expect(bare.status == 0)
    }
}
