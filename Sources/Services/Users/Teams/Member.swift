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
    /// Reads a row with all columns of `memberships`, and the person's names, picture and address.
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
