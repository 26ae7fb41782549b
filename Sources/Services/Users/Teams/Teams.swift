import Postgres
import ServicesCore

/// Teams, and the projects that they are assigned to.
struct Teams: Sendable {
    let database: Database

    /// Makes a team for a project of the caller's, with the caller as administrator. A team that the project had before
    /// stays a team, without the project.
    ///
    /// - Throws: `RequestError` 404 without a copy of the project, 403 when it is not the caller's.
    func create(_ new: NewTeam, by source: EventSource) async throws -> Team {
        let (teamID, membershipID) = (String.makeUUID(), String.makeUUID())
        return try await database.transaction { transaction in
            guard let project = try await transaction.lockProject(new.projectID) else {
                throw RequestError.notFound("project")
            }
            guard project.ownerID == source.userID else { throw RequestError.wrongRole }
            let rows = try await transaction.query(
                """
                WITH creator AS (SELECT user_id FROM users WHERE user_id = \(source.userID)),
                team AS (
                  INSERT INTO teams (team_id, user_id, name, created_at, updated_at)
                  SELECT \(teamID), user_id, \(new.name), \(project.nextTeamChange), \(project.nextTeamChange)
                  FROM creator RETURNING \(sql: Team.columns)),
                membership AS (
                  INSERT INTO memberships (membership_id, user_id, team_id, role, created_at, updated_at)
                  SELECT \(membershipID), user_id, team_id, 'administrator', created_at, created_at FROM team),
                copy AS (
                  UPDATE projects SET team_id = team.team_id, team_updated_at = team.created_at FROM team
                  WHERE project_id = \(new.projectID))
                SELECT team_id, name, user_id, updated_at, created_at FROM team
                """)
            guard let row = rows.first else { throw RequestError.notFound("user") }
            let team = try Team(row: row)
            try await transaction.publish(
                MembershipCreatedForProject(
                    membership: MembershipCreated(
                        membershipID: membershipID, teamID: team.id, userID: source.userID,
                        role: .administrator,
                        updatedAt: team.createdAt, createdAt: team.createdAt),
                    projectID: new.projectID), by: source)
            return team
        }
    }

    /// Gives a project of the caller's to a team that he administers.
    ///
    /// - Throws: `RequestError` 404 for an unknown team or project, 403 without the right to both.
    func assign(_ teamID: String, to projectID: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            guard let team = try await transaction.lockTeam(teamID, for: source.userID) else {
                throw RequestError.notFound("team")
            }
            guard let project = try await transaction.lockProject(projectID) else {
                throw RequestError.notFound("project")
            }
            guard team.role == .administrator, project.ownerID == source.userID else {
                throw RequestError.wrongRole
            }
            try await transaction.query(
                """
                UPDATE projects SET team_id = \(teamID), team_updated_at = \(project.nextTeamChange)
                WHERE project_id = \(projectID)
                """)
            var change = ProjectUpdated(projectID: projectID, updatedAt: project.nextTeamChange)
            change.teamID = teamID
            try await transaction.publish(change, by: source)
        }
    }

    /// The teams that somebody is a member of, the oldest first.
    ///
    /// - Throws: `PostgresError`.
    func all(of userID: String) async throws -> [Team] {
        try await database.read(
            """
            SELECT \(sql: Team.columns) FROM teams JOIN memberships USING (team_id) WHERE memberships.user_id = \(userID)
            ORDER BY teams.created_at, teams.team_id
            """
        ).map(Team.init(row:))
    }

    /// A team, for a member or for somebody with an open invite.
    ///
    /// - Throws: `RequestError` 404 for everybody else, 403 when the invite is for an address that is not verified.
    func find(_ id: String, for userID: String) async throws -> Team {
        let rows = try await database.read(
            """
            SELECT \(sql: Team.columns), membership_id IS NOT NULL OR users.email_verified AS is_open
            FROM teams JOIN users ON users.user_id = \(userID)
              LEFT JOIN memberships ON memberships.team_id = teams.team_id AND memberships.user_id = users.user_id
            WHERE teams.team_id = \(id) AND (membership_id IS NOT NULL OR EXISTS (
              SELECT 1 FROM invites WHERE invites.team_id = teams.team_id AND invites.user_id = users.user_id
                AND NOT accepted AND declined_at IS NULL AND expiration > \(sql: .now)))
            """)
        guard let row = rows.first else { throw RequestError.notFound("team") }
        guard try row.decode("is_open", as: Bool.self) else { throw Accounts.addressIsNotVerified }
        return try Team(row: row)
    }
}

/// The body of `POST /teams`.
struct NewTeam: RequestModel {
    let name: String
    let projectID: String

    init(_ fields: inout JSONFields) throws {
        let (name, projectID) = (try fields.string("name"), try fields.string("projectId"))
        try fields.finish()
        var validation = Validation()
        self.name = validation.text("name", name, 1...32)
        if projectID?.isEmpty ?? true { validation.refuse("projectId", "projectId is a required field") }
        try validation.finish()
        // As for ids in paths; the original's tests expect this text and no field error.
        guard let id = projectID?.canonicalUUID else { throw RequestError.invalidID }
        self.projectID = id
    }
}
