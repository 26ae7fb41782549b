import BrokerProtocol
import Postgres
import ServicesCore

/// People who work on projects together: the model `Team` of services.md 3.1.
struct Team: Sendable, Equatable {
    let id: String
    let name: String
    /// Who created it; that alone gives no right.
    let userID: String
    let updatedAt: Timestamp
    let createdAt: Timestamp
}

extension Team: JSONRepresentable {
    func writeFields(to json: inout JSONWriter) {
        json.field("id", id)
        json.field("name", name)
        json.field("userId", userID)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }
}

extension Team {
    /// The columns of `teams` that `init(row:)` reads.
    static let columns: PostgresFragment = """
        teams.team_id, teams.name, teams.user_id, teams.updated_at, teams.created_at
        """

    /// Reads a row with `columns`.
    init(row: PostgresRow) throws {
        id = try row.decode("team_id", as: String.self)
        name = try row.decode("name", as: String.self)
        userID = try row.decode("user_id", as: String.self)
        updatedAt = try row.decode("updated_at", as: Timestamp.self)
        createdAt = try row.decode("created_at", as: Timestamp.self)
    }
}
