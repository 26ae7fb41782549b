import Postgres

extension Migrator {
    /// The version of the database.
    public struct Version: Sendable, Hashable {
        /// The version; `nil` when no migration was applied.
        public let number: Int64?
        /// A migration to it began and did not end.
        public let isDirty: Bool

        init(_ row: (version: Int64, isDirty: Bool)) {
            number = row.version < 0 ? nil : row.version
            isDirty = row.isDirty
        }
    }

    /// The version of the database, as the bookkeeping table has it.
    ///
    /// - Throws: `MigrationError`.
    public func version() async throws -> Version {
        Version(try await database.readVersion())
    }

    /// Sets the version and clears the mark of an unfinished migration; runs nothing.
    ///
    /// - Parameter version: Any number from −1 (none), in the files or not.
    /// - Throws: `MigrationError`.
    public func force(_ version: Int64) async throws {
        guard version >= -1 else { throw MigrationError(.refused, "argument V must be >= -1") }
        try await locked { try await database.record(version, isDirty: false) }
    }

    /// Drops every table of the current schema, with what depends on them.
    ///
    /// - Throws: `MigrationError`; tables dropped before it stay dropped.
    public func drop() async throws {
        try await locked { try await database.dropTables() }
    }

    /// Takes an existing database for migrated up to a version: like `force`, but only where nothing was applied, and
    /// only to a version that exists.
    ///
    /// - Throws: `MigrationError`.
    public func baseline(_ version: Int64) async throws {
        guard source.index(of: version) != nil else { throw MigrationError.notFound(version) }
        try await locked {
            let (current, isDirty) = try await database.readVersion()
            guard current < 0, !isDirty else {
                throw MigrationError(
                    .refused,
                    "baseline is for a database without a version, and this one is at version \(current)")
            }
            try await database.record(version, isDirty: false)
        }
    }

    /// Compares the files with the history.
    ///
    /// - Throws: `MigrationError`.
    public func verify() async throws -> [VerificationFinding] {
        guard keepsHistory else {
            throw MigrationError(
                .refused, "verify compares with the history: add x-history=true to the database URL")
        }
        let (current, _) = try await database.readVersion()
        return try await history.findings(current: current, source: source)
    }
}
