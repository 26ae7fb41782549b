import Postgres
import ServicesCore

/// Comments in the database.
struct CommentStore: Sendable {
    let database: Database

    /// The comments on a task, the oldest first.
    func list(of taskID: String, for userID: String) async throws -> [Comment] {
        try await database.session { session in
            _ = try await TaskStore.find(taskID, for: userID, .read, session)
            return try await session.query(
                PostgresQuery(
                    unsafeSQL: """
                        SELECT \(Comment.columns) FROM comments c WHERE c.task_id = $1
                        ORDER BY c.created_at, c.comment_id
                        """, parameters: [taskID])
            ).map { try Comment(row: $0) }
        }
    }

    func create(_ new: NewComment, on taskID: String, by source: EventSource) async throws -> Comment {
        try await database.transaction { transaction in
            let (task, _) = try await TaskStore.find(
                taskID, for: source.userID, .comment, lock: "FOR UPDATE OF t", transaction)
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        INSERT INTO comments AS c (comment_id, task_id, content, likes, edited, user_id, updated_at, created_at)
                        SELECT $1, $2, $3, 0, false, $4, now, now
                        FROM (SELECT clock_timestamp() AT TIME ZONE 'utc' AS now) AS clock
                        RETURNING \(Comment.columns)
                        """, parameters: [String.makeUUID(), taskID, new.content, source.userID]))
            let comment = try Comment(row: rows[0])
            try await Self.saveIDs(task.comments + [comment.id], of: taskID, transaction)
            return comment
        }
    }

    /// The text by its author, the likes by everybody who may comment.
    func update(_ id: String, _ change: UpdateComment, by source: EventSource) async throws -> Comment {
        try await database.transaction { transaction in
            let (comment, access) = try await Self.find(
                id, for: source.userID, lock: "FOR UPDATE OF c", transaction)
            try access.require(.comment, to: "comment")
            if change.content != nil, comment.userID != source.userID { throw RequestError.wrongRole }
            let rows = try await transaction.query(
                PostgresQuery(
                    unsafeSQL: """
                        UPDATE comments c SET content = coalesce($2, c.content), likes = coalesce($3::int, c.likes),
                          edited = c.edited OR $2 IS NOT NULL,
                          updated_at = \(PostgresFragment.later(than: "c.updated_at").sql)
                        WHERE c.comment_id = $1 RETURNING \(Comment.columns)
                        """, parameters: [id, change.content, change.likes]))
            return try Comment(row: rows[0])
        }
    }

    func delete(_ id: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            // The task first, as everywhere.
            let (comment, access) = try await Self.find(
                id, for: source.userID, lock: "FOR UPDATE OF t", transaction)
            try access.require(.read, to: "comment")
            guard comment.userID == source.userID || access.allows(.administer) else {
                throw RequestError.wrongRole
            }
            try await transaction.query("DELETE FROM comments WHERE comment_id = \(id)")
            try await transaction.query(
                """
                UPDATE tasks SET comments = array_remove(comments, \(id)),
                  updated_at = \(sql: .later(than: "updated_at"))
                WHERE task_id = \(comment.taskID)
                """)
        }
    }

    private static func find(
        _ id: String, for userID: String, lock: String, _ transaction: Transaction
    ) async throws -> (Comment, Access) {
        let rows = try await transaction.query(
            PostgresQuery(
                unsafeSQL: """
                    SELECT \(Comment.columns), \(Access.columns) FROM comments c
                    JOIN tasks t ON t.task_id = c.task_id JOIN projects p ON p.project_id = t.project_id \(Access.join)
                    WHERE c.comment_id = $2 \(lock)
                    """, parameters: [userID, id]))
        guard let row = rows.first else { throw RequestError.notFound("comment") }
        return (try Comment(row: row), try Access(row: row, at: Comment.columnCount))
    }

    private static func saveIDs(_ ids: [String], of taskID: String, _ transaction: Transaction) async throws {
        try await transaction.query(
            """
            UPDATE tasks SET comments = \(ids)::text[],
              updated_at = \(sql: .later(than: "updated_at"))
            WHERE task_id = \(taskID)
            """)
    }
}
