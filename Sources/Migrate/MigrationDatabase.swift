import Postgres

/// The database that is migrated: one session for the lock, the bookkeeping and the migrations themselves
/// (`specs/migrate.md` 3).
final class MigrationDatabase: Sendable {
    let connection: PostgresConnection
    let url: DatabaseURL
    /// The resolved schema of the bookkeeping table.
    let schema: String
    let lockID: Int64
    /// What the first statement did besides; `nil` when it was not asked to, or guessed the schema wrong.
    private let opening: Opening?
    private let report: @Sendable (MigrationEvent) -> Void

    /// What a session is opened for.
    enum Purpose {
        /// For reading only: nothing is touched.
        case looking
        /// `prepare` follows, whose first steps are taken at once.
        case preparing
        /// `prepareAndReadVersion` follows, all of whose steps are taken at once.
        case readingVersion
    }

    /// The first steps of a run, taken in one round trip.
    private enum Opening {
        case prepared(isLocked: Bool, isTableThere: Bool)
        /// The version was read, and nobody was migrating.
        case versionRead(Int64)
    }

    private init(
        _ connection: PostgresConnection, url: DatabaseURL, schema: String, lockID: Int64, opening: Opening?,
        report: @escaping @Sendable (MigrationEvent) -> Void
    ) {
        self.connection = connection
        self.url = url
        self.schema = schema
        self.lockID = lockID
        self.opening = opening
        self.report = report
    }

    /// The bookkeeping table as SQL names it.
    var table: String { "\(schema.quotedIdentifier).\(url.table.name.quotedIdentifier)" }
    /// The history beside it.
    var historyTable: String {
        "\(schema.quotedIdentifier).\((url.table.name + "_history").quotedIdentifier)"
    }

    // MARK: Opening

    /// Connects and works out the names; touches nothing.
    ///
    /// - Throws: `MigrationError` with the original's words and its prefix `failed to open database: `.
    static func connect(
        _ url: DatabaseURL, for purpose: Purpose, report: @escaping @Sendable (MigrationEvent) -> Void
    ) async throws -> MigrationDatabase {
        var configuration = url.configuration
        configuration.onNotice = { report(.notice(severity: $0.severity, message: $0.message)) }
        let connection: PostgresConnection
        do {
            connection = try await PostgresConnection.open(configuration)
        } catch let error as PostgresError {
            throw MigrationError(
                .connection, "failed to open database: \(error.connectingText)", cause: error)
        }
        do {
            let (current, name, opening) = try await names(url, connection, purpose)
            guard let schema = url.table.schema ?? current, !schema.isEmpty else {
                throw MigrationError(.connection, "failed to open database: no schema")
            }
            let lockName = url.lockName.isEmpty ? name : url.lockName
            return MigrationDatabase(
                connection, url: url, schema: schema,
                lockID: LockID.number(schema, url.table.name, lockName), opening: opening, report: report)
        } catch let error as PostgresError {
            throw MigrationError(.connection, "failed to open database: \(error.driverText)", cause: error)
        }
    }

    /// The current schema, the name of the database, and what came of the first steps.
    ///
    /// Each statement costs a new session a multiple of the round trip, because the server has nothing cached for it yet.
    /// So the lock and the look for the table are part of the first one wherever the schema can be guessed. The server works
    /// a row out from left to right in practice, without a promise: a table that was made meanwhile may go unseen, and
    /// `CREATE TABLE IF NOT EXISTS` then finds it.
    private static func names(
        _ url: DatabaseURL, _ connection: PostgresConnection, _ purpose: Purpose
    ) async throws -> (schema: String?, database: String, opening: Opening?) {
        let namesOnly = "SELECT CURRENT_SCHEMA(), CURRENT_DATABASE()"
        let schema = url.table.schema ?? url.likelySchema
        if purpose != .looking, !url.lockName.isEmpty {
            let id = LockID.number(schema, url.table.name, url.lockName)
            do {
                if purpose == .readingVersion {
                    if let version = try await versionAtOnce(url, connection, in: schema, lockID: id) {
                        return (schema, url.lockName, .versionRead(version))
                    }
                } else {
                    let isGuessRight =
                        url.table.schema == nil ? "CURRENT_SCHEMA() = \(schema.quotedLiteral)" : "true"
                    let row = try await connection.query(
                        PostgresQuery(
                            unsafeSQL: """
                                \(namesOnly),
                                  CASE WHEN \(isGuessRight) THEN pg_catalog.pg_try_advisory_lock(\(LockID.literal(id))) END,
                                  CASE WHEN \(isGuessRight) THEN \(lookUp(url.table.name, in: schema)) END
                                """))[0]
                    let (current, name, isLocked, isThere) = try row.decode(
                        String?.self, String.self, Bool?.self, Bool?.self)
                    let opening = isLocked.flatMap { isLocked in
                        isThere.map { Opening.prepared(isLocked: isLocked, isTableThere: $0) }
                    }
                    return (current, name, opening)
                }
            } catch let error as PostgresError where error.code == .server {
                // Step by step, for the words that belong to each; whether the lock was taken is unknown.
                try await connection.query("SELECT pg_advisory_unlock_all()")
            }
        }
        let (current, name) = try await connection.query(PostgresQuery(unsafeSQL: namesOnly))[0].decode(
            String?.self, String.self)
        return (current, name, nil)
    }

