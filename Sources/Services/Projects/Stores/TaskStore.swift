import Postgres
import ServicesCore

/// Tasks in the database.
///
/// Rows are locked in one order everywhere: project, then columns by id, then tasks, then comments. So two requests can
/// wait for each other, but not in a circle.
struct TaskStore: Sendable {
    let database: Database

    /// The tasks of a project in the order of their numbers.
    func list(of projectID: String, for userID: String) async throws -> [BoardTask] {
        try await database.session { session in
            _ = try await ProjectStore.find(projectID, for: userID, .read, session)
            return try await session.query(
                PostgresQuery(
                    unsafeSQL:
                        "SELECT \(BoardTask.columns) FROM tasks t WHERE t.project_id = $1 ORDER BY t.seq",
                    parameters: [projectID])
            ).map { try BoardTask(row: $0) }
        }
    }

    func find(_ id: String, for userID: String) async throws -> BoardTask {
        try await database.session { try await Self.find(id, for: userID, .read, $0).task }
    }

    func create(
        _ new: NewTask, in columnID: String, of projectID: String, by source: EventSource
    ) async throws -> BoardTask {
        try await database.transaction { transaction in
            let (project, access) = try await ProjectStore.lock(projectID, for: source.userID, transaction)
            try access.require(.edit, to: "project")
            let column = try await ColumnStore.find(columnID, of: projectID, lock: "FOR UPDATE", transaction)
            // The number is taken in this transaction: none is given twice, none is given again.
            let numbers = try await transaction.query(
                """
                UPDATE projects SET next_task_seq = next_task_seq + 1 WHERE project_id = \(projectID)
                RETURNING next_task_seq - 1
                """)
            let number = try numbers[0].decode(0, as: Int.self)
            let key = project.prefix + String(number)
            // VARCHAR(10): a million tasks with a prefix of four characters.
            guard key.unicodeScalars.count <= 10 else {
                throw RequestError.conflict("the project has used up its task numbers")
            }
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        INSERT INTO tasks AS t (task_id, project_id, key, seq, title, points, content, assigned_to, attachments,
                          comments, updated_at, created_at)
                        SELECT $1, $2, $3, $4::int, $5, 0, '', '', '{}', '{}', now, now
                        FROM (SELECT clock_timestamp() AT TIME ZONE 'utc' AS now) AS clock
                        RETURNING \(BoardTask.columns)
                        """, parameters: [String.makeUUID(), projectID, key, number, new.title]))
            let task = try BoardTask(row: rows[0])
            try await ColumnStore.saveTasks(column.taskIDs + [task.id], of: columnID, transaction)
            return task
        }
    }

    func update(_ id: String, _ change: UpdateTask, by source: EventSource) async throws -> BoardTask {
        try await database.transaction { transaction in
            let (task, project) = try await Self.find(
                id, for: source.userID, .edit, lock: "FOR UPDATE OF t", transaction)
            // Who was assigned before stays, also when he has left the team since.
            if let assignee = change.assignedTo, !assignee.isEmpty, assignee != project.userID,
                assignee != task.assignedTo
            {
                try await Self.requireMember(assignee, of: project.teamID, transaction)
            }
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        UPDATE tasks t SET title = coalesce($2, t.title), points = coalesce($3::int, t.points),
                          content = coalesce($4, t.content), assigned_to = coalesce($5, t.assigned_to),
                          attachments = coalesce($6::text[], t.attachments), comments = coalesce($7::text[], t.comments),
                          updated_at = \(PostgresFragment.later(than: "t.updated_at").sql)
                        WHERE t.task_id = $1 RETURNING \(BoardTask.columns)
                        """,
                    parameters: [
                        task.id, change.title, change.points, change.content, change.assignedTo,
                        change.attachments, change.comments,
                    ]))
            return try BoardTask(row: rows[0])
        }
    }

    func move(_ id: String, _ move: MoveTask, by source: EventSource) async throws {
        try await database.transaction { transaction in
            let (task, _) = try await Self.find(id, for: source.userID, .edit, transaction)
            let columns = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        SELECT \(Column.columns) FROM columns c WHERE c.column_id IN ($1, $2) AND c.project_id = $3
                        ORDER BY c.column_id FOR UPDATE
                        """, parameters: [move.from, move.to, task.projectID])
            ).map { try Column(row: $0) }
            guard let from = columns.first(where: { $0.id == move.from }),
                let to = columns.first(where: { $0.id == move.to })
            else { throw RequestError.badRequest("columns and task do not belong to one project") }
            // Under the locks: a task that another request has moved or deleted meanwhile is not here any more.
            let moved = try Move(
                task.id, from: from.taskIDs, to: to.taskIDs, isSame: from.id == to.id, move.taskIDs)
            if from.id != to.id { try await ColumnStore.saveTasks(moved.from, of: from.id, transaction) }
            try await ColumnStore.saveTasks(moved.to, of: to.id, transaction)
        }
    }

    func delete(_ id: String, in columnID: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        SELECT \(Column.columns), \(Access.columns) FROM columns c
                        JOIN projects p ON p.project_id = c.project_id \(Access.join)
                        WHERE c.column_id = $2 FOR UPDATE OF c
                        """, parameters: [source.userID, columnID]))
            guard let row = rows.first else { throw RequestError.notFound("column") }
            try Access(row: row, at: Column.columnCount).require(.edit, to: "column")
            let column = try Column(row: row)
            guard column.taskIDs.contains(id) else { throw RequestError.notFound("task") }
            try await ColumnStore.saveTasks(column.taskIDs.filter { $0 != id }, of: columnID, transaction)
            try await transaction.query("DELETE FROM tasks WHERE task_id = \(id)")
        }
    }

    /// A task that the user may do something with, and its project.
    static func find(
        _ id: String, for userID: String, _ right: Access.Right, lock: String = "", _ transaction: Transaction
    ) async throws -> (task: BoardTask, project: (userID: String, teamID: String)) {
        let rows = try await transaction.query(
            PostgresQuery(
                unsafeSQL: """
                    SELECT \(BoardTask.columns), \(Access.columns), p.user_id, coalesce(p.team_id, '')
                    FROM tasks t JOIN projects p ON p.project_id = t.project_id \(Access.join)
                    WHERE t.task_id = $2 \(lock)
                    """, parameters: [userID, id]))
        guard let row = rows.first else { throw RequestError.notFound("task") }
        try Access(row: row, at: BoardTask.columnCount).require(right, to: "task")
        let owner = try row.decode(BoardTask.columnCount + 2, as: String.self)
        let team = try row.decode(BoardTask.columnCount + 3, as: String.self)
        return (try BoardTask(row: row), (owner, team))
    }

    private static func requireMember(
        _ userID: String, of teamID: String, _ transaction: Transaction
    ) async throws {
        let rows = try await transaction.query(
            "SELECT 1 FROM memberships WHERE team_id = \(teamID) AND user_id = \(userID)")
        guard rows.isEmpty else { return }
        var validation = Validation()
        validation.refuse("assignedTo", "assignedTo must be a member of the team or the owner")
        try validation.finish()
    }
}
