import Postgres
import ServicesCore

/// The people who use the product: what Auth0 knows of them, and the ids by which our services know them.
struct Accounts: Sendable {
    let database: Database
    let auth0: Auth0Client?

    /// Makes the account of whoever holds a token, or finds it, and writes its id into the token's Auth0 account.
    ///
    /// The address comes from Auth0: what the caller says of himself is not believed. Whoever was invited has a row
    /// already, with a placeholder, and gets that one once Auth0 says that the address is his. Calls at the same time
    /// make one row, and a call that failed half-way may be repeated.
    ///
    /// - Returns: The account, and whether it is new.
    /// - Throws: `RequestError` 409 when the address belongs to another account, 502 when Auth0 does not answer as it
    ///   should, 503 when it is not configured.
    func register(_ new: NewUser, subject: String) async throws -> (user: User, isNew: Bool) {
        guard let auth0 else { throw OutsideSettings.auth0IsOff }
        do {
            var isNew = false
            let user: User
            if let known = try await find(subject: subject) {
                user = known
            } else {
                guard let account = try await auth0.user(subject) else { throw RequestError.notFound("user") }
                (user, isNew) = try await insert(new, account)
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
        let rows = try await database.query("SELECT * FROM users WHERE user_id = \(id)")
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
              locale = COALESCE(\(change.locale), locale),
              updated_at = GREATEST(clock_timestamp() AT TIME ZONE 'utc', updated_at + interval '1 microsecond')
            WHERE user_id = \(id) RETURNING *
            """)
        guard let row = rows.first else { throw RequestError.notFound("user") }
        return try User(row: row)
    }

    private func find(subject: String) async throws -> User? {
        try await database.query("SELECT * FROM users WHERE auth0_id = \(subject)").first.map(User.init(row:))
    }

    private func insert(_ new: NewUser, _ account: Auth0User) async throws -> (User, isNew: Bool) {
        guard let text = account.email, let email = EmailAddress(text) else {
            throw RequestError.badRequest("address provided was not a valid email")
        }
        let inserted = try await database.query(
            """
            INSERT INTO users (user_id, auth0_id, email, email_verified, first_name, last_name, picture, locale,
              created_at, updated_at)
            VALUES (\(String.makeUUID()), \(account.id), \(email.text), \(account.isEmailVerified), \(new.firstName),
              \(new.lastName), \(new.picture), \(new.locale), clock_timestamp() AT TIME ZONE 'utc',
              clock_timestamp() AT TIME ZONE 'utc')
            ON CONFLICT DO NOTHING RETURNING *
            """)
        if let row = inserted.first { return (try User(row: row), true) }
        if let user = try await find(subject: account.id) { return (user, false) }
        if account.isEmailVerified, let user = try await adopt(new, account, email) { return (user, true) }
        // The other of two calls may have adopted the placeholder.
        if let user = try await find(subject: account.id) { return (user, false) }
        throw RequestError.conflict("email is held by another account")
    }

    private func adopt(_ new: NewUser, _ account: Auth0User, _ email: EmailAddress) async throws -> User? {
        try await database.query(
            """
            UPDATE users SET auth0_id = \(account.id), email = \(email.text), email_verified = TRUE,
              first_name = \(new.firstName), last_name = \(new.lastName), picture = \(new.picture),
              locale = \(new.locale),
              updated_at = GREATEST(clock_timestamp() AT TIME ZONE 'utc', updated_at + interval '1 microsecond')
            WHERE lower(email) = \(email.key) AND auth0_id LIKE 'pending|%' RETURNING *
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
