import Postgres
import ServicesCore

/// A team whose row is locked until the transaction ends, and what its members were then.
///
/// Whatever adds, removes or changes members, or depends on a role, locks the team first; so the last administrator
/// cannot leave twice at the same moment, and two lists of invites do not overtake each other.
struct LockedTeam: Sendable {
    /// The caller's role; `nil` when he is no member.
    let role: Role?
    let census: TeamCensus
}

extension Transaction {
    /// Locks a team; `nil` when there is none.
    ///
    /// - Throws: `PostgresError`.
    func lockTeam(_ id: String, for userID: String) async throws -> LockedTeam? {
        let locked = try await query("SELECT 1 FROM teams WHERE team_id = \(id) FOR NO KEY UPDATE")
        guard !locked.isEmpty else { return nil }
        // A statement of its own: it has to see what was committed while this one waited for the lock.
        let rows = try await query(
            """
            SELECT max(role::text) FILTER (WHERE user_id = \(userID)) AS caller, count(*) AS members,
              count(*) FILTER (WHERE role = 'administrator') AS administrators
            FROM memberships WHERE team_id = \(id)
            """)
        guard let row = rows.first else { return nil }
        return LockedTeam(
            role: try row.decode("caller", as: Role?.self),
            census: TeamCensus(
                members: try row.decode("members", as: Int.self),
                administrators: try row.decode("administrators", as: Int.self)))
    }
}
