import Postgres
import ServicesCore

/// The people who use the product: what Auth0 knows of them, and the ids by which our services know them.
struct Accounts: Sendable {
    let database: Database
    let auth0: Auth0Client?

    /// What is refused to somebody who has not proved that his address is his: anybody can sign up at Auth0 with the
    /// address of somebody else, and must not get what was meant for them.
    static let addressIsNotVerified = RequestError.forbidden(
        "email address is not verified: follow the link in the mail that was sent to it, then try again")

    /// Makes the account of whoever holds a token, or finds it, and writes its id into the token's Auth0 account.
    ///
    /// The address comes from Auth0, at every call: what the caller says of himself is not believed. Whoever was invited
    /// has a row already, with a placeholder, and gets that one once Auth0 says that the address is his. Calls at the
    /// same time make one row, and a call that failed half-way may be repeated.
    ///
    /// - Returns: The account, and whether it is new.
    /// - Throws: `RequestError` 409 when the address belongs to another account, 502 when Auth0 does not answer as it
    ///   should, 503 when it is not configured.
    func register(_ new: NewUser, subject: String) async throws -> (user: User, isNew: Bool) {
        guard let auth0 else { throw OutsideSettings.auth0IsOff }
        do {
            guard let account = try await auth0.user(subject) else { throw RequestError.notFound("user") }
            var isNew = false
            let user: User
            if let known = try await find(subject: subject) {
                user = try await refresh(known, account, auth0)
            } else {
                (user, isNew) = try await insert(new, account, auth0)
            }
            try await auth0.link(subject, to: user.id)
            return (user, isNew)
        } catch let error as RemoteAPIError {
            throw IdentityProviderFailure(cause: error)
        }
    }

    /// An account by its id.
    ///
    /// - Throws: `RequestError` 404 when there is none.
    func find(_ id: String) async throws -> User {
        let rows = try await database.read(
            "SELECT \(sql: User.columns) FROM users WHERE user_id = \(id)")
        guard let row = rows.first else { throw RequestError.notFound("user") }
        return try User(row: row)
    }

    /// Changes what somebody shows of himself; what is absent stays.
    ///
    /// - Throws: `RequestError` 404 when there is no such account.
    func update(_ id: String, _ change: ProfileChange) async throws -> User {
        let rows = try await database.query(
            """
            UPDATE users SET first_name = COALESCE(\(change.firstName), first_name),
              last_name = COALESCE(\(change.lastName), last_name), picture = COALESCE(\(change.picture), picture),
              locale = COALESCE(\(change.locale), locale), updated_at = \(sql: .later(than: "updated_at"))
            WHERE user_id = \(id) RETURNING \(sql: User.columns)
            """)
        guard let row = rows.first else { throw RequestError.notFound("user") }
        return try User(row: row)
    }

    /// Does what only the owner of an address may do. When that is refused because the address is not known to be his,
    /// Auth0 is asked whether he has verified it since, and then it is done after all.
    ///
    /// - Throws: What `body` throws; `IdentityProviderFailure`.
    func withVerifiedAddress<Value: Sendable>(
        of userID: String, _ body: () async throws -> Value
    ) async throws -> Value {
        do {
            return try await body()
        } catch let refusal as RequestError where refusal == Self.addressIsNotVerified {
            guard let auth0 else { throw refusal }
            do {
                let user = try await find(userID)
                guard let account = try await auth0.user(user.auth0ID),
                    try await refresh(user, account, auth0).isEmailVerified
                else { throw refusal }
            } catch let error as RemoteAPIError {
                throw IdentityProviderFailure(cause: error)
            }
            return try await body()
        }
    }

    private func find(subject: String) async throws -> User? {
        try await database.read("SELECT \(sql: User.columns) FROM users WHERE auth0_id = \(subject)")
            .first.map(User.init(row:))
    }

    private func insert(
        _ new: NewUser, _ account: Auth0User, _ auth0: Auth0Client
    ) async throws -> (User, isNew: Bool) {
        guard let text = account.email, let email = EmailAddress(text) else {
            throw RequestError.badRequest("address provided was not a valid email")
        }
        let user = try await database.session { try await insert(new, account, email, in: $0) }
        if let user { return (user, true) }
        if let user = try await find(subject: account.id) { return (user, false) }
        if account.isEmailVerified {
            if let user = try await adopt(new, account, email) { return (user, true) }
            let claim = AddressClaim(database: database, auth0: auth0, email: email)
            let user = try await claim.settle { try await insert(new, account, email, in: $0) }
            if let user { return (user, true) }
        }
        // The other of two calls may have been faster.
        if let user = try await find(subject: account.id) { return (user, false) }
        throw RequestError.conflict("email is held by another account")
    }

