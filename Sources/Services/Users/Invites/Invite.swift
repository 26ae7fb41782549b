import BrokerProtocol
import Postgres
import ServicesCore

/// An invitation of one person into one team: the model `Invite` of services.md 3.1.
struct Invite: Sendable, Equatable {
    let id: String
    let userID: String
    let teamID: String
    /// Whether the person has decided.
    let isRead: Bool
    let isAccepted: Bool
    let declinedAt: Timestamp?
    let expiration: Timestamp
    let updatedAt: Timestamp
    let createdAt: Timestamp
}

extension Invite: JSONRepresentable {
    func writeFields(to json: inout JSONWriter) {
        json.field("id", id)
        json.field("userId", userID)
        json.field("teamId", teamID)
        json.field("read", isRead)
        json.field("accepted", isAccepted)
        json.field("expiration", expiration)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }
}

extension Invite {
    /// The columns of `invites` that `init(row:)` reads.
    static let columns: PostgresFragment = """
        invites.invite_id, invites.user_id, invites.team_id, invites.read, invites.accepted, invites.declined_at,
        invites.expiration, invites.updated_at, invites.created_at
        """

    /// Reads a row with `columns`.
    init(row: PostgresRow) throws {
        id = try row.decode("invite_id", as: String.self)
        userID = try row.decode("user_id", as: String.self)
        teamID = try row.decode("team_id", as: String.self)
        isRead = try row.decode("read", as: Bool.self)
        isAccepted = try row.decode("accepted", as: Bool.self)
        declinedAt = try row.decode("declined_at", as: Timestamp?.self)
        expiration = try row.decode("expiration", as: Timestamp.self)
        updatedAt = try row.decode("updated_at", as: Timestamp.self)
        createdAt = try row.decode("created_at", as: Timestamp.self)
    }
}

/// An invite with the name of its team: the model `InviteEnhanced`.
struct NamedInvite: JSONRepresentable, Equatable {
    let invite: Invite
    let teamName: String

    func writeFields(to json: inout JSONWriter) {
        invite.writeFields(to: &json)
        json.field("teamName", teamName)
    }
}
