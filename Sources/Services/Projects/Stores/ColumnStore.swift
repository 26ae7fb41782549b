import Postgres
import ServicesCore

/// Columns in the database.
struct ColumnStore: Sendable {
    let database: Database

    /// The columns of a project: in its column order, then by name.
    func list(of projectID: String, for userID: String) async throws -> [Column] {
        try await database.session { session in
            _ = try await ProjectStore.find(projectID, for: userID, .read, session)
            return try await session.query(
                PostgresQuery(
                    unsafeSQL: """
                        SELECT \(Column.columns) FROM columns c JOIN projects p ON p.project_id = c.project_id
                        WHERE c.project_id = $1
                        ORDER BY array_position(p.column_order, c.column_name::text) NULLS LAST, c.column_name
                        """, parameters: [projectID])
            ).map { try Column(row: $0) }
        }
    }

    func find(_ id: String, of projectID: String, for userID: String) async throws -> Column {
        try await database.session { session in
            _ = try await ProjectStore.find(projectID, for: userID, .read, session)
            return try await Self.find(id, of: projectID, lock: "", session)
        }
    }

    func create(_ new: NewColumn, in projectID: String, by source: EventSource) async throws -> Column {
        try await database.transaction { transaction in
            let (project, access) = try await ProjectStore.lock(projectID, for: source.userID, transaction)
            try access.require(.administer, to: "project")
            let names = try await transaction.query(
                "SELECT column_name FROM columns WHERE project_id = \(projectID)"
            ).map { try $0.decode(0, as: String.self) }
            guard names.count < Limits.columns else {
                throw RequestError.conflict("a project has at most \(Limits.columns) columns")
            }
            let name = Column.freeName(among: names)
            let order = project.columnOrder.filter { $0 != name } + [name]
            let updated = try await ProjectStore.saveOrder(order, of: projectID, transaction)
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        INSERT INTO columns AS c (column_id, project_id, title, column_name, task_ids, updated_at, created_at)
                        VALUES ($1, $2, $3, $4, '{}', $5, $5) RETURNING \(Column.columns)
                        """, parameters: [String.makeUUID(), projectID, new.title, name, updated.updatedAt]))
            try await transaction.publish(updated.updated(withTeam: false), by: source)
            return try Column(row: rows[0])
        }
    }

    func update(
        _ id: String, of projectID: String, _ change: UpdateColumn, by source: EventSource
    ) async throws -> Column {
        try await database.transaction { transaction in
            _ = try await ProjectStore.find(projectID, for: source.userID, .edit, transaction)
            let column = try await Self.find(id, of: projectID, lock: "FOR UPDATE", transaction)
            if let order = change.taskIDs, order.sorted() != column.taskIDs.sorted() {
                var validation = Validation()
                validation.refuse("taskIds", "taskIds must be a permutation of the column's tasks")
                try validation.finish()
            }
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        UPDATE columns c SET title = coalesce($2, c.title), task_ids = coalesce($3::text[], c.task_ids),
                          updated_at = \(PostgresFragment.later(than: "c.updated_at").sql)
                        WHERE c.column_id = $1 RETURNING \(Column.columns)
                        """, parameters: [id, change.title, change.taskIDs]))
            return try Column(row: rows[0])
        }
    }

    func delete(_ id: String, of projectID: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            let (project, access) = try await ProjectStore.lock(projectID, for: source.userID, transaction)
            try access.require(.administer, to: "project")
            let column = try await Self.find(id, of: projectID, lock: "FOR UPDATE", transaction)
            guard column.taskIDs.isEmpty else { throw RequestError.conflict("column holds tasks") }
            try await transaction.query("DELETE FROM columns WHERE column_id = \(id)")
            let order = project.columnOrder.filter { $0 != column.name }
            let updated = try await ProjectStore.saveOrder(order, of: projectID, transaction)
            try await transaction.publish(updated.updated(withTeam: false), by: source)
        }
    }

    /// A column of a project.
    static func find(
        _ id: String, of projectID: String, lock: String, _ transaction: Transaction
    ) async throws -> Column {
        let rows = try await transaction.query(
            PostgresQuery(
                unsafeSQL: """
                    SELECT \(Column.columns) FROM columns c WHERE c.column_id = $1 AND c.project_id = $2 \(lock)
                    """, parameters: [id, projectID]))
        guard let row = rows.first else { throw RequestError.notFound("column") }
        return try Column(row: row)
    }

    /// Writes the tasks of a column that is locked.
    static func saveTasks(_ taskIDs: [String], of id: String, _ transaction: Transaction) async throws {
        try await transaction.query(
            """
            UPDATE columns SET task_ids = \(taskIDs)::text[],
              updated_at = \(sql: .later(than: "updated_at"))
            WHERE column_id = \(id)
            """)
    }
}
