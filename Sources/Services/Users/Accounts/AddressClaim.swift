import Postgres
import ServicesCore

/// How an address goes from an account that has never proved it to the one that has.
///
/// Anybody can sign up at Auth0 with the address of somebody else, and his row here holds it then. When its owner comes,
/// the address and the open invites, which were meant for it, become his; the other account keeps all that it made
/// itself, with an address that no mail reaches.
struct AddressClaim: Sendable {
    let database: Database
    let auth0: Auth0Client
    let email: EmailAddress

    /// Gives the address to the account that `receive` makes or changes.
    ///
    /// - Parameter receive: Runs when the address is free, in the transaction that has freed it.
    /// - Returns: The account; `nil` when nobody holds the address without proof.
    /// - Throws: `RequestError` 409 when `receive` has no account; what Auth0 and the database throw.
    func settle(_ receive: (Transaction) async throws -> User?) async throws -> User? {
        let rows = try await database.query(
            """
            SELECT \(sql: User.columns) FROM users
            WHERE lower(email) = \(email.key) AND NOT email_verified
            """)
        guard let holder = try rows.first.map(User.init(row:)) else { return nil }
        // What is known here may be old; of an invitation nobody has signed in with yet, Auth0 knows nothing.
        if !holder.auth0ID.hasPrefix("pending|"), let account = try await auth0.user(holder.auth0ID),
            account.hasVerified(email)
        {
            try await database.query(
                """
                UPDATE users SET email_verified = TRUE, updated_at = \(sql: .later(than: "updated_at"))
                WHERE user_id = \(holder.id) AND lower(email) = \(email.key)
                """)
            return nil
        }
        return try await database.transaction { transaction in
            let freed = try await transaction.query(
                """
                UPDATE users SET email = user_id || '@unverified.invalid',
                  updated_at = \(sql: .later(than: "updated_at"))
                WHERE user_id = \(holder.id) AND lower(email) = \(email.key) AND NOT email_verified
                """)
            guard freed.affectedRows == 1 else { return nil }
            guard let user = try await receive(transaction) else {
                throw RequestError.conflict("email is held by another account")
            }
            try await transaction.query(
                """
                UPDATE invites SET user_id = \(user.id)
                WHERE user_id = \(holder.id) AND NOT accepted AND declined_at IS NULL AND NOT EXISTS (
                  SELECT 1 FROM invites own WHERE own.user_id = \(user.id) AND own.team_id = invites.team_id
                    AND NOT own.accepted AND own.declined_at IS NULL)
                """)
            try await transaction.dropOpenInvites(of: holder.id)
            return user
        }
    }
}

extension Transaction {
    /// Ends the open invites of somebody whose address is not the one any more that they were meant for.
    ///
    /// - Throws: `PostgresError`.
    func dropOpenInvites(of userID: String) async throws {
        try await query(
            "DELETE FROM invites WHERE user_id = \(userID) AND NOT accepted AND declined_at IS NULL")
    }
}

extension Auth0User {
    /// Whether the account has this address and Auth0 has seen the proof.
    func hasVerified(_ address: EmailAddress) -> Bool {
        isEmailVerified && email.flatMap(EmailAddress.init)?.key == address.key
    }
}
