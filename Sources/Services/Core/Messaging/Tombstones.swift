import Postgres

extension Transaction {
    /// Remembers that something was deleted, so that an event about its making that comes late has no effect.
    ///
    /// - Parameter kind: What it was: `project`, `membership`.
    /// - Throws: `PostgresError`.
    nonisolated(nonsending)
        public func bury(_ kind: String, _ id: String) async throws
    {
        try await query(
            """
            INSERT INTO tombstones (kind, id, deleted_at)
            VALUES (\(kind), \(id), clock_timestamp() AT TIME ZONE 'utc') ON CONFLICT DO NOTHING
            """)
    }

    /// Whether it was deleted.
    ///
    /// - Throws: `PostgresError`.
    nonisolated(nonsending)
        public func isBuried(_ kind: String, _ id: String) async throws -> Bool
    {
        try await !query("SELECT 1 FROM tombstones WHERE kind = \(kind) AND id = \(id)").isEmpty
    }
}
