/// Where a database stands against the files.
public struct MigrationStatus: Sendable {
    /// What is known of one version.
    public enum Mark: String, Sendable {
        /// At or below the current version.
        case applied
        /// The current version.
        case current
        /// A migration to it began and did not end.
        case dirty
        /// Above the current version.
        case pending
        /// There is no file that leads up to it.
        case missingUp = "missing-up"
        /// There is no file that leads back from it.
        case missingDown = "missing-down"
        /// Below the current version, but it was probably never applied.
        case outOfOrder = "out-of-order?"
    }

    /// A version and its marks.
    public struct Row: Sendable {
        /// The version.
        public let version: Int64
        /// The identifier of its file.
        public let identifier: String
        /// What is known of it.
        public let marks: [Mark]
    }

    /// The version of the database; `nil` when no migration was applied.
    public let version: Int64?
    /// A migration began and did not end.
    public let isDirty: Bool
    /// The versions of the files in ascending order.
    public let rows: [Row]

    /// How many versions are pending.
    public var pendingCount: Int { rows.count { $0.marks.contains(.pending) } }
    /// The database is at a version that the files do not have.
    public var isAhead: Bool { version.map { current in !rows.contains { $0.version == current } } ?? false }

    /// For `status -exit-code`: 0 up to date, 3 pending, 4 dirty, 5 ahead of the files.
    public var exitCode: Int32 { isDirty ? 4 : isAhead ? 5 : pendingCount > 0 ? 3 : 0 }
}

extension Migrator {
    /// Where the database stands. Reads only, takes no lock, makes no table.
    ///
    /// - Throws: `MigrationError`.
    public func status() async throws -> MigrationStatus {
        let (current, isDirty) = try await database.readVersion()
        var late: Set<Int64> = []
        if keepsHistory {
            let findings = try await history.findings(current: current, source: source)
            late = Set(findings.filter { $0.kind == .late }.map(\.version))
        }
        let rows = source.entries.map { entry in
            var marks: [MigrationStatus.Mark] = []
            if entry.version == current {
                marks.append(isDirty ? .dirty : .current)
            } else if late.contains(entry.version) {
                marks.append(.outOfOrder)
            } else {
                marks.append(entry.version < current ? .applied : .pending)
            }
            if entry.up == nil { marks.append(.missingUp) }
            if entry.down == nil { marks.append(.missingDown) }
            return MigrationStatus.Row(
                version: entry.version, identifier: (entry.up ?? entry.down)?.identifier ?? "", marks: marks)
        }
        return MigrationStatus(version: current < 0 ? nil : current, isDirty: isDirty, rows: rows)
    }
}
