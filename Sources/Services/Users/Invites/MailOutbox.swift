import Postgres
import ServicesCore

/// How far an invitation mail has come. Each step is recorded before the next begins, so that after a crash the
/// worker goes on where it was; a step that was done and not yet recorded is done again, and is made for that.
enum MailStep: String, Sendable, PostgresEncodable {
    /// Nothing is done. A new person still has the placeholder for an Auth0 id.
    case pending
    /// The person has an Auth0 account, which does not yet know our id.
    case created
    /// The account carries our id; a password ticket is to be made.
    case linked
    /// The link that goes into the mail is known.
    case ready
    /// SendGrid has the mail.
    case sent
    /// Given up after `MailOutbox.tries` tries.
    case failed
    /// There is nothing to send any more: the invite was withdrawn, decided or has expired.
    case withdrawn

    /// As the column `mail_outbox.state` holds it.
    var postgresParameter: PostgresParameter { rawValue.postgresParameter }
}

/// A mail that the worker has taken for one try.
struct MailJob: Sendable {
    let sequence: Int64
    let recipient: String
    let inviteID: String
    let step: MailStep
    /// Which try this is, from 1.
    let attempt: Int
    /// The link for the mail, once it is known.
    let link: String?
    /// Whom the invite is for; `nil` when nobody has to be told any more.
    let invitee: Invitee?

    /// The person who is invited, as the users table knows them.
    struct Invitee: Sendable {
        let userID: String
        let auth0ID: Auth0ID
        /// Whether the address is known to be theirs.
        let isEmailVerified: Bool
    }
}

/// The table `mail_outbox`: invitation mails that are to be sent, and how far each has come.
///
/// A try holds a lease on its row (`next_attempt_at`) that each recorded step extends. When a replica dies, its lease
/// runs out and another takes the row over; the number of the try keeps the two apart.
struct MailOutbox: Sendable {
    let database: Database

    /// After so many tries a mail is given up.
    static let tries = 5
    /// Longer than any one step takes, with all its retries: making a ticket may be four calls and twice as many when the
    /// token was revoked, 35 s each.
    static let lease = Duration.seconds(300)

    /// Takes the next mail that is due.
    ///
    /// - Throws: `PostgresError`.
    func take() async throws -> MailJob? {
        let rows = try await database.query(
            """
            WITH taken AS (
              UPDATE mail_outbox SET attempts = attempts + 1, updated_at = clock_timestamp() AT TIME ZONE 'utc',
                next_attempt_at = clock_timestamp() AT TIME ZONE 'utc' + make_interval(secs => \(Self.lease.seconds))
              WHERE seq = (
                SELECT seq FROM mail_outbox
                WHERE state NOT IN ('sent', 'failed', 'withdrawn')
                  AND next_attempt_at <= clock_timestamp() AT TIME ZONE 'utc'
                ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED)
              RETURNING seq, recipient, invite_id, state, attempts, link)
            SELECT taken.seq, taken.recipient, taken.invite_id, taken.state, taken.attempts, taken.link,
              users.user_id, users.auth0_id, users.email_verified
            FROM taken
            LEFT JOIN invites ON invites.invite_id = taken.invite_id AND invites.accepted IS NOT TRUE
              AND invites.declined_at IS NULL AND invites.expiration > clock_timestamp() AT TIME ZONE 'utc'
            LEFT JOIN users ON users.user_id = invites.user_id
            """)
        guard let row = rows.first else { return nil }
        let (sequence, recipient, inviteID, state, attempt, link, userID, auth0ID, isVerified) =
            try row.decode(
                Int64.self, String.self, String.self, String.self, Int.self, String?.self, String?.self,
                String?.self, Bool?.self)
        guard let step = MailStep(rawValue: state) else {
            throw PostgresError(
                .decoding, "mail_outbox \(sequence) has the state \"\(state)\", which no version knows")
        }
        var invitee: MailJob.Invitee?
        if let userID, let auth0ID, let isVerified {
            invitee = .init(
                userID: userID, auth0ID: Auth0ID(stored: auth0ID), isEmailVerified: isVerified)
        }
        return MailJob(
            sequence: sequence, recipient: recipient, inviteID: inviteID, step: step, attempt: attempt,
            link: link,
            invitee: invitee)
    }

