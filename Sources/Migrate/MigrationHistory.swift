import Postgres

/// The table `<migrations table>_history`, kept with `x-history=true`: a row for each migration that ran.
///
/// The original does not know it, and rows of its runs are missing: a missing row means unknown, never an error.
struct MigrationHistory: Sendable {
    /// The newest row of a version that was carried out.
    struct Record: Sendable {
        let version: Int64
        let previous: Int64
        let direction: String
        let identifier: String
        let checksum: String
    }

    /// A row to write.
    struct Entry {
        let step: MigrationStep
        let checksum: String
        let duration: Duration
        let outcome: String
        let toolVersion: String
    }

    let database: MigrationDatabase

    /// Makes the table; on the first use one row for each version up to the current one, taken for applied.
    func prepare(current: Int64, source: MigrationSource, toolVersion: String) async throws {
        do {
            if try await database.exists(database.url.table.name + "_history") { return }
        } catch let error as PostgresError {
            throw MigrationDatabase.bookkeeping(error, "SELECT FROM pg_class")
        }
        var statements = [
            """
            CREATE TABLE IF NOT EXISTS \(database.historyTable) (
              sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, version bigint NOT NULL,
              previous bigint NOT NULL, direction text NOT NULL, identifier text NOT NULL, sha256 text NOT NULL,
              started_at timestamptz NOT NULL, finished_at timestamptz NOT NULL, outcome text NOT NULL,
              tool_version text NOT NULL)
            """
        ]
        var previous: Int64 = -1
        for entry in source.entries where entry.version <= current {
            let body = try entry.up.map { try source.read($0) } ?? []
            let step = MigrationStep(
                direction: .up, version: entry.version, target: entry.version, origin: previous,
                file: entry.up)
            statements.append(
                insertion(
                    Entry(
                        step: step, checksum: SHA256.text(normalising: body), duration: .zero,
                        outcome: "assumed",
                        toolVersion: toolVersion)))
            previous = entry.version
        }
        try await database.bookkeep(statements.joined(separator: ";\n"))
    }

    /// The statement that writes a row.
    func insertion(_ entry: Entry) -> String {
        let microseconds =
            entry.duration.components.seconds * 1_000_000
            + entry.duration.components.attoseconds / 1_000_000_000_000
        return """
            INSERT INTO \(database.historyTable)
              (version, previous, direction, identifier, sha256, started_at, finished_at, outcome, tool_version)
            VALUES (\(entry.step.version), \(entry.step.origin), '\(entry.step.direction.rawValue)',
              \((entry.step.file?.identifier ?? "").quotedLiteral), '\(entry.checksum)',
              clock_timestamp() - \(microseconds) * interval '1 microsecond', clock_timestamp(),
              '\(entry.outcome)', \(entry.toolVersion.quotedLiteral))
            """
    }

    /// For each version its newest row that was carried out; `nil` when there is no table.
    func records() async throws -> [Int64: Record]? {
        let statement = """
            SELECT DISTINCT ON (version) version, previous, direction, identifier, sha256
            FROM \(database.historyTable) WHERE outcome <> 'failed' ORDER BY version, sequence DESC
            """
        do {
            guard try await database.exists(database.url.table.name + "_history") else { return nil }
            let rows = try await database.connection.query(PostgresQuery(unsafeSQL: statement))
            return try Dictionary(
                uniqueKeysWithValues: rows.map { row in
                    let record = Record(
                        version: try row.decode("version", as: Int64.self),
                        previous: try row.decode("previous", as: Int64.self),
                        direction: try row.decode("direction", as: String.self),
                        identifier: try row.decode("identifier", as: String.self),
                        checksum: try row.decode("sha256", as: String.self))
                    return (record.version, record)
                })
        } catch let error as PostgresError {
            throw MigrationDatabase.bookkeeping(error, statement)
        }
    }

    /// The direction of the migration that failed last; `nil` when unknown.
    func lastFailure() async throws -> (version: Int64, direction: MigrationDirection)? {
        let statement =
            "SELECT version, direction, outcome FROM \(database.historyTable) ORDER BY sequence DESC LIMIT 1"
        do {
            guard try await database.exists(database.url.table.name + "_history"),
                let row = try await database.connection.query(PostgresQuery(unsafeSQL: statement)).first
            else { return nil }
            let (version, direction, outcome) = try row.decode(Int64.self, String.self, String.self)
            guard outcome == "failed", let way = MigrationDirection(rawValue: direction) else { return nil }
            return (version, way)
        } catch let error as PostgresError {
            throw MigrationDatabase.bookkeeping(error, statement)
        }
    }

    /// Compares the files with what was applied.
    ///
    /// A version below the current one without a row is late only when some applied migration is known to have gone
    /// past it; else the original may have applied it.
    func findings(current: Int64, source: MigrationSource) async throws -> [VerificationFinding] {
        guard let records = try await records() else { return [] }
        var findings: [VerificationFinding] = []
        let applied = records.values.filter { $0.direction == "up" && $0.version <= current }
        for record in applied {
            guard let index = source.index(of: record.version) else {
                findings.append(
                    VerificationFinding(
                        version: record.version, kind: .vanished, fileName: record.identifier))
                continue
            }
            let file = source.entries[index].up
            let body = try file.map { try source.read($0) } ?? []
            if SHA256.text(normalising: body) != record.checksum {
                findings.append(
                    VerificationFinding(
                        version: record.version, kind: .changed, fileName: file?.fileName ?? record.identifier
                    ))
            }
        }
        for entry in source.entries where entry.version < current && records[entry.version] == nil {
            let isPassedOver = applied.contains { $0.previous < entry.version && entry.version < $0.version }
            if isPassedOver {
                findings.append(
                    VerificationFinding(
                        version: entry.version, kind: .late, fileName: entry.up?.fileName ?? ""))
            }
        }
        return findings.sorted { $0.version < $1.version }
    }
}

/// A difference between the files and what was applied.
public struct VerificationFinding: Sendable, Hashable {
    /// What differs.
    public enum Kind: String, Sendable {
        /// The file was edited after it was applied.
        case changed
        /// The file is gone.
        case vanished
        /// The file came after a later version had been applied, and `up` will never run it.
        case late
    }

    /// The version.
    public let version: Int64
    /// What differs.
    public let kind: Kind
    /// The file; of a vanished one its identifier.
    public let fileName: String

    /// A sentence.
    public var text: String {
        switch kind {
        case .changed: "version \(version): \(fileName) was changed after it was applied"
        case .vanished: "version \(version): the file of \(fileName), which was applied, is gone"
        case .late:
            "version \(version): \(fileName) came after a later version was applied, and up passes it over"
        }
    }
}
