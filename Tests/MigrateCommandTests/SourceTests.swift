import Foundation
import PostgresCluster
import Testing

@Suite struct SourceTests {
    @Test("versions are numbers: padding does not matter, 10 comes after 9")
    func ordering() async throws {
        let sandbox = try await Sandbox([
            "000001_x.up.sql": "CREATE TABLE a ()", "2_y.up.sql": "CREATE TABLE b ()",
            "10_z.up.sql": "CREATE TABLE d ()", "9_z.up.sql": "CREATE TABLE c ()",
        ])
        let ending = try await sandbox.migrate("up")
        #expect(ending.lineHeads == ["1/u x (DUR)", "2/u y (DUR)", "9/u z (DUR)", "10/u z (DUR)"])
        #expect(ending.status == 0)
    }

    @Test("two files of one version and direction fail every command")
    func duplicates() async throws {
        let sandbox = try await Sandbox(["1_a.up.sql": "", "01_b.up.sql": ""])
        for command in ["up", "version", "force"] {
            let ending = try await sandbox.migrate(command)
            #expect(ending.status == 1)
            #expect(
                ending.lines == [
                    "error: failed to open source, \"file://\(sandbox.path)\": duplicate migration file: 1_a.up.sql"
                ])
        }
    }

    @Test("names that are no migrations are passed over, strange ones that are count")
    func names() async throws {
        let sandbox = try await Sandbox([
            "V1_x.up.sql": "bad", "1-x.up.sql": "bad", "1_x.UP.sql": "bad", "1_x.sql": "bad",
            "2_.up.sql": "SELECT 1",
            "3_x.y.up.down.sql": "DROP TABLE three", "5_x.up.": "CREATE TABLE five ()",
            "6_x.up.sql.bak": "CREATE TABLE six ()", "99999999999999999999_x.up.sql": "bad",
        ])
        try FileManager.default.createDirectory(
            atPath: "\(sandbox.path)/7_d.up.sql", withIntermediateDirectories: true)
        let ending = try await sandbox.migrate("up")
        #expect(ending.lineHeads == ["2/u  (DUR)", "3/u <empty> (DUR)", "5/u x (DUR)", "6/u x (DUR)"])
        let tables = try await sandbox.tables()
        #expect(tables == "five,six")
        let verbose = try await sandbox.migrate("version", global: ["-verbose"])
        #expect(verbose.error.contains("warning: 1_x.UP.sql is no migration"))
    }

    @Test("a missing down file is an empty step; empty and blank files advance without a statement")
    func emptyBodies() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "", "2_b.up.sql": " \n\t\n", "3_c.up.sql": "-- nothing\n",
            "3_c.down.sql": "SELECT 1",
        ])
        let up = try await sandbox.migrate("up")
        #expect(up.lineHeads == ["1/u a (DUR)", "2/u b (DUR)", "3/u c (DUR)"])
        let down = try await sandbox.migrate("down", "2")
        #expect(down.lineHeads == ["3/d c (DUR)", "2/d <empty> (DUR)"])
        let row = try await sandbox.row()
        #expect(row == "1|f")
    }

    @Test("an empty directory makes up fail and down -all content")
    func emptyDirectory() async throws {
        let sandbox = try await Sandbox()
        let up = try await sandbox.migrate("up")
        #expect(up.lines == ["error: first .: file does not exist"])
        #expect(up.status == 1)
        let limited = try await sandbox.migrate("up", "1")
        #expect(limited.lines == ["error: first .: file does not exist"])
        let down = try await sandbox.migrate("down", "-all")
        #expect(down.lines == ["no change"])
        #expect(down.status == 0)
        let goTo = try await sandbox.migrate("goto", "3")
        #expect(
            goTo.lines == [
                "error: no migration found for version 3: read down for version 3 .: file does not exist"
            ])
    }

    @Test(
        "paths: relative, with dots, a slash at the end, blanks, percent signs; file:// is the working directory"
    )
    func paths() async throws {
        let sandbox = try await Sandbox()
        let root = (sandbox.path as NSString).deletingLastPathComponent
        for directory in ["with blank", "pct%41", "m/sub"] {
            try FileManager.default.createDirectory(
                atPath: "\(root)/\(directory)", withIntermediateDirectories: true)
            try Data().write(to: URL(fileURLWithPath: "\(root)/\(directory)/1_a.up.sql"))
        }
        for arguments in [
            ["-path", "m/sub"], ["-path", "./m/sub/"], ["-path", "m/../m/sub"],
            ["-path", "\(root)/with blank"],
            ["-path", "with blank"], ["-path=\(root)/pct%2541"], ["-source", "file:m/sub"],
            ["-source", "file://./m/sub?x=1#y"],
        ] {
            let ending = try await sandbox.raw(arguments + ["-database", sandbox.url(), "goto", "1"])
            #expect(ending.status == 0, "\(arguments): \(ending.error)")
            _ = try await sandbox.migrate("force", "--", "-1")
        }
        try Data().write(to: URL(fileURLWithPath: "\(root)/7_here.up.sql"))
        let here = try await sandbox.raw(["-source", "file://", "-database", sandbox.url(), "up"])
        #expect(here.lineHeads == ["7/u here (DUR)"])
    }

    @Test("files behind links, as in a ConfigMap, are applied; a link to nothing stops the run there")
    func links() async throws {
        let sandbox = try await Sandbox()
        let manager = FileManager.default
        try manager.createDirectory(atPath: "\(sandbox.path)/..v1", withIntermediateDirectories: true)
        try Data("CREATE TABLE linked ()".utf8).write(
            to: URL(fileURLWithPath: "\(sandbox.path)/..v1/1_a.up.sql"))
        try manager.createSymbolicLink(atPath: "\(sandbox.path)/..data", withDestinationPath: "..v1")
        try manager.createSymbolicLink(
            atPath: "\(sandbox.path)/1_a.up.sql", withDestinationPath: "..data/1_a.up.sql")
        try manager.createSymbolicLink(atPath: "\(sandbox.path)/2_b.up.sql", withDestinationPath: "nowhere")
        let ending = try await sandbox.migrate("up")
        #expect(ending.lineHeads == ["1/u a (DUR)", "error: open 2_b.up.sql: no such file or directory"])
        #expect(ending.status == 1)
        let row = try await sandbox.row()
        #expect(row == "1|f")
        let tables = try await sandbox.tables()
        #expect(tables == "linked")
    }

    @Test("a file that cannot be read stops the run; what was applied stays, clean")
    func unreadable() async throws {
        let sandbox = try await Sandbox(["1_a.up.sql": "CREATE TABLE a ()"])
        // Root reads everything; a directory behind a link can be opened but not read.
        try FileManager.default.createSymbolicLink(
            atPath: "\(sandbox.path)/2_b.up.sql", withDestinationPath: "/tmp")
        let ending = try await sandbox.migrate("up")
        #expect(ending.status == 1)
        #expect(ending.lineHeads == ["1/u a (DUR)", "error: open 2_b.up.sql: is a directory"])
        let row = try await sandbox.row()
        #expect(row == "1|f")
    }

    @Test("an unreadable file says permission denied to a user who is not root")
    func permissions() async throws {
        let sandbox = try await Sandbox(["1_a.up.sql": "", "2_b.up.sql": ""])
        try FileManager.default.setAttributes(
            [.posixPermissions: 0], ofItemAtPath: "\(sandbox.path)/2_b.up.sql")
        let command = [Sandbox.program, "-path", sandbox.path, "-database", sandbox.url(), "up"]
        let program =
            getuid() == 0
            ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + command : command
        let ending = try await ChildProcess.run(program[0], Array(program.dropFirst()))
        #expect(ending.status == 1)
        #expect(ending.lineHeads == ["1/u a (DUR)", "error: open 2_b.up.sql: permission denied"])
    }

    @Test("version 0 and the largest version work; a larger one is an error, never a loop")
    func extremes() async throws {
        let sandbox = try await Sandbox([
            "0_a.up.sql": "CREATE TABLE a ()", "0_a.down.sql": "DROP TABLE a",
            "9223372036854775807_z.up.sql": "",
        ])
        let first = try await sandbox.migrate("up", "1")
        #expect(first.lineHeads == ["0/u a (DUR)"])
        let version = try await sandbox.migrate("version")
        #expect(version.lines == ["0"])
        _ = try await sandbox.migrate("up")
        let last = try await sandbox.row()
        #expect(last == "9223372036854775807|f")
        _ = try await sandbox.migrate("down", "-all")
        let rows = try await sandbox.sql("SELECT count(*) FROM schema_migrations")
        #expect(rows == "0")
        try sandbox.write("9223372036854775808_x.up.sql", "")
        let large = try await sandbox.migrate("up")
        #expect(large.status == 1)
        #expect(
            large.error.contains("9223372036854775808_x.up.sql is too large: at most 9223372036854775807"))
    }
}
