import Foundation
import PostgresCluster
import Testing

@Suite struct CreateTests {
    /// An empty directory.
    private func inDirectory(_ body: (String) async throws -> Void) async throws {
        let directory = NSTemporaryDirectory() + "create-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await body(URL(fileURLWithPath: directory).resolvingSymlinksInPath().path)
    }

    private func create(_ directory: String, _ arguments: String...) async throws -> ChildProcess.Ending {
        try await ChildProcess.run(Sandbox.program, ["create"] + arguments, directory: directory)
    }

    private func names(_ directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    }

    @Test("create -seq makes 000001, then 000002, empty, and prints the absolute paths, up first")
    func sequence() async throws {
        try await inDirectory { directory in
            let first = try await create(
                directory, "-ext", "sql", "-dir", "migrations", "-seq", "create_table")
            #expect(first.status == 0)
            #expect(
                first.lines == [
                    "\(directory)/migrations/000001_create_table.up.sql",
                    "\(directory)/migrations/000001_create_table.down.sql",
                ])
            #expect(first.output.isEmpty)
            let second = try await create(directory, "-ext", ".sql", "-dir", "./migrations/", "-seq", "x y")
            #expect(second.lines.first == "\(directory)/migrations/000002_x y.up.sql")
            let made = try names("\(directory)/migrations")
            #expect(
                made == [
                    "000001_create_table.down.sql", "000001_create_table.up.sql", "000002_x y.down.sql",
                    "000002_x y.up.sql",
                ])
            for name in made {
                let attributes = try FileManager.default.attributesOfItem(
                    atPath: "\(directory)/migrations/\(name)")
                #expect(attributes[.size] as? Int == 0)
            }
            // Another extension counts on its own.
            let other = try await create(directory, "-ext", "txt", "-dir", "migrations", "-seq", "a")
            #expect(other.lines.first?.hasSuffix("000001_a.up.txt") == true)
        }
    }

    @Test(
        "create refuses with golang-migrate's words",
        arguments: [
            (["-ext", "sql"], "error: please specify name"), (["name"], "error: -ext flag must be specified"),
            (["-ext", "sql", "-tz", "Nowhere/X", "a"], "unknown time zone Nowhere/X"),
            (["-ext", "sql", "-tz", "../../etc/passwd", "a"], "unknown time zone ../../etc/passwd"),
            (["-ext", "sql", "-format=", "a"], "error: time format may not be empty"),
            (
                ["-ext", "sql", "-seq", "-format", "unix", "a"],
                "error: the seq and format options are mutually exclusive"
            ),
            (["-ext", "sql", "-seq", "-digits", "0", "a"], "error: digits must be positive"),
            (
                ["-ext", "sql", "-dir", "m", "-seq", "a/c"],
                "error: open m/000001_a/c.up.sql: no such file or directory"
            ),
        ])
    func refusals(_ arguments: [String], _ line: String) async throws {
        try await inDirectory { directory in
            let ending = try await ChildProcess.run(
                Sandbox.program, ["create"] + arguments, directory: directory)
            #expect(ending.status == 1)
            #expect(ending.lines == [line])
            #expect(ending.output.isEmpty)
        }
    }

    @Test(
        "the next number comes from the last name by its bytes",
        arguments: [
            (
                ["999999_a.up.sql"], 1,
                "error: next sequence number 1000000 too large, at most 6 digits are allowed"
            ),
            (["000001_a.up.sql", "readme.sql"], 1, "error: malformed migration filename: m/readme.sql"),
            (["bad_bad.sql"], 1, "error: strconv.ParseUint: parsing \"bad\": invalid syntax"),
            (["5_a.up.sql", "10_b.up.sql"], 0, "/m/000006_new.up.sql"),
        ] as [([String], Int32, String)])
    func numbers(_ existing: [String], _ status: Int32, _ line: String) async throws {
        try await inDirectory { directory in
            try FileManager.default.createDirectory(
                atPath: "\(directory)/m", withIntermediateDirectories: true)
            for name in existing { try Data().write(to: URL(fileURLWithPath: "\(directory)/m/\(name)")) }
            let ending = try await create(directory, "-ext", "sql", "-dir", "m", "-seq", "new")
            #expect(ending.status == status)
            #expect(ending.lines.first?.hasSuffix(line) == true, "\(ending.error)")
        }
    }

    @Test("times by layout, zone and epoch; a version that is there already is refused and nothing is made")
    func times() async throws {
        try await inDirectory { directory in
            let plain = try await create(directory, "-ext", "sql", "a")
            let name = try #require(plain.lines.first?.split(separator: "/").last)
            #expect(name.wholeMatch(of: /[0-9]{14}_a\.up\.sql/) != nil)
            let utc = Int(name.prefix(10))
            let shifted = try await create(directory, "-ext", "sql", "-tz", "Pacific/Kiritimati", "b")
            let other = try #require(shifted.lines.first?.split(separator: "/").last)
            #expect(Int(other.prefix(10)) != utc)
            let before = Int(Date().timeIntervalSince1970)
            let unix = try await create(directory, "-ext", "sql", "-format", "unix", "c")
            let seconds = try #require(
                unix.lines.first?.split(separator: "/").last?.split(separator: "_").first.flatMap { Int($0) })
            #expect((before...before + 60).contains(seconds))
            let nano = try await create(directory, "-ext", "sql", "-format", "unixNano", "c")
            #expect(nano.lines.first?.split(separator: "/").last?.split(separator: "_").first?.count == 19)
            let year = try await create(directory, "-ext", "sql", "-format", "2006", "d")
            let version = try #require(
                year.lines.first?.split(separator: "/").last?.split(separator: "_").first)
            #expect(version.count == 4)
            let count = try names(directory).count
            let again = try await create(directory, "-ext", "sql", "-format", "2006", "e")
            #expect(again.lines == ["error: duplicate migration version: \(version)"])
            #expect(again.status == 1)
            let after = try names(directory).count
            #expect(after == count)
            let literal = try await create(directory, "-ext", "sql", "-format", "abc", "e")
            #expect(literal.lines.first?.hasSuffix("/abc_e.up.sql") == true)
        }
    }

    @Test("a file that is there is never overwritten")
    func exclusive() async throws {
        try await inDirectory { directory in
            try FileManager.default.createDirectory(
                atPath: "\(directory)/m", withIntermediateDirectories: true)
            try Data("keep".utf8).write(to: URL(fileURLWithPath: "\(directory)/m/abc_a.up.txt"))
            let ending = try await create(directory, "-ext", "txt", "-dir", "m", "-format", "abc", "a")
            #expect(ending.status == 1)
            let text = try String(contentsOfFile: "\(directory)/m/abc_a.up.txt", encoding: .utf8)
            #expect(text == "keep")
        }
    }
}
