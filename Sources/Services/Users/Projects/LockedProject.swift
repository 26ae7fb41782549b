import Postgres
import ServicesCore

/// The copy of a project whose row is locked until the transaction ends.
struct LockedProject: Sendable {
    let ownerID: String
    /// The time of the next change of its team: now, and later than the change before.
    let nextTeamChange: Timestamp
}

extension Transaction {
    /// Locks the copy of a project; `nil` when there is none.
    ///
    /// - Throws: `PostgresError`.
    func lockProject(_ id: String) async throws -> LockedProject? {
        try await query(
            """
            SELECT user_id, \(sql: .later(than: "team_updated_at"))
            FROM projects WHERE project_id = \(id) FOR UPDATE
            """
        ).first.map { row in
            let (ownerID, change) = try row.decode(String.self, Timestamp.self)
            return LockedProject(ownerID: ownerID, nextTeamChange: change)
        }
    }
}
