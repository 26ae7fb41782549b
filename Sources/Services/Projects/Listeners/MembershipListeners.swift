import Postgres
import ServicesCore

/// Keeps the copy of memberships, by which this service knows who may do what (services.md 2.6).
enum MembershipListeners {
    static let all = [
        EventListener(MembershipCreated.self) { event, transaction in
            try await insert(event.data, transaction)
        },
        EventListener(MembershipCreatedForProject.self) { event, transaction in
            try await insert(event.data, transaction)
        },
        EventListener(MembershipUpdated.self) { event, transaction in
            try await update(event.data, transaction)
        },
        EventListener(MembershipDeleted.self) { event, transaction in
            let id = event.data.membershipID
            try await transaction.query("DELETE FROM memberships WHERE membership_id = \(id)")
            try await transaction.bury("membership", id)
            return .applied
        },
    ]

    /// Inserts a membership, or brings an older one up to date. When the user has another membership of the team, the
    /// one created later stays.
    private static func insert(
        _ new: MembershipCreated, _ transaction: Transaction
    ) async throws -> EventOutcome {
        if try await transaction.isBuried("membership", new.membershipID) { return .ignored }
        // Two memberships of one user in one team are two entities: without this each would miss the other.
        try await transaction.query(
            "SELECT pg_advisory_xact_lock(hashtextextended(\(new.userID + new.teamID), 1))")
        try await transaction.query(
            """
            DELETE FROM memberships WHERE user_id = \(new.userID) AND team_id = \(new.teamID)
              AND membership_id <> \(new.membershipID) AND created_at <= \(new.createdAt)
            """)
        let written = try await transaction.query(
            """
            INSERT INTO memberships AS old (membership_id, user_id, team_id, role, created_at, updated_at)
            SELECT id, uid, tid, \(new.role)::role, \(new.createdAt)::timestamp, \(new.updatedAt)::timestamp
            FROM (SELECT \(new.membershipID)::varchar AS id, \(new.userID)::varchar AS uid, \(new.teamID)::varchar AS tid) AS new
            WHERE NOT EXISTS (
              SELECT 1 FROM memberships m WHERE m.user_id = new.uid AND m.team_id = new.tid AND m.membership_id <> new.id)
            ON CONFLICT (membership_id) DO UPDATE SET role = excluded.role, updated_at = excluded.updated_at
            WHERE old.updated_at < excluded.updated_at
            """)
        return written.affectedRows > 0 ? .applied : .ignored
    }

    /// The same, and the team takes over the project, if it was the owner who made the team.
    private static func insert(
        _ new: MembershipCreatedForProject, _ transaction: Transaction
    ) async throws -> EventOutcome {
        let rows = try await transaction.query(
            "SELECT user_id FROM projects WHERE project_id = \(new.projectID) FOR UPDATE")
        if let owner = try rows.first?.decode(0, as: String.self) {
            if owner == new.membership.userID {
                try await ProjectListener.assign(
                    new.membership.teamID, to: new.projectID, at: new.membership.updatedAt, transaction)
            }
        } else if try await !transaction.isBuried("project", new.projectID) {
            return .waiting("the project \(new.projectID) is not there")
        }
        _ = try await insert(new.membership, transaction)
        return .applied
    }

    private static func update(
        _ change: MembershipUpdated, _ transaction: Transaction
    ) async throws -> EventOutcome {
        let rows = try await transaction.query(
            "SELECT updated_at FROM memberships WHERE membership_id = \(change.membershipID) FOR UPDATE")
        guard let updatedAt = try rows.first?.decode(0, as: Timestamp.self) else {
            if try await transaction.isBuried("membership", change.membershipID) { return .ignored }
            return .waiting("the membership \(change.membershipID) is not there")
        }
        guard updatedAt < change.updatedAt else { return .ignored }
        try await transaction.query(
            """
            UPDATE memberships SET role = \(change.role), updated_at = \(change.updatedAt)
            WHERE membership_id = \(change.membershipID)
            """)
        return .applied
    }
}
