import Postgres
import ServicesCore

/// The copies of all projects, as the events of the projects service bring them.
///
/// Events of one project may come in any order; the inbox applies each once, and one at a time.
enum ProjectCopies {
    /// The listeners of the users service (services.md 3.6).
    static let listeners = [
        EventListener(ProjectCreated.self) { try await create($0.data, in: $1) },
        EventListener(ProjectUpdated.self) { try await update($0.data, in: $1) },
        EventListener(ProjectDeleted.self) { try await delete($0.data, in: $1) },
    ]

    /// What deleted projects are remembered as.
    static let kind = "project"

    /// Makes the copy, unless the project was deleted since; a copy that is there already is overwritten only by
    /// something newer.
    ///
    /// - Throws: `PostgresError`.
    static func create(_ project: ProjectCreated, in transaction: Transaction) async throws -> EventOutcome {
        if try await transaction.isBuried(kind, project.projectID) { return .ignored }
        let written = try await transaction.query(
            """
            INSERT INTO projects (project_id, name, prefix, description, user_id, team_id, active, public, column_order,
              updated_at, created_at, team_updated_at)
            VALUES (\(project.projectID), \(project.name), \(project.prefix), \(project.description), \(project.userID),
              \(project.teamID), \(project.active), \(project.isPublic), \(project.columnOrder), \(project.updatedAt),
              \(project.createdAt), \(project.createdAt))
            ON CONFLICT (project_id) DO UPDATE SET name = EXCLUDED.name, prefix = EXCLUDED.prefix,
              description = EXCLUDED.description, user_id = EXCLUDED.user_id, active = EXCLUDED.active,
              public = EXCLUDED.public, column_order = EXCLUDED.column_order, updated_at = EXCLUDED.updated_at,
              created_at = EXCLUDED.created_at,
              team_id = CASE WHEN EXCLUDED.team_updated_at >= projects.team_updated_at
                THEN EXCLUDED.team_id ELSE projects.team_id END,
              team_updated_at = GREATEST(EXCLUDED.team_updated_at, projects.team_updated_at)
            WHERE projects.updated_at < EXCLUDED.updated_at
            """)
        return written.affectedRows > 0 ? .applied : .ignored
    }

    /// Changes the copy: the team if this change of the team is the newest, everything else if this change of the
    /// project is.
    ///
    /// - Throws: `PostgresError`.
    static func update(_ change: ProjectUpdated, in transaction: Transaction) async throws -> EventOutcome {
        let hasFields =
            change.name != nil || change.description != nil || change.active != nil || change.isPublic != nil
            || change.columnOrder != nil
        let updated = try await transaction.query(
            """
            UPDATE projects SET
              team_id = CASE WHEN change.at >= team_updated_at THEN COALESCE(change.team_id, projects.team_id)
                ELSE projects.team_id END,
              team_updated_at = CASE WHEN change.team_id IS NULL THEN team_updated_at
                ELSE GREATEST(team_updated_at, change.at) END,
              name = CASE WHEN change.at >= updated_at THEN COALESCE(\(change.name), name) ELSE name END,
              description = CASE WHEN change.at >= updated_at THEN COALESCE(\(change.description), description)
                ELSE description END,
              active = CASE WHEN change.at >= updated_at THEN COALESCE(\(change.active), active) ELSE active END,
              public = CASE WHEN change.at >= updated_at THEN COALESCE(\(change.isPublic), public) ELSE public END,
              column_order = CASE WHEN change.at >= updated_at
                THEN COALESCE(\(change.columnOrder)::text[], column_order) ELSE column_order END,
              updated_at = CASE WHEN \(hasFields) THEN GREATEST(updated_at, change.at) ELSE updated_at END
            FROM (SELECT \(change.updatedAt)::timestamp AS at, \(change.teamID)::text AS team_id) change
            WHERE project_id = \(change.projectID)
            """)
        if updated.affectedRows > 0 { return .applied }
        if try await transaction.isBuried(kind, change.projectID) { return .ignored }
        return .waiting("the project is not known here yet")
    }

    /// Removes the copy and remembers that the project is gone.
    ///
    /// - Throws: `PostgresError`.
    static func delete(_ deletion: ProjectDeleted, in transaction: Transaction) async throws -> EventOutcome {
        try await transaction.query("DELETE FROM projects WHERE project_id = \(deletion.projectID)")
        try await transaction.bury(kind, deletion.projectID)
        return .applied
    }
}