    /// The version, where the schema is guessed right, nobody else has the lock, and no migration is unfinished.
    ///
    /// One message, whose end gives the lock back. The view of the data is older than the lock by as long as that takes to
    /// get: what it shows was true while this ran. A migration that seems unfinished may be another run's, which has ended
    /// since; whoever finds one asks again under the lock.
    ///
    /// The table is named with its schema, so that of the search path nothing counts but what it leads to first. Where another
    /// schema is current and the one that was guessed has no such table, that is an error in the server's log, and the
    /// version is asked for step by step. Everything here is what costs a new session least: a function has to be looked up,
    /// `CURRENT_SCHEMA` has not, and a `LIMIT` takes as long to plan as a function to look up.
    private static func versionAtOnce(
        _ url: DatabaseURL, _ connection: PostgresConnection, in schema: String, lockID: Int64
    ) async throws -> Int64? {
        let table = "\(schema.quotedIdentifier).\(url.table.name.quotedIdentifier)"
        let lock = LockID.literal(lockID)
        let results = try await connection.queryEach(
            unsafeSQL: """
                SELECT version, dirty, CURRENT_SCHEMA, pg_catalog.pg_try_advisory_xact_lock(\(lock)) FROM \(table)
                """)
        // A table of another shape is told of step by step; so is what a proxy in between leaves out.
        guard let row = results.first?.first,
            case (let version, false, let current, true)? = try? row.decode(
                Int64.self, Bool.self, String?.self, Bool.self),
            url.table.schema != nil || current == schema
        else { return nil }
        return version
    }

    /// Under the lock: makes the bookkeeping table if it is missing.
    ///
    /// - Parameter lockTimeout: How long to wait for the lock; `nil` waits as long as it takes.
    func prepare(lockTimeout: Duration?) async throws {
        try await prepareLocked(lockTimeout: lockTimeout)
        await unlock()
    }

    /// As `prepare`, and reads the version on the way.
    func prepareAndReadVersion(lockTimeout: Duration?) async throws -> (version: Int64, isDirty: Bool) {
        if case .versionRead(let version) = opening { return (version, false) }
        try await prepareLocked(lockTimeout: lockTimeout)
        do {
            let statements = "SELECT pg_advisory_unlock(\(lockID)); \(versionQuery)"
            return try await Self.version(in: connection.query(PostgresQuery(unsafeSQL: statements)))
        } catch is PostgresError {
            // The lock is released whatever became of the rest; once more, for the words that belong to it.
            return try await readVersion()
        }
    }

    private func prepareLocked(lockTimeout: Duration?) async throws {
        do {
            var isThere = false
            if case .prepared(isLocked: true, let isTableThere) = opening {
                isThere = isTableThere
            } else {
                try await lock(timeout: lockTimeout)
                do {
                    isThere = try await exists(url.table.name)
                } catch let error as PostgresError {
                    throw Self.bookkeeping(error, "SELECT COUNT(1) FROM information_schema.tables")
                }
            }
            if !isThere {
                try await bookkeep(
                    "CREATE TABLE IF NOT EXISTS \(table) (version bigint not null primary key, dirty boolean not null)"
                )
            }
        } catch var error as MigrationError {
            error.messageBytes = Array("failed to open database: ".utf8) + error.messageBytes
            throw error
        }
    }

    /// Whether the schema has a table of this name.
    func exists(_ name: String) async throws -> Bool {
        do {
            let statement = "SELECT \(Self.lookUp(name, in: schema))"
            return try await connection.query(PostgresQuery(unsafeSQL: statement))[0].decode(0, as: Bool.self)
        } catch let error as PostgresError where error.sqlState == "42501" {
            // A schema that this role may not look into has nothing for it; what is to be made there will say so.
            return false
        }
    }

    /// SQL that is true when the schema has a relation of this name. `CREATE TABLE IF NOT EXISTS` asks no more either, and
    /// a join of catalogs takes a new session longer than all other statements of a short run together.
    private static func lookUp(_ name: String, in schema: String) -> String {
        let quoted = "\(schema.quotedIdentifier).\(name.quotedIdentifier)"
        return "pg_catalog.to_regclass(\(quoted.quotedLiteral)) IS NOT NULL"
    }

    // MARK: The lock

