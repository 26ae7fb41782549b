import BrokerProtocol
import Postgres
import ServicesCore

/// A comment on a task.
struct Comment: JSONRepresentable, Hashable {
    var id: String
    var taskID: String
    var content: String
    var userID: String
    var likes: Int
    var isEdited: Bool
    var updatedAt: Timestamp
    var createdAt: Timestamp

    /// What `init(row:)` reads, from the table `comments` under the name `c`.
    static let columns = """
        c.comment_id, c.task_id, coalesce(c.content, ''), c.user_id, coalesce(c.likes, 0), coalesce(c.edited, false),
        c.updated_at, c.created_at
        """
    static let columnCount = 8

    init(row: PostgresRow) throws {
        (id, taskID, content, userID, likes, isEdited, updatedAt, createdAt) = try row.decode(
            String.self, String.self, String.self, String.self, Int.self, Bool.self, Timestamp.self,
            Timestamp.self)
    }

    func writeFields(to json: inout JSONWriter) {
        json.field("commentId", id)
        json.field("content", content)
        json.field("userId", userID)
        json.field("likes", likes)
        json.field("edited", isEdited)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }
}
