import Flags
import Migrate

// The commands beyond golang-migrate; they answer on standard output.
extension Invocation {
    func status(_ arguments: [String]) async throws -> Int32 {
        var flags = CommandFlags("status")
        let json = flags.set.define("json", default: false, "Print JSON")
        let exitCode = flags.set.define(
            "exit-code", default: false, "Exit with 3 when migrations are pending, 4 when dirty, 5 when ahead"
        )
        guard case .flags(let given) = try flags.parse(arguments, output) else { return 0 }
        let migrator = try await open(isReading: true)
        defer { migrator.close() }
        let status = try await migrator.status()
        Output.result(given[json] ? StatusText.json(status) : StatusText.table(status))
        return given[exitCode] ? status.exitCode : 0
    }

    func verify(_ arguments: [String]) async throws -> Int32 {
        guard case .flags = try CommandFlags("verify").parse(arguments, output) else { return 0 }
        let migrator = try await open(isReading: true)
        defer { migrator.close() }
        let findings = try await migrator.verify()
        for finding in findings { Output.result(finding.text) }
        if findings.isEmpty { Output.result("the files are those that were applied") }
        return findings.isEmpty ? 0 : 1
    }

    func repair(_ arguments: [String]) async throws {
        var flags = CommandFlags("repair")
        let retry = flags.set.define(
            "retry", default: false, "Set the version before the unfinished migration")
        let applied = flags.set.define("applied", default: false, "Take the unfinished migration for done")
        guard case .flags(let given) = try flags.parse(arguments, output) else { return }
        guard !(given[retry] && given[applied]) else {
            throw UsageFailure(
                line: "-retry and -applied are two ways out: choose one",
                usage: "Usage of repair:\n\(flags.set.goDefaults)")
        }
        let migrator = try await open()
        defer { migrator.close() }
        let clean = "the database is not dirty: there is nothing to repair"
        if given[retry] || given[applied] {
            guard let version = try await migrator.repair(given[retry] ? .retry : .applied) else {
                return Output.result(clean)
            }
            Output.result("the database is clean at " + (version < 0 ? "no version" : "version \(version)"))
        } else {
            Output.result(try await migrator.diagnose()?.explanation.joined(separator: "\n") ?? clean)
        }
    }

    func baseline(_ arguments: [String]) async throws {
        guard case .flags(let given) = try CommandFlags("baseline").parse(arguments, output) else { return }
        let migrator = try await open()
        defer { migrator.close() }
        try await migrator.baseline(Arguments.version(given.arguments.first))
    }

    func wait(_ arguments: [String]) async throws {
        var flags = CommandFlags("wait")
        let timeout = flags.set.define("timeout", default: Duration.seconds(60), "How long to wait")
        guard case .flags(let given) = try flags.parse(arguments, output) else { return }
        var run = RunOptions()
        run.wait = given[timeout]
        try await Migrator.waitForDatabase(
            DatabaseURL(options.databaseText()), options: migratorOptions(run))
    }
}

/// The two forms of `status`.
enum StatusText {
    static func table(_ status: MigrationStatus) -> String {
        var lines = [header(status)]
        let width = status.rows.map { String($0.version).utf8.count }.max() ?? 0
        let nameWidth = status.rows.map(\.identifier.count).max() ?? 0
        for row in status.rows {
            let version = String(row.version)
            lines.append(
                "  " + String(repeating: " ", count: width - version.utf8.count) + version + "  "
                    + row.identifier
                    + String(repeating: " ", count: nameWidth - row.identifier.count) + "  "
                    + row.marks.map(\.rawValue).joined(separator: ", "))
        }
        return lines.joined(separator: "\n")
    }

    private static func header(_ status: MigrationStatus) -> String {
        let version = status.version.map { "version \($0)" } ?? "no version"
        let state = status.isDirty ? " (dirty)" : status.isAhead ? " (ahead of the files)" : ""
        return "\(version)\(state), \(status.pendingCount) pending"
    }

    /// One object on one line: `version` (number or null), `dirty`, `ahead`, `pending`, `migrations` with `version`,
    /// `name`, `status` (a list).
    static func json(_ status: MigrationStatus) -> String {
        let rows = status.rows.map { row in
            "{\"version\":\(row.version),\"name\":\(quoted(row.identifier)),\"status\":["
                + row.marks.map { "\"\($0.rawValue)\"" }.joined(separator: ",") + "]}"
        }
        return "{\"version\":\(status.version.map(String.init) ?? "null"),\"dirty\":\(status.isDirty),"
            + "\"ahead\":\(status.isAhead),\"pending\":\(status.pendingCount),"
            + "\"migrations\":[\(rows.joined(separator: ","))]}"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
