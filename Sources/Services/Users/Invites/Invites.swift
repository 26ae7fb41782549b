import Postgres
import ServicesCore

/// Invitations into teams: sending them, answering them, taking them back.
struct Invites: Sendable {
    let database: Database

    /// How long an invite may be answered, and how long its link works.
    static let lifetime = Auth0Client.ticketLifetime
    /// The largest list of addresses.
    static let addressLimit = 50

    /// Invites people into a team, by an administrator: an invite each and a mail that the worker sends.
    ///
    /// Who is a member already is passed over. An invite that is still open lives on for another five days and is
    /// mailed again. The number of statements does not depend on the number of addresses.
    ///
    /// - Throws: `RequestError` 403 for everybody but administrators, whether the team exists or not.
    func create(_ addresses: [EmailAddress], for teamID: String, by source: EventSource) async throws {
        // In one order everywhere, so that two lists with the same new people do not wait for each other.
        let addresses = addresses.sorted { $0.key < $1.key }
        let ids = addresses.map { _ in String.makeUUID() }
        let placeholders = addresses.map { _ in Auth0ID.makePlaceholder() }
        let lifetime = Self.lifetime.seconds
        try await database.transaction { transaction in
            guard try await transaction.lockTeam(teamID, for: source.userID)?.role == .administrator else {
                throw RequestError.wrongRole
            }
            try await transaction.query(
                """
                INSERT INTO users (user_id, auth0_id, email, email_verified, created_at, updated_at)
                SELECT user_id, auth0_id, email, FALSE, now() AT TIME ZONE 'utc', now() AT TIME ZONE 'utc'
                FROM unnest(\(ids)::text[], \(placeholders)::text[], \(addresses.map(\.text))::text[])
                  AS invited (user_id, auth0_id, email)
                ON CONFLICT (lower(email)) DO NOTHING
                """)
            try await transaction.query(
                """
                WITH invited AS (
                  INSERT INTO invites (invite_id, user_id, team_id, read, accepted, expiration, updated_at, created_at)
                  SELECT gen_random_uuid()::text, user_id, \(teamID), FALSE, FALSE,
                    clock_timestamp() AT TIME ZONE 'utc' + make_interval(secs => \(lifetime)),
                    clock_timestamp() AT TIME ZONE 'utc', clock_timestamp() AT TIME ZONE 'utc'
                  FROM users
                  WHERE lower(email) = ANY(\(addresses.map(\.key))::text[]) AND NOT EXISTS (
                    SELECT 1 FROM memberships WHERE memberships.user_id = users.user_id AND team_id = \(teamID))
                  -- Until the commit nobody's address becomes another one: his open invites go with it.
                  FOR SHARE OF users
                  ON CONFLICT (user_id, team_id) WHERE accepted IS NOT TRUE AND declined_at IS NULL
                  DO UPDATE SET expiration = EXCLUDED.expiration,
                    updated_at = GREATEST(EXCLUDED.updated_at, invites.updated_at + interval '1 microsecond')
                  RETURNING invite_id, user_id)
                INSERT INTO mail_outbox (recipient, kind, invite_id)
                SELECT users.email, 'invite', invite_id FROM invited JOIN users USING (user_id)
                """)
        }
    }

    /// The open invites of somebody, the oldest first.
    ///
    /// - Throws: `RequestError` 403 when there are some and his address is not verified.
    func open(for userID: String) async throws -> [NamedInvite] {
        try await database.read(
            """
            SELECT \(sql: Invite.columns), teams.name AS team_name, users.email_verified
            FROM invites JOIN teams ON teams.team_id = invites.team_id JOIN users ON users.user_id = invites.user_id
            WHERE invites.user_id = \(userID) AND NOT accepted AND declined_at IS NULL
              AND expiration > \(sql: .now)
            ORDER BY invites.created_at, invite_id
            """
        ).map {
            guard try $0.decode("email_verified", as: Bool.self) else { throw Accounts.addressIsNotVerified }
            return NamedInvite(
                invite: try Invite(row: $0), teamName: try $0.decode("team_name", as: String.self))
        }
    }