    /// Records that a step is done, and extends the lease.
    ///
    /// - Throws: `LeaseLost`, `PostgresError`.
    func record(_ step: MailStep, link: String? = nil, of job: MailJob) async throws {
        try Self.check(try await database.query(Self.recording(step, link: link, of: job)))
    }

    /// Replaces the placeholder for a person's Auth0 id and records the step, both or neither.
    ///
    /// - Returns: Whether it was replaced; not if it was before, or if the account is somebody else's here.
    /// - Throws: `LeaseLost`, `PostgresError`.
    func adopt(_ account: Auth0User, for invitee: MailJob.Invitee, of job: MailJob) async throws -> Bool {
        try await database.transaction { transaction in
            let updated = try await transaction.query(
                """
                UPDATE users SET auth0_id = \(account.id), email_verified = \(account.isEmailVerified),
                  first_name = COALESCE(first_name, left(\(account.nickname), 255)),
                  picture = COALESCE(picture, left(\(account.picture), 255)),
                  updated_at = \(sql: .later(than: "updated_at"))
                WHERE user_id = \(invitee.userID) AND auth0_id LIKE 'pending|%'
                  AND NOT EXISTS (SELECT 1 FROM users WHERE auth0_id = \(account.id))
                """)
            guard updated.affectedRows == 1 else { return false }
            try Self.check(try await transaction.query(Self.recording(.created, of: job)))
            return true
        }
    }

    /// Ends a try that failed: the mail is due again after a pause, or given up.
    ///
    /// - Returns: Whether it was given up.
    /// - Throws: `LeaseLost`, `PostgresError`.
    func fail(_ job: MailJob, reason: String, retryAfter: Duration?) async throws -> Bool {
        guard job.attempt < Self.tries else {
            try await finish(job, as: .failed, reason: reason)
            return true
        }
        let pause = max(Self.pause(afterAttempt: job.attempt), retryAfter ?? .zero)
        let updated = try await database.query(
            """
            UPDATE mail_outbox SET last_error = \(reason), updated_at = clock_timestamp() AT TIME ZONE 'utc',
              next_attempt_at = clock_timestamp() AT TIME ZONE 'utc' + make_interval(secs => \(pause.seconds))
            WHERE seq = \(job.sequence) AND attempts = \(job.attempt)
            """)
        try Self.check(updated)
        return false
    }

    /// Ends a mail for good. Its link goes, because a password ticket is a secret.
    ///
    /// - Throws: `LeaseLost`, `PostgresError`.
    func finish(_ job: MailJob, as step: MailStep, reason: String? = nil) async throws {
        let updated = try await database.query(
            """
            UPDATE mail_outbox SET state = \(step), link = NULL, last_error = \(reason),
              updated_at = clock_timestamp() AT TIME ZONE 'utc'
            WHERE seq = \(job.sequence) AND attempts = \(job.attempt)
            """)
        try Self.check(updated)
    }

    /// Gives a mail back untried, at shutdown.
    ///
    /// - Throws: `PostgresError`.
    func release(_ job: MailJob) async throws {
        try await database.query(
            """
            UPDATE mail_outbox SET attempts = attempts - 1, next_attempt_at = clock_timestamp() AT TIME ZONE 'utc'
            WHERE seq = \(job.sequence) AND attempts = \(job.attempt)
            """)
    }

    /// How long a mail rests after its n-th failed try: 5 s, 20 s, 80 s, 320 s.
    static func pause(afterAttempt attempt: Int) -> Duration { .seconds(5 << (2 * (attempt - 1))) }

    private static func recording(_ step: MailStep, link: String? = nil, of job: MailJob) -> PostgresQuery {
        """
        UPDATE mail_outbox SET state = \(step), link = \(link), updated_at = clock_timestamp() AT TIME ZONE 'utc',
          next_attempt_at = clock_timestamp() AT TIME ZONE 'utc' + make_interval(secs => \(lease.seconds))
        WHERE seq = \(job.sequence) AND attempts = \(job.attempt)
        """
    }

    private static func check(_ updated: PostgresResult) throws(LeaseLost) {
        if updated.affectedRows != 1 { throw LeaseLost() }
    }
}

/// Another replica has taken the mail over, because this one was slower than its lease.
struct LeaseLost: Error {}
