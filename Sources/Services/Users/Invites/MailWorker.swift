import Logging

/// Sends the invitation mails of the outbox, a step at a time.
struct MailWorker: Sendable {
    let outbox: MailOutbox
    let auth0: Auth0Client
    let sendGrid: SendGridClient
    /// Where an invitation leads somebody who has an account: the front end.
    let frontEnd: String
    let logger: Logger

    /// Works off every mail that is due now, one after the other.
    ///
    /// - Parameter isStopping: Asked before each step; a mail that was begun is then given back.
    /// - Throws: `PostgresError` when the database is away, `CancellationError`.
    func workOff(isStopping: @Sendable () -> Bool = { false }) async throws {
        while !isStopping(), let job = try await outbox.take() {
            do {
                try await work(job, isStopping: isStopping)
            } catch is LeaseLost {
                logger.warning(
                    "another replica took an invitation mail over", metadata: ["invite": "\(job.inviteID)"])
            }
        }
    }

    private func work(_ job: MailJob, isStopping: () -> Bool) async throws {
        guard let invitee = job.invitee else { return try await outbox.finish(job, as: .withdrawn) }
        // A try that never ended, because the process did, counts too.
        guard job.attempt <= MailOutbox.tries else {
            try await outbox.finish(job, as: .failed, reason: "the last try did not end")
            return report(job, "the last try did not end")
        }
        var progress = Progress(step: job.step, link: job.link, auth0ID: invitee.auth0ID)
        do {
            while progress.step != .sent {
                guard !isStopping() else { return try await outbox.release(job) }
                progress = try await advance(progress, invitee, job)
            }
        } catch let error as RemoteAPIError {
            // The call may have been ended by the shutdown itself.
            guard !isStopping() else { return try await outbox.release(job) }
            let isGivenUp = try await outbox.fail(job, reason: "\(error)", retryAfter: error.retryAfter)
            if isGivenUp { return report(job, "\(error)") }
            logger.warning(
                "an invitation mail must wait",
                metadata: ["invite": "\(job.inviteID)", "attempt": "\(job.attempt)", "reason": "\(error)"])
        }
    }

    private struct Progress {
        var step: MailStep
        var link: String?
        var auth0ID: Auth0ID
    }

    /// Does one step and records it.
    private func advance(
        _ progress: Progress, _ invitee: MailJob.Invitee, _ job: MailJob
    ) async throws -> Progress {
        switch (progress.step, progress.auth0ID) {
        case (.pending, .account(let id)):
            guard try await isVerified(invitee, id) else {
                // Without a password, when an earlier invitation has made the account; or made by somebody who does not
                // own the address. The ticket lets its owner in, and nobody else.
                return try await record(.created, progress, job)
            }
            return try await record(.ready, link: frontEnd, progress, job)
        case (.pending, .placeholder):
            guard let account = try await account(for: job) else {
                // Its owner has to prove by the ticket that the address is theirs; POST /users then adopts it.
                return try await record(.linked, progress, job)
            }
            guard try await outbox.adopt(account, for: invitee, of: job) else {
                // They signed up meanwhile.
                return try await record(.ready, link: frontEnd, progress, job)
            }
            return Progress(step: .created, auth0ID: .account(account.id))
        case (.created, let id):
            if case .account(let id) = id { try await auth0.link(id, to: invitee.userID) }
            return try await record(.linked, progress, job)
        case (.linked, _):
            let ticket = try await auth0.passwordTicket(email: job.recipient, returnURL: frontEnd)
            // A ticket ends in "#", so that the front end finds the fragment "#invite".
            return try await record(.ready, link: ticket + "invite", progress, job)
        case (.ready, _):
            try await sendGrid.send(InviteMail(recipient: job.recipient, link: progress.link ?? frontEnd))
            try await outbox.finish(job, as: .sent)
            return Progress(step: .sent, auth0ID: progress.auth0ID)
        case (.sent, _), (.failed, _), (.withdrawn, _):
            preconditionFailure("a mail in the state \(progress.step) is not taken: see MailOutbox.take")
        }
    }

    private func record(
        _ step: MailStep, link: String? = nil, _ progress: Progress, _ job: MailJob
    ) async throws -> Progress {
        try await outbox.record(step, link: link, of: job)
        return Progress(step: step, link: link, auth0ID: progress.auth0ID)
    }

    /// Whether an account can be used by the owner of its address as it is. A ticket exists for accounts with a password
    /// alone; the others have been let in by whoever Auth0 trusts for them.
    private func isVerified(_ invitee: MailJob.Invitee, _ id: String) async throws -> Bool {
        if invitee.isEmailVerified || !id.hasPrefix("auth0|") { return true }
        // What is known here may be old.
        return try await auth0.user(id)?.isEmailVerified ?? true
    }

    /// A new account; one that is there already if Auth0 knows that the address is its owner's, else `nil`.
    ///
    /// Whoever signs up with somebody else's address must not be taken for them before they can read mail sent there.
    private func account(for job: MailJob) async throws -> Auth0User? {
        switch try await auth0.createUser(email: job.recipient) {
        case .created(let account): return account
        case .exists:
            return try await auth0.users(withEmail: job.recipient)
                .first { $0.isEmailVerified && $0.id.hasPrefix("auth0|") }
        }
    }

    private func report(_ job: MailJob, _ reason: String) {
        logger.error(
            "an invitation mail was given up",
            metadata: ["invite": "\(job.inviteID)", "attempts": "\(job.attempt)", "reason": "\(reason)"])
    }
}
