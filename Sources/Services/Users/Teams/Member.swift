import BrokerProtocol
import Postgres
import ServicesCore

/// A member of a team with what the front end shows of them: the model `MembershipEnhanced` of services.md 3.1.
struct Member: Sendable, Equatable {
    /// The membership's id.
    let id: String
    let userID: String
    let firstName: String?
    let lastName: String?
    let picture: String?
    let email: String
    let teamID: String
    let role: Role
    let updatedAt: Timestamp
    let createdAt: Timestamp
}

extension Member: JSONRepresentable {
    func writeFields(to json: inout JSONWriter) {
        json.field("id", id)
        json.field("userId", userID)
        json.field("firstName", firstName)
        json.field("lastName", lastName)
        json.field("picture", picture)
        json.field("email", email)
        json.field("teamId", teamID)
        json.field("role", role.rawValue)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }
}

extension Member {
    /// The columns of `memberships` and `users` that `init(row:)` reads.
    static let columns: PostgresFragment = """
        memberships.membership_id, memberships.user_id, memberships.team_id, memberships.role, memberships.updated_at,
        memberships.created_at, users.first_name, users.last_name, users.picture, users.email
        """

    /// Reads a row with `columns`.
    init(row: PostgresRow) throws {
        id = try row.decode("membership_id", as: String.self)
        userID = try row.decode("user_id", as: String.self)
        firstName = try row.decode("first_name", as: String?.self)
        lastName = try row.decode("last_name", as: String?.self)
        picture = try row.decode("picture", as: String?.self)
        email = try row.decode("email", as: String.self)
        teamID = try row.decode("team_id", as: String.self)
        role = try row.decode("role", as: Role.self)
        updatedAt = try row.decode("updated_at", as: Timestamp.self)
        createdAt = try row.decode("created_at", as: Timestamp.self)
    }
}