    private func insert(
        _ new: NewUser, _ account: Auth0User, _ email: EmailAddress, in transaction: Transaction
    ) async throws -> User? {
        try await transaction.query(
            """
            INSERT INTO users (user_id, auth0_id, email, email_verified, first_name, last_name, picture, locale,
              created_at, updated_at)
            VALUES (\(String.makeUUID()), \(account.id), \(email.text), \(account.isEmailVerified), \(new.firstName),
              \(new.lastName), \(new.picture), \(new.locale), \(sql: .now), \(sql: .now))
            ON CONFLICT DO NOTHING RETURNING \(sql: User.columns)
            """
        ).first.map(User.init(row:))
    }

    /// Brings address and proof up to what Auth0 says. An address without proof replaces none, and one that somebody else
    /// has proved too stays his.
    private func refresh(
        _ user: User, _ account: Auth0User, _ auth0: Auth0Client
    ) async throws -> User {
        guard let email = account.email.flatMap(EmailAddress.init) else { return user }
        if email.key == user.email.lowercased() {
            guard account.isEmailVerified != user.isEmailVerified else { return user }
            return try await database.query(
                """
                UPDATE users SET email_verified = \(account.isEmailVerified),
                  updated_at = \(sql: .later(than: "updated_at"))
                WHERE user_id = \(user.id) AND lower(email) = \(email.key) RETURNING \(sql: User.columns)
                """
            ).first.map(User.init(row:)) ?? user
        }
        guard account.isEmailVerified else { return user }
        let change = { (transaction: Transaction) async throws -> User? in
            let changed = try await transaction.query(
                """
                UPDATE users SET email = \(email.text), email_verified = TRUE,
                  updated_at = \(sql: .later(than: "updated_at"))
                WHERE user_id = \(user.id) AND NOT EXISTS (
                  SELECT 1 FROM users other WHERE lower(other.email) = \(email.key))
                RETURNING \(sql: User.columns)
                """
            ).first.map(User.init(row:))
            // They were meant for an address that he never proved to be his.
            if changed != nil, !user.isEmailVerified { try await transaction.dropOpenInvites(of: user.id) }
            return changed
        }
        do {
            if let changed = try await database.transaction(change) { return changed }
        } catch let error as PostgresError where error.sqlState == "23505" {
            // Somebody else got the address in the same moment.
        }
        return try await AddressClaim(database: database, auth0: auth0, email: email).settle(change) ?? user
    }

    private func adopt(_ new: NewUser, _ account: Auth0User, _ email: EmailAddress) async throws -> User? {
        try await database.query(
            """
            UPDATE users SET auth0_id = \(account.id), email = \(email.text), email_verified = TRUE,
              first_name = \(new.firstName), last_name = \(new.lastName), picture = \(new.picture),
              locale = \(new.locale), updated_at = \(sql: .later(than: "updated_at"))
            WHERE lower(email) = \(email.key) AND auth0_id LIKE 'pending|%' RETURNING \(sql: User.columns)
            """
        ).first.map(User.init(row:))
    }
}

/// Auth0 did not do what a request needs. The caller learns no more than that; the log has the cause.
struct IdentityProviderFailure: Error {
    let cause: RemoteAPIError

    /// What the caller is told.
    static let answer = RequestError(.badGateway, "identity provider unavailable")
}

/// The body of `POST /users`.
struct NewUser: RequestModel {
    let auth0ID: String
    let firstName: String
    let lastName: String?
    let picture: String?
    let locale: String?

    init(_ fields: inout JSONFields) throws {
        let (auth0ID, email) = (try fields.string("auth0Id"), try fields.string("email"))
        // Part of the contract and checked, but Auth0 is asked for both.
        _ = try fields.boolean("emailVerified")
        let (firstName, lastName) = (try fields.string("firstName"), try fields.string("lastName"))
        let (picture, locale) = (try fields.string("picture"), try fields.string("locale"))
        try fields.finish()
        var validation = Validation()
        self.auth0ID = validation.text("auth0Id", auth0ID, 1...128)
        _ = validation.text("email", email, 1...Call.bodyLimit)
        self.firstName = validation.text("firstName", firstName, 0...255)
        self.lastName = validation.optionalText("lastName", lastName, 0...255)
        self.picture = validation.optionalText("picture", picture, 0...255)
        self.locale = validation.optionalText("locale", locale, 0...8)
        try validation.finish()
    }
}

/// The body of `PATCH /users/me`.
struct ProfileChange: RequestModel {
    let firstName: String?
    let lastName: String?
    let picture: String?
    let locale: String?

    init(_ fields: inout JSONFields) throws {
        let (firstName, lastName) = (try fields.string("firstName"), try fields.string("lastName"))
        let (picture, locale) = (try fields.string("picture"), try fields.string("locale"))
        try fields.finish()
        var validation = Validation()
        self.firstName = validation.optionalText("firstName", firstName, 0...255)
        self.lastName = validation.optionalText("lastName", lastName, 0...255)
        self.picture = validation.optionalText("picture", picture, 0...255)
        self.locale = validation.optionalText("locale", locale, 0...8)
        try validation.finish()
    }
}