    /// Takes the advisory lock by asking again and again: a waiter inside the server would hold a snapshot, and
    /// `CREATE INDEX CONCURRENTLY` of the holder would wait for it, for ever.
    func lock(timeout: Duration?) async throws {
        let clock = ContinuousClock()
        let deadline = timeout.map { clock.now.advanced(by: $0) }
        var pause = Duration.milliseconds(100)
        var isFirst = true
        while true {
            do {
                let isTaken = try await connection.query("SELECT pg_try_advisory_lock(\(lockID))")[0]
                    .decode(0, as: Bool.self)
                if isTaken { return }
            } catch let error as PostgresError {
                throw MigrationError(
                    .bookkeeping,
                    "try lock failed in line 0: SELECT pg_advisory_lock($1) (details: \(error.driverText))")
            }
            if isFirst { report(.waitingForLock(id: lockID)) }
            isFirst = false
            if let deadline, clock.now >= deadline {
                throw MigrationError(
                    .lockTimeout, "timeout: can't acquire database lock",
                    hints: [
                        "Another run holds the lock \(lockID); pg_locks shows it as classid 0, objid \(lockID)."
                    ])
            }
            try await Task.sleep(for: deadline.map { min(pause, clock.now.duration(to: $0)) } ?? pause)
            pause = min(pause * 2, .seconds(1))
        }
    }

    /// Releases the lock; `false` when the session is gone, and the lock with it.
    @discardableResult
    func unlock() async -> Bool {
        do {
            try await connection.query("SELECT pg_advisory_unlock(\(lockID))")
            return true
        } catch {
            return false
        }
    }

    // MARK: The version

    /// The version, −1 for none, and whether a migration to it is unfinished.
    func readVersion() async throws -> (version: Int64, isDirty: Bool) {
        do {
            return try await Self.version(in: connection.query(PostgresQuery(unsafeSQL: versionQuery)))
        } catch let error as PostgresError {
            // Undefined table: it was dropped, or nobody has migrated here yet.
            if error.sqlState == "42P01" { return (-1, false) }
            throw Self.bookkeeping(error, versionQuery)
        }
    }

    private var versionQuery: String { Self.versionQuery(table) }

    private static func versionQuery(_ table: String) -> String {
        "SELECT version, dirty FROM \(table) LIMIT 1"
    }

    private static func version(in rows: PostgresResult) throws -> (version: Int64, isDirty: Bool) {
        try rows.first.map { try $0.decode(Int64.self, Bool.self) } ?? (-1, false)
    }

    /// Writes the version in one transaction, together with `extra` statements.
    ///
    /// - Parameter isInTransaction: A transaction is open, and the record is part of it; it is committed.
    func record(
        _ version: Int64, isDirty: Bool, extra: [String] = [], isInTransaction: Bool = false
    ) async throws {
        var statements = isInTransaction ? [] : ["BEGIN"]
        statements.append("TRUNCATE \(table)")
        var shown = statements
        if version >= 0 || isDirty {
            statements.append("INSERT INTO \(table) (version, dirty) VALUES (\(version), \(isDirty))")
            shown.append("INSERT INTO \(table) (version, dirty) VALUES ($1, $2)")
        }
        statements += extra
        shown += extra
        statements.append("COMMIT")
        shown.append("COMMIT")
        do {
            try await connection.execute(script: statements.joined(separator: ";\n"))
        } catch let error as PostgresError {
            await rollBack()
            throw Self.bookkeeping(error, shown[min(error.completedStatements, shown.count - 1)])
        }
    }

    /// Runs one statement of our own.
    func bookkeep(_ statement: String) async throws {
        do {
            try await connection.execute(script: statement)
        } catch let error as PostgresError {
            await rollBack()
            throw Self.bookkeeping(error, statement)
        }
    }

    func rollBack() async {
        guard connection.transactionStatus == .failed || connection.transactionStatus == .inTransaction else {
            return
        }
        do {
            try await connection.query("ROLLBACK")
        } catch {
            // The end of the session rolls back as well.
            connection.close()
        }
    }

    static func bookkeeping(_ error: PostgresError, _ statement: String) -> MigrationError {
        MigrationError(.bookkeeping, "\(error.driverText) in line 0: \(statement)", cause: error)
    }

    // MARK: Dropping

    /// Drops every table of the current schema (`specs/migrate.md` 3.9).
    func dropTables() async throws {
        let listing =
            "SELECT table_name FROM information_schema.tables WHERE table_schema=(SELECT current_schema()) "
            + "AND table_type='BASE TABLE'"
        let names: [String]
        do {
            names = try await connection.query(PostgresQuery(unsafeSQL: listing)).map {
                try $0.decode(0, as: String.self)
            }
        } catch let error as PostgresError {
            throw Self.bookkeeping(error, listing)
        }
        for name in names { try await bookkeep("DROP TABLE IF EXISTS \(name.quotedIdentifier) CASCADE") }
    }
}

extension String {
    var quotedIdentifier: String { PostgresQuery.quotedIdentifier(self) }

    /// A string literal of SQL, whatever `standard_conforming_strings` a migration may have left behind.
    var quotedLiteral: String {
        var quoted = ""
        var hasBackslash = false
        for scalar in unicodeScalars {
            if scalar == "'" || scalar == "\\" { quoted.unicodeScalars.append(scalar) }
            if scalar == "\\" { hasBackslash = true }
            quoted.unicodeScalars.append(scalar)
        }
        return (hasBackslash ? "E'" : "'") + quoted + "'"
    }
}
