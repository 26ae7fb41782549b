import Postgres
import ServicesCore

/// The members of teams: who they are, how they go, and what they may do.
struct Members: Sendable {
    let database: Database

    /// All members of a team, for one of them; the oldest first.
    ///
    /// - Throws: `RequestError` 404 for anybody else.
    func all(of teamID: String, for userID: String) async throws -> [Member] {
        let members = try await database.read(
            """
            SELECT \(sql: Member.columns)
            FROM memberships JOIN users ON users.user_id = memberships.user_id
            WHERE team_id = \(teamID)
              AND EXISTS (SELECT 1 FROM memberships own WHERE own.team_id = \(teamID) AND own.user_id = \(userID))
            ORDER BY memberships.created_at, membership_id
            """
        ).map(Member.init(row:))
        // A member sees at least himself.
        guard !members.isEmpty else { throw RequestError.notFound("membership") }
        return members
    }

    /// Ends the caller's own membership. The last member takes the team's open invites along, since nobody is left
    /// whom they could lead to.
    ///
    /// - Throws: `RequestError` 404 when he is no member, 409 for the last administrator of a team with other members.
    func leave(_ teamID: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            guard let team = try await transaction.lockTeam(teamID, for: source.userID), let role = team.role
            else {
                throw RequestError.notFound("membership")
            }
            let own = try await transaction.query(
                "SELECT membership_id FROM memberships WHERE team_id = \(teamID) AND user_id = \(source.userID)"
            )
            guard let row = own.first else { throw RequestError.notFound("membership") }
            try await end(
                row.decode(0, as: String.self), role: role, teamID, team.census, by: source, in: transaction)
        }
    }

    /// Ends somebody's membership, by an administrator.
    ///
    /// - Throws: `RequestError` 404 for an unknown membership and for strangers, 403 for members who are no
    ///   administrators, 409 as for `leave`.
    func remove(_ membershipID: String, from teamID: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            let team = try await administered(teamID, by: source, in: transaction)
            let member = try await find(membershipID, in: teamID, transaction)
            try await end(member.id, role: member.role, teamID, team.census, by: source, in: transaction)
        }
    }

    /// Gives a member another role, by an administrator. The role that he has already changes nothing.
    ///
    /// - Throws: `RequestError` 404 and 403 as for `remove`, 409 when the last administrator would be none any more.
    func change(
        _ membershipID: String, of teamID: String, to role: Role, by source: EventSource
    ) async throws -> Member {
        try await database.transaction { transaction in
            let team = try await administered(teamID, by: source, in: transaction)
            let member = try await find(membershipID, in: teamID, transaction)
            guard member.role != role else { return member }
            guard team.census.canChange(member.role, to: role) else {
                throw RequestError.conflict("last administrator cannot be demoted")
            }
            let rows = try await transaction.query(
                """
                UPDATE memberships SET role = \(role),
                  updated_at = \(sql: .later(than: "memberships.updated_at"))
                FROM users WHERE membership_id = \(membershipID) AND users.user_id = memberships.user_id
                RETURNING \(sql: Member.columns)
                """)
            guard let row = rows.first else { throw RequestError.notFound("membership") }
            let changed = try Member(row: row)
            try await transaction.publish(
                MembershipUpdated(membershipID: changed.id, role: changed.role, updatedAt: changed.updatedAt),
                by: source)
            return changed
        }
    }

    private func administered(
        _ teamID: String, by source: EventSource, in transaction: Transaction
    ) async throws -> LockedTeam {
        guard let team = try await transaction.lockTeam(teamID, for: source.userID), let role = team.role
        else {
            throw RequestError.notFound("membership")
        }
        guard role == .administrator else { throw RequestError.wrongRole }
        return team
    }

    private func find(
        _ membershipID: String, in teamID: String, _ transaction: Transaction
    ) async throws -> Member {
        let rows = try await transaction.query(
            """
            SELECT \(sql: Member.columns)
            FROM memberships JOIN users ON users.user_id = memberships.user_id
            WHERE membership_id = \(membershipID) AND team_id = \(teamID)
            """)
        guard let row = rows.first else { throw RequestError.notFound("membership") }
        return try Member(row: row)
    }

    private func end(
        _ membershipID: String, role: Role, _ teamID: String, _ census: TeamCensus, by source: EventSource,
        in transaction: Transaction
    ) async throws {
        guard census.canLose(role) else { throw RequestError.conflict("last administrator cannot leave") }
        try await transaction.query(
            """
            WITH abandoned AS (
              DELETE FROM invites WHERE team_id = \(teamID) AND NOT accepted AND declined_at IS NULL
                AND \(census.members == 1))
            DELETE FROM memberships WHERE membership_id = \(membershipID)
            """)
        try await transaction.publish(MembershipDeleted(membershipID: membershipID), by: source)
    }
}

/// The body of `PATCH /teams/{tid}/members/{mid}`.
struct RoleChange: RequestModel {
    let role: Role

    init(_ fields: inout JSONFields) throws {
        let text = try fields.string("role")
        try fields.finish()
        var validation = Validation()
        let role = text.flatMap(Role.init(rawValue:))
        if text?.isEmpty ?? true {
            validation.refuse("role", "role is a required field")
        } else if role == nil {
            let names = Role.allCases.map(\.rawValue).joined(separator: " ")
            validation.refuse("role", "role must be one of [\(names)]")
        }
        try validation.finish()
        self.role = role ?? .viewer
    }
}
