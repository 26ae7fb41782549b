import BrokerProtocol
import Postgres
import ServicesCore

/// A column of a board.
struct Column: JSONRepresentable, Hashable {
    var id: String
    var projectID: String
    var title: String
    var name: String
    var taskIDs: [String]
    var updatedAt: Timestamp
    var createdAt: Timestamp

    /// What `init(row:)` reads, from the table `columns` under the name `c`.
    static let columns = """
        c.column_id, c.project_id, c.title, c.column_name, coalesce(c.task_ids, '{}'), c.updated_at, c.created_at
        """
    static let columnCount = 7

    init(row: PostgresRow) throws {
        (id, projectID, title, name, taskIDs, updatedAt, createdAt) = try row.decode(
            String.self, String.self, String.self, String.self, [String].self, Timestamp.self, Timestamp.self)
    }

    func writeFields(to json: inout JSONWriter) {
        json.field("id", id)
        json.field("title", title)
        json.field("columnName", name)
        json.field("taskIds", taskIDs)
        json.field("projectId", projectID)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }

    /// The columns of a new project, in order: title and name.
    static let initial = [
        (title: "To Do", name: "column-1"), (title: "In Progress", name: "column-2"),
        (title: "Review", name: "column-3"), (title: "Done", name: "column-4"),
    ]

    /// The smallest `column-N` that is not taken.
    static func freeName(among taken: [String]) -> String {
        let taken = Set(taken)
        var number = 1
        while taken.contains("column-\(number)") { number += 1 }
        return "column-\(number)"
    }
}