    /// Accepts or declines an invite, by the person it is for. Accepting makes a membership in the invite's own team.
    ///
    /// - Throws: `RequestError` 404 when there is no such invite for the caller into this team, 403 when his address is
    ///   not verified, 409 after the other answer, 410 when it was never answered in time.
    func answer(
        _ inviteID: String, into teamID: String, accepted: Bool, by source: EventSource
    ) async throws -> Invite {
        try await database.transaction { transaction in
            guard try await transaction.lockTeam(teamID, for: source.userID) != nil,
                let (invite, now) = try await find(inviteID, into: teamID, for: source.userID, transaction)
            else { throw RequestError.notFound("invite") }
            switch InviteDecision(accepted: accepted, to: invite, now: now) {
            case .repeated: return invite
            case .contradicted:
                throw RequestError.conflict("invite was already \(accepted ? "declined" : "accepted")")
            case .expired: throw RequestError(.gone, "invite expired")
            case .record: break
            }
            let rows = try await transaction.query(
                """
                UPDATE invites SET read = TRUE, accepted = \(accepted),
                  declined_at = CASE WHEN NOT \(accepted) THEN \(now)::timestamp END,
                  updated_at = GREATEST(\(now)::timestamp, updated_at + interval '1 microsecond')
                WHERE invite_id = \(inviteID) RETURNING \(sql: Invite.columns)
                """)
            guard let row = rows.first else { throw RequestError.notFound("invite") }
            let answered = try Invite(row: row)
            if accepted { try await join(answered, at: now, by: source, in: transaction) }
            return answered
        }
    }

    /// Takes back an invite that was not answered, by an administrator; its mail is not sent any more.
    ///
    /// - Throws: `RequestError` 403 for everybody but administrators, 404 for an unknown invite, 409 after an answer.
    func withdraw(_ inviteID: String, from teamID: String, by source: EventSource) async throws {
        try await database.transaction { transaction in
            guard try await transaction.lockTeam(teamID, for: source.userID)?.role == .administrator else {
                throw RequestError.wrongRole
            }
            let rows = try await transaction.query(
                """
                SELECT \(sql: Invite.columns) FROM invites WHERE invite_id = \(inviteID) AND team_id = \(teamID) FOR UPDATE
                """)
            guard let row = rows.first else { throw RequestError.notFound("invite") }
            let invite = try Invite(row: row)
            guard !invite.isAccepted, invite.declinedAt == nil else {
                throw RequestError.conflict(
                    "invite was already \(invite.isAccepted ? "accepted" : "declined")")
            }
            try await transaction.query("DELETE FROM invites WHERE invite_id = \(inviteID)")
        }
    }

    private func find(
        _ inviteID: String, into teamID: String, for userID: String, _ transaction: Transaction
    ) async throws -> (Invite, now: Timestamp)? {
        try await transaction.query(
            """
            SELECT \(sql: Invite.columns), \(sql: .now) AS now, users.email_verified
            FROM invites JOIN users ON users.user_id = invites.user_id
            WHERE invite_id = \(inviteID) AND team_id = \(teamID) AND invites.user_id = \(userID) FOR UPDATE OF invites
            """
        ).first.map {
            guard try $0.decode("email_verified", as: Bool.self) else { throw Accounts.addressIsNotVerified }
            return (try Invite(row: $0), try $0.decode("now", as: Timestamp.self))
        }
    }

    private func join(
        _ invite: Invite, at now: Timestamp, by source: EventSource, in transaction: Transaction
    ) async throws {
        // Somebody who joined by another way meanwhile stays what he is.
        let rows = try await transaction.query(
            """
            INSERT INTO memberships (membership_id, user_id, team_id, role, created_at, updated_at)
            VALUES (\(String.makeUUID()), \(invite.userID), \(invite.teamID), 'editor', \(now), \(now))
            ON CONFLICT (user_id, team_id) DO NOTHING RETURNING membership_id
            """)
        guard let id = try rows.first?.decode(0, as: String.self) else { return }
        try await transaction.publish(
            MembershipCreated(
                membershipID: id, teamID: invite.teamID, userID: invite.userID, role: .editor, updatedAt: now,
                createdAt: now), by: source)
    }
}

/// The body of `POST /teams/{tid}/invites`.
struct NewInvites: RequestModel {
    let addresses: [EmailAddress]

    init(_ fields: inout JSONFields) throws {
        let list = try fields.strings("emailList")
        try fields.finish()
        var validation = Validation()
        var addresses: [EmailAddress] = []
        // An empty list is one: nobody is invited.
        if list == nil { validation.refuse("emailList", "emailList is a required field") }
        for (index, text) in (list ?? []).enumerated() {
            if let address = EmailAddress(text) {
                addresses.append(address)
            } else if index < Invites.addressLimit {
                validation.refuse("emailList[\(index)]", "address provided was not a valid email")
            }
        }
        addresses = EmailAddress.unique(addresses)
        if list?.count ?? 0 > Invites.addressLimit {
            validation.refuse("emailList", "emailList must contain at maximum \(Invites.addressLimit) items")
        }
        try validation.finish()
        self.addresses = addresses
    }
}

/// The body of `PATCH /teams/{tid}/invites/{iid}`.
struct InviteAnswer: RequestModel {
    let accepted: Bool

    init(_ fields: inout JSONFields) throws {
        let accepted = try fields.boolean("accepted")
        try fields.finish()
        guard let accepted else {
            throw RequestError.validation([.init("accepted", "accepted is a required field")])
        }
        self.accepted = accepted
    }
}
