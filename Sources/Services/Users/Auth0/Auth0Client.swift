import NIOHTTP1
import ServicesCore

/// A person as Auth0 knows them (Auth0 Management API v2, "Get a User").
struct Auth0User: Decodable, Sendable, Equatable {
    /// `auth0|60a666916089a00069b2a773`: connection strategy and id.
    let id: String
    /// Absent where the connection knows no address.
    let email: String?
    let isEmailVerified: Bool
    let nickname: String?
    let picture: String?

    /// The longest id that the column `users.auth0_id` holds.
    private static let idLimit = 128

    private enum CodingKeys: String, CodingKey {
        case id = "user_id"
        case email
        case isEmailVerified = "email_verified"
        case nickname, picture
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        id = try values.decode(String.self, forKey: .id)
        guard 1...Self.idLimit ~= id.unicodeScalars.count else {
            throw DecodingError.dataCorruptedError(
                forKey: .id, in: values, debugDescription: "no id of an account")
        }
        email = try values.decodeIfPresent(String.self, forKey: .email)
        isEmailVerified = try values.decodeIfPresent(Bool.self, forKey: .isEmailVerified) ?? false
        nickname = try values.decodeIfPresent(String.self, forKey: .nickname)
        picture = try values.decodeIfPresent(String.self, forKey: .picture)
    }
}

/// The calls of Auth0's Management API that this service makes.
///
/// Each throws `RemoteAPIError`, `PostgresError` (the token is kept in the database) or `CancellationError`.
struct Auth0Client: Sendable {
    /// What became of a new account.
    enum Creation: Sendable, Equatable {
        case created(Auth0User)
        /// Auth0 knows the address already.
        case exists
    }

    /// The database connection of the tenant that accounts with a password belong to.
    static let connection = "Username-Password-Authentication"
    /// How long a password ticket is good for: as long as an invite.
    static let ticketLifetime = Duration.seconds(432_000)

    let api: RemoteAPI
    let tokens: ManagementTokens

    /// An account by its Auth0 id; `nil` when there is none.
    func user(_ id: String) async throws -> Auth0User? {
        let answer = try await send(accepting: [404]) {
            RemoteRequest(.GET, "/api/v2/users/{}", [id], token: $0)
        }
        return answer.status == 404 ? nil : try answer.decode()
    }

    /// The accounts with an address, one per connection that the person has used.
    func users(withEmail email: String) async throws -> [Auth0User] {
        try await send { RemoteRequest(.GET, "/api/v2/users-by-email?email={}", [email], token: $0) }.decode()
    }

    /// Makes an account with a password that nobody knows; its owner sets one by a ticket.
    func createUser(email: String) async throws -> Creation {
        struct NewAccount: Encodable {
            let email: String
            let connection: String
            let password: String
            let email_verified: Bool
            let verify_email: Bool
        }
        let account = NewAccount(
            email: email, connection: Self.connection, password: String.makeUUID(),
            email_verified: false, verify_email: false)
        let body = try RemoteRequest.Body.json(account)
        let answer = try await send(accepting: [409]) {
            RemoteRequest(.POST, "/api/v2/users", token: $0, body: body)
        }
        return answer.status == 409 ? .exists : .created(try answer.decode())
    }

    /// Writes our id of a person into their account; from then on their tokens carry it.
    func link(_ id: String, to userID: String) async throws {
        struct Link: Encodable {
            let app_metadata: [String: String]
        }
        let body = try RemoteRequest.Body.json(Link(app_metadata: ["id": userID]))
        _ = try await send { RemoteRequest(.PATCH, "/api/v2/users/{}", [id], token: $0, body: body) }
    }

    /// A link by which the owner of an address sets a password and proves that the address is theirs.
    ///
    /// - Parameter returnURL: Where the link leads afterwards.
    func passwordTicket(email: String, returnURL: String) async throws -> String {
        struct NewTicket: Encodable {
            let connection_id: String
            let email: String
            let result_url: String
            let ttl_sec: Int64
            let mark_email_as_verified: Bool
        }
        struct Ticket: Decodable {
            let ticket: String
        }
        let ticket = NewTicket(
            connection_id: try await connectionID(), email: email, result_url: returnURL,
            ttl_sec: Self.ticketLifetime.components.seconds, mark_email_as_verified: true)
        let body = try RemoteRequest.Body.json(ticket)
        let answer = try await send {
            RemoteRequest(.POST, "/api/v2/tickets/password-change", token: $0, body: body)
        }
        return try answer.decode(Ticket.self).ticket
    }

    private func connectionID() async throws -> String {
        struct Connection: Decodable {
            let id: String
            let name: String
        }
        let answer = try await send { RemoteRequest(.GET, "/api/v2/connections?strategy=auth0", token: $0) }
        guard
            let connection = try answer.decode([Connection].self).first(where: { $0.name == Self.connection })
        else {
            throw RemoteAPIError(
                api: answer.api, call: answer.call,
                cause: .unreadable("the tenant has no connection \(Self.connection)"))
        }
        return connection.id
    }

    /// Sends with a token, and once more with a new one when Auth0 has revoked it.
    private func send(
        accepting statuses: Set<Int> = [], _ make: (String) -> RemoteRequest
    ) async throws -> RemoteAnswer {
        let token = try await tokens.current()
        do {
            return try await api.send(make(token), accepting: statuses)
        } catch let error as RemoteAPIError {
            guard case .status(401, _) = error.cause else { throw error }
            try await tokens.forget(token)
            return try await api.send(make(try await tokens.current()), accepting: statuses)
        }
    }
}
