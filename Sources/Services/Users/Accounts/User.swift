import BrokerProtocol
import Postgres
import ServicesCore

/// A person with an account in this product: the model `User` of services.md 3.1.
struct User: Sendable, Equatable {
    let id: String
    let auth0ID: String
    let email: String
    let isEmailVerified: Bool
    let firstName: String?
    let lastName: String?
    let picture: String?
    let locale: String?
    let updatedAt: Timestamp
    let createdAt: Timestamp
}

extension User: JSONRepresentable {
    func writeFields(to json: inout JSONWriter) {
        json.field("id", id)
        json.field("auth0Id", auth0ID)
        json.field("email", email)
        json.field("emailVerified", isEmailVerified)
        json.field("firstName", firstName)
        json.field("lastName", lastName)
        json.field("picture", picture)
        json.field("locale", locale)
        json.field("updatedAt", updatedAt)
        json.field("createdAt", createdAt)
    }
}

extension User {
    /// The columns of `users` that `init(row:)` reads.
    static let columns: PostgresFragment = """
        user_id, auth0_id, email, email_verified, first_name, last_name, picture, locale, updated_at, created_at
        """

    /// Reads a row with `columns`.
    init(row: PostgresRow) throws {
        id = try row.decode("user_id", as: String.self)
        auth0ID = try row.decode("auth0_id", as: String.self)
        email = try row.decode("email", as: String.self)
        isEmailVerified = try row.decode("email_verified", as: Bool.self)
        firstName = try row.decode("first_name", as: String?.self)
        lastName = try row.decode("last_name", as: String?.self)
        picture = try row.decode("picture", as: String?.self)
        locale = try row.decode("locale", as: String?.self)
        updatedAt = try row.decode("updated_at", as: Timestamp.self)
        createdAt = try row.decode("created_at", as: Timestamp.self)
    }
}
