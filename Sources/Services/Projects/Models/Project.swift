import BrokerProtocol
import Postgres
import ServicesCore

/// A project as the API shows it.
struct Project: JSONRepresentable, Hashable {
    var id: String
    var name: String
    var prefix: String
    var description: String
    var teamID: String
    var userID: String
    var isActive: Bool
    var isPublic: Bool
    var columnOrder: [String]
    var updatedAt: Timestamp
    var createdAt: Timestamp

    /// What `init(row:)` reads, from the table `projects` under the name `p`.
    static let columns = """
        p.project_id, p.name, p.prefix, coalesce(p.description, ''), coalesce(p.team_id, ''), p.user_id,
        coalesce(p.active, true), coalesce(p.public, false), coalesce(p.column_order, '{}'), p.updated_at, p.created_at
        """
    static let columnCount = 11

    init(row: PostgresRow) throws {
        (
            id, name, prefix, description, teamID, userID, isActive, isPublic, columnOrder, updatedAt,
            createdAt
        ) = try row.decode(
            String.self, String.self, String.self, String.self, String.self, String.self, Bool.self,
            Bool.self,
            [String].self, Timestamp.self, Timestamp.self)
    }

    func writeFields(to json: inout JSONWriter) {
        json.field("id", id)
        json.field("name", name)
        json.field("prefix", prefix)
        json.field("description", description)
        json.field("teamId", teamID)
        json.field("userId", userID)
        json.field("active", isActive)
        json.field("public", isPublic)
        json.field("columnOrder", columnOrder)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }

    /// Rows of `columns` as `writeFields(to:)` writes the same projects.
    static let list = JSONRowFormat([
        "id": .text, "name": .text, "prefix": .text, "description": .text, "teamId": .text, "userId": .text,
        "active": .boolean, "public": .boolean, "columnOrder": .texts, "updatedAt": .time, "createdAt": .time,
    ])

    /// What tasks' keys begin with: up to three characters of the name and a dash (services.md 2.2, defect B19).
    static func prefix(of name: String) -> String {
        String(String.UnicodeScalarView(name.unicodeScalars.prefix(3))) + "-"
    }

    /// The event that tells of this new project.
    var created: ProjectCreated {
        ProjectCreated(
            projectID: id, name: name, prefix: prefix, description: description, userID: userID,
            teamID: teamID,
            active: isActive, isPublic: isPublic, columnOrder: columnOrder, updatedAt: updatedAt,
            createdAt: createdAt)
    }

    /// The event that tells of a change; the team only when this change gave it: a rename must not carry a stale team
    /// over a newer assignment.
    func updated(withTeam: Bool) -> ProjectUpdated {
        var event = ProjectUpdated(projectID: id, updatedAt: updatedAt)
        event.name = name
        event.description = description
        event.active = isActive
        event.isPublic = isPublic
        event.columnOrder = columnOrder
        if withTeam { event.teamID = teamID }
        return event
    }
}
