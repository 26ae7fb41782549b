import BrokerProtocol
import Postgres
import ServicesCore

/// A task on a board. (`Task` is Swift's own word.)
struct BoardTask: JSONRepresentable, Hashable {
    var id: String
    var projectID: String
    var key: String
    var seq: Int
    var title: String
    var points: Int
    var content: String
    var assignedTo: String
    var attachments: [String]
    var comments: [String]
    var updatedAt: Timestamp
    var createdAt: Timestamp

    /// What `init(row:)` reads, from the table `tasks` under the name `t`.
    static let columns = """
        t.task_id, t.project_id, coalesce(t.key, ''), t.seq, t.title, coalesce(t.points, 0), coalesce(t.content, ''),
        coalesce(t.assigned_to, ''), coalesce(t.attachments, '{}'), coalesce(t.comments, '{}'), t.updated_at, t.created_at
        """
    static let columnCount = 12

    init(row: PostgresRow) throws {
        (
            id, projectID, key, seq, title, points, content, assignedTo, attachments, comments, updatedAt,
            createdAt
        ) = try row.decode(
            String.self, String.self, String.self, Int.self, String.self, Int.self, String.self, String.self,
            [String].self, [String].self, Timestamp.self, Timestamp.self)
    }

    func writeFields(to json: inout JSONWriter) {
        json.field("id", id)
        json.field("key", key)
        json.field("seq", seq)
        json.field("title", title)
        json.field("points", points)
        json.field("content", content)
        json.field("projectId", projectID)
        json.field("assignedTo", assignedTo)
        json.field("attachments", attachments)
        json.field("comments", comments)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }
}
