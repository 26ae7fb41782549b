import Foundation
import PostgresCluster

/// A directory with migrations, an empty database, and the program `migrate` as users have it.
final class Sandbox: Sendable {
    /// The program, built beside the tests.
    static let program: String = {
        let tests = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
        return tests.deletingLastPathComponent().appendingPathComponent("migrate").path
    }()

    let cluster: PostgresCluster
    let database: String
    /// The directory of the migrations.
    let path: String
    private let root: String

    init(
        _ files: [String: String] = [:], database: String? = nil, cluster: PostgresCluster? = nil
    ) async throws {
        self.cluster = if let cluster { cluster } else { try await PostgresCluster.shared() }
        if let database {
            self.database = database
        } else {
            self.database = try await self.cluster.createDatabase()
        }
        root = NSTemporaryDirectory() + "migrate-" + UUID().uuidString
        path = root + "/m"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for (name, text) in files { try write(name, text) }
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    /// Three plain migrations.
    static let three = [
        "1_one.up.sql": "CREATE TABLE one (id int)", "1_one.down.sql": "DROP TABLE one",
        "2_two.up.sql": "CREATE TABLE two (id int)", "2_two.down.sql": "DROP TABLE two",
        "3_three.up.sql": "CREATE TABLE three (id int)", "3_three.down.sql": "DROP TABLE three",
    ]

    func write(_ name: String, _ text: String) throws { try write(name, bytes: Array(text.utf8)) }

    func write(_ name: String, bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }

    func url(_ query: String = "") -> String {
        cluster.url(database, "sslmode=disable" + (query.isEmpty ? "" : "&\(query)"))
    }

    /// Runs the program on this directory and database.
    func migrate(_ arguments: String..., global: [String] = [], query: String = "", input: String? = nil)
        async throws -> ChildProcess.Ending
    {
        try await raw(["-path", path, "-database", url(query)] + global + arguments, input: input)
    }

    /// Runs the program with exactly these arguments, in the directory above the migrations.
    func raw(_ arguments: [String], input: String? = nil, environment: [String: String] = [:]) async throws
        -> ChildProcess.Ending
    {
        try await ChildProcess.run(
            Self.program, arguments, environment: environment, input: input, directory: root)
    }

    /// Runs the program with standard output and error on a terminal; what it shows there is the output. A terminal
    /// shows what is typed, and ends lines with CR LF.
    func onTerminal(_ arguments: String..., environment: [String: String] = [:], input: String? = nil)
        async throws -> ChildProcess.Ending
    {
        let words = ([Self.program, "-path", path, "-database", url()] + arguments).map { "'\($0)'" }
        return try await ChildProcess.run(
            "script", ["-qec", words.joined(separator: " "), "/dev/null"], environment: environment,
            input: input, directory: root)
    }

    /// Starts the program on this directory and database.
    func start(_ arguments: String..., global: [String] = [], query: String = "") throws -> ChildProcess {
        try ChildProcess(
            Self.program, ["-path", path, "-database", url(query)] + global + arguments, directory: root)
    }

    func sql(_ text: String) async throws -> String { try await cluster.psql(database, text) }

    /// The row of the bookkeeping table, `version|dirty`; empty for none.
    func row() async throws -> String { try await sql("SELECT version, dirty FROM schema_migrations") }

    /// The tables of the schema public, in order, without the bookkeeping table.
    func tables() async throws -> String {
        try await sql(
            "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public' "
                + "AND tablename NOT LIKE 'schema_migrations%'")
    }

    /// Waits until the server shows what a query asks for; it asks on one psql session that polls in the server.
    func waitUntil(_ condition: String) async throws {
        _ = try await sql(
            "DO $$ BEGIN FOR i IN 1..60000 LOOP IF (\(condition)) THEN RETURN; END IF; PERFORM pg_sleep(0.01); "
                + "PERFORM pg_stat_clear_snapshot(); COMMIT; END LOOP; RAISE 'not within 10 min'; END $$")
    }
}

extension ChildProcess.Ending {
    var lines: [String] { error.split(separator: "\n").map(String.init) }
    /// The lines with the durations of migrations taken out.
    var lineHeads: [String] { lines.map { $0.replacing(#/ \([0-9.]+(ns|µs|ms|s)\)$/#, with: " (DUR)") } }
}
