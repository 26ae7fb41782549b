import Postgres
import ServicesCore

/// Projects in the database.
struct ProjectStore: Sendable {
    let database: Database

    /// The projects that a user owns or whose team he belongs to, the oldest first: rows of `Project.columns`.
    func list(for userID: String) async throws -> PostgresResult {
        var query = PostgresQuery(unsafeSQL: Self.listStatement, parameters: [userID])
        query.resultFormat = .binary
        return try await database.read(query)
    }

    /// Put together once: it is the statement that is sent most.
    private static let listStatement = """
        SELECT \(Project.columns) FROM projects p WHERE p.project_id IN (
          SELECT project_id FROM projects WHERE user_id = $1
          UNION SELECT o.project_id FROM projects o JOIN memberships m ON m.team_id = o.team_id
          WHERE m.user_id = $1)
        ORDER BY p.created_at, p.project_id
        """

    func find(_ id: String, for userID: String) async throws -> Project {
        try await database.session { try await Self.find(id, for: userID, .read, $0) }
    }

    func create(_ new: NewProject, by source: EventSource) async throws -> Project {
        try await database.transaction { transaction in
            if !new.teamID.isEmpty {
                try await Self.requireEditor(of: new.teamID, source.userID, transaction)
            }
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        INSERT INTO projects AS p (project_id, name, prefix, description, user_id, team_id, active, public,
                          column_order, updated_at, created_at, team_updated_at)
                        SELECT $1, $2, $3, '', $4, $5, true, false, $6, now, now, now
                        FROM (SELECT clock_timestamp() AT TIME ZONE 'utc' AS now) AS clock
                        RETURNING \(Project.columns)
                        """,
                    parameters: [
                        String.makeUUID(), new.name, Project.prefix(of: new.name), source.userID, new.teamID,
                        Column.initial.map(\.name),
                    ]))
            let project = try Project(row: rows[0])
            let ids = Column.initial.map { _ in String.makeUUID() }
            try await transaction.query(
                """
                INSERT INTO columns (column_id, project_id, title, column_name, task_ids, updated_at, created_at)
                SELECT id, \(project.id), title, name, '{}', \(project.createdAt), \(project.createdAt)
                FROM unnest(\(ids)::text[], \(Column.initial.map(\.title))::text[], \(project.columnOrder)::text[])
                  AS new (id, title, name)
                """)
            try await transaction.publish(project.created, by: source)
            return project
        }
    }

    func update(_ id: String, _ change: UpdateProject, by source: EventSource) async throws -> Project {
        try await database.transaction { transaction in
            let (project, access) = try await Self.lock(id, for: source.userID, transaction)
            try access.require(.edit, to: "project")
            // What is sent as it is, by a front end that sends the whole project, needs no right of its own.
            let isActiveChanged = change.isActive.map { $0 != project.isActive } ?? false
            let isPublicChanged = change.isPublic.map { $0 != project.isPublic } ?? false
            if isActiveChanged || isPublicChanged { try access.require(.administer, to: "project") }
            let isTeamChanged = change.teamID.map { $0 != project.teamID } ?? false
            if isTeamChanged, let teamID = change.teamID {
                try access.require(.own, to: "project")
                // As at creation: nobody gives a project to a team that he does not work in.
                if !teamID.isEmpty { try await Self.requireEditor(of: teamID, source.userID, transaction) }
            }
            if let order = change.columnOrder { try await Self.check(order, of: id, transaction) }
            let updated = try await Self.save(change, of: id, isTeamChanged: isTeamChanged, transaction)
            try await transaction.publish(updated.updated(withTeam: isTeamChanged), by: source)
            return updated
        }
    }

    func delete(_ id: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            let (_, access) = try await Self.lock(id, for: source.userID, transaction)
            try access.require(.own, to: "project")
            // Rows are locked in the order of `TaskStore`: columns by id, then tasks; comments go with their tasks.
            try await transaction.query(
                """
                DELETE FROM columns WHERE column_id IN (
                  SELECT column_id FROM columns WHERE project_id = \(id) ORDER BY column_id FOR UPDATE)
                """)
            try await transaction.query("DELETE FROM tasks WHERE project_id = \(id)")
            try await transaction.query("DELETE FROM projects WHERE project_id = \(id)")
            try await transaction.bury("project", id)
            try await transaction.publish(ProjectDeleted(projectID: id), by: source)
        }
    }

    // MARK: Steps of transactions

    /// A project that the user may do something with.
    static func find(
        _ id: String, for userID: String, _ right: Access.Right, _ transaction: Transaction
    ) async throws -> Project {
        let (project, access) = try await read(id, for: userID, lock: "", transaction)
        try access.require(right, to: "project")
        return project
    }

    /// A project and the user's rights, locked: changes of one project are made one after the other, and their events
    /// stand in the outbox in that order.
    static func lock(
        _ id: String, for userID: String, _ transaction: Transaction
    ) async throws -> (Project, Access) {
        try await read(id, for: userID, lock: "FOR UPDATE OF p", transaction)
    }

    private static func read(
        _ id: String, for userID: String, lock: String, _ transaction: Transaction
    ) async throws -> (Project, Access) {
        let rows = try await transaction.query(
            PostgresQuery(
                unsafeSQL: """
                    SELECT \(Project.columns), \(Access.columns) FROM projects p \(Access.join)
                    WHERE p.project_id = $2 \(lock)
                    """, parameters: [userID, id]))
        guard let row = rows.first else { throw RequestError.notFound("project") }
        return (try Project(row: row), try Access(row: row, at: Project.columnCount))
    }

    /// Whoever gives a project to a team must be its administrator or editor.
    private static func requireEditor(
        of teamID: String, _ userID: String, _ transaction: Transaction
    ) async throws {
        let rows = try await transaction.query(
            "SELECT role FROM memberships WHERE team_id = \(teamID) AND user_id = \(userID)")
        guard let role = try rows.first?.decode(0, as: Role?.self), role >= .editor else {
            throw RequestError.wrongRole
        }
    }

    /// The new order must name every column of the project once.
    private static func check(_ order: [String], of id: String, _ transaction: Transaction) async throws {
        let names = try await transaction.query("SELECT column_name FROM columns WHERE project_id = \(id)")
            .map { try $0.decode(0, as: String.self) }
        guard order.sorted() == names.sorted() else {
            var validation = Validation()
            validation.refuse(
                "columnOrder", "columnOrder must be a permutation of the project's column names")
            return try validation.finish()
        }
    }

    private static func save(
        _ change: UpdateProject, of id: String, isTeamChanged: Bool, _ transaction: Transaction
    ) async throws -> Project {
        let rows = try await transaction.query(
            PostgresQuery(
                unsafeSQL: """
                    UPDATE projects p SET name = coalesce($2, p.name), description = coalesce($3, p.description),
                      active = coalesce($4::boolean, p.active), public = coalesce($5::boolean, p.public),
                      column_order = coalesce($6::text[], p.column_order),
                      team_id = CASE WHEN $7::boolean THEN $8 ELSE p.team_id END,
                      team_updated_at = CASE WHEN $7::boolean THEN clock.now ELSE p.team_updated_at END, updated_at = clock.now
                    FROM (SELECT greatest(clock_timestamp() AT TIME ZONE 'utc', old.updated_at + interval '1 microsecond',
                        CASE WHEN $7::boolean THEN old.team_updated_at + interval '1 microsecond' END) AS now
                      FROM projects old WHERE old.project_id = $1) AS clock
                    WHERE p.project_id = $1 RETURNING \(Project.columns)
                    """,
                parameters: [
                    id, change.name, change.description, change.isActive, change.isPublic, change.columnOrder,
                    isTeamChanged, change.teamID,
                ]))
        return try Project(row: rows[0])
    }

    /// Writes a new order of columns into a project that is locked.
    static func saveOrder(_ order: [String], of id: String, _ transaction: Transaction) async throws
        -> Project
    {
        let rows = try await transaction.query(
            PostgresQuery(
                unsafeSQL: """
                    UPDATE projects p SET column_order = $2::text[],
                      updated_at = \(PostgresFragment.later(than: "p.updated_at").sql)
                    WHERE p.project_id = $1 RETURNING \(Project.columns)
                    """, parameters: [id, order]))
        return try Project(row: rows[0])
    }
}
