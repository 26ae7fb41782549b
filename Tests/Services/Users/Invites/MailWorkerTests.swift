import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("invitation mails", .serialized) struct MailWorkerTests {
    private static let ann = EventSource(traceID: "t", userID: "a4b54ec1-57f9-4c39-ab53-d936dbb6c177")
    private static let team = "39541c75-ca3e-4e2b-9728-54327772d001"

    /// Ann with her team, and Bob with an account.
    private func seed(_ outside: Outside) async throws {
        try await outside.database.sql(
            """
            INSERT INTO users (user_id, auth0_id, email, email_verified) VALUES
              ('\(Self.ann.userID)', 'auth0|ann', 'ann@x.io', TRUE), ('b', 'auth0|bob', 'Bob@x.io', TRUE);
            INSERT INTO teams (team_id, user_id, name) VALUES ('\(Self.team)', '\(Self.ann.userID)', 'Team');
            INSERT INTO memberships (membership_id, user_id, team_id, role)
              VALUES ('m', '\(Self.ann.userID)', '\(Self.team)', 'administrator')
            """)
    }

    private func invite(_ outside: Outside, _ addresses: String...) async throws {
        try await Invites(database: outside.statements)
            .create(addresses.compactMap { EmailAddress($0) }, for: Self.team, by: Self.ann)
    }

    private func states(_ outside: Outside) async throws -> String {
        try await outside.database.sql(
            "SELECT recipient, state, attempts, link IS NULL FROM mail_outbox ORDER BY recipient")
    }

    @Test("each new person gets a ticket of their own, somebody known the plain link (B5)")
    func links() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "new@x.io", "bob@x.io", "third@x.io", "ann@x.io")
            try await clients.worker.workOff()
            let mails = Dictionary(uniqueKeysWithValues: outside.mail.mails.map { ($0.to, $0.link) })
            #expect(mails.keys.sorted() == ["Bob@x.io", "new@x.io", "third@x.io"])
            #expect(mails["Bob@x.io"] == Outside.frontEnd)
            let tickets = outside.auth.with { $0.tickets }
            #expect(tickets.count == 2 && Set(tickets.values).count == 2)
            for email in ["new@x.io", "third@x.io"] {
                #expect(mails[email] == tickets[email].map { $0 + "invite" })
                let row = try await outside.database.sql(
                    "SELECT user_id, auth0_id, first_name FROM users WHERE email = '\(email)'"
                ).split(separator: "|", maxSplits: 1)
                let account = try #require(outside.auth.account(email: email))
                #expect(row[1] == "\(account.id)|\(email.prefix { $0 != "@" })")
                #expect(account.linkedID == String(row[0]))
            }
            #expect(try await states(outside) == "Bob@x.io|sent|1|t\nnew@x.io|sent|1|t\nthird@x.io|sent|1|t")
            #expect(outside.auth.complaints.isEmpty && outside.mail.complaints.isEmpty)
            #expect(outside.auth.count("POST /oauth/token") == 1)
        }
    }

    @Test("an account that Auth0 has with a verified address is adopted, one without waits for its owner")
    func existingAccounts() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            outside.auth.add(.init(id: "auth0|known", email: "known@x.io", isVerified: true))
            outside.auth.add(.init(id: "auth0|claimed", email: "claimed@x.io", isVerified: false))
            try await invite(outside, "known@x.io", "claimed@x.io")
            try await clients.worker.workOff()
            let users = try await outside.database.sql(
                "SELECT email, left(auth0_id, 8) FROM users WHERE email LIKE '%k%n%' OR email LIKE 'cl%' ORDER BY email"
            )
            #expect(users == "claimed@x.io|pending|\nknown@x.io|auth0|kn")
            #expect(outside.auth.account("auth0|claimed")?.linkedID == nil)
            #expect(outside.auth.account("auth0|known")?.linkedID != nil)
            // Both are sent a ticket: it proves whose address it is.
            for mail in outside.mail.mails {
                #expect(mail.link == outside.auth.with { $0.tickets[mail.to] }.map { $0 + "invite" })
            }
            #expect(outside.mail.mails.count == 2)
        }
    }

    @Test(
        "an account that has never proved its address gets a ticket again; one that has since, the plain link"
    )
    func neverVerified() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "new@x.io")
            try await clients.worker.workOff()
            let first = outside.auth.with { $0.tickets["new@x.io"] }
            try await invite(outside, "new@x.io")
            try await clients.worker.workOff()
            let second = outside.auth.with { $0.tickets["new@x.io"] }
            #expect(first != second)
            #expect(outside.mail.mails.map(\.link) == [first, second].map { ($0 ?? "") + "invite" })
            #expect(outside.auth.count("POST /api/v2/users") == 1)
            let id = try #require(outside.auth.account(email: "new@x.io")?.id)
            outside.auth.with { $0.accounts[id]?.isVerified = true }
            try await invite(outside, "new@x.io")
            try await clients.worker.workOff()
            #expect(outside.mail.mails.last?.link == Outside.frontEnd)
            #expect(outside.auth.complaints.isEmpty)
        }
    }

    @Test(
        "a failure at any step is tried again from that step, and nothing before it is repeated",
        arguments: [
            "POST /api/v2/users", "PATCH /api/v2/users/", "GET /api/v2/connections", "POST /api/v2/tickets",
            "mail",
        ])
    func resumes(_ step: String) async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "new@x.io")
            let refusal = StandInAnswer(status: 400)
            if step == "mail" {
                outside.mail.interject(refusal)
            } else {
                outside.auth.interject(step, refusal)
            }
            try await clients.worker.workOff()
            #expect(outside.mail.mails.isEmpty)
            let waits = try await outside.database.sql(
                """
                SELECT attempts, last_error LIKE '%answered 400%', round(extract(epoch FROM
                  next_attempt_at - updated_at)) FROM mail_outbox
                """)
            #expect(waits == "1|t|5")
            try await outside.database.sql(
                "UPDATE mail_outbox SET next_attempt_at = now() AT TIME ZONE 'utc'")
            try await clients.worker.workOff()
            #expect(outside.mail.mails.count == 1)
            #expect(outside.auth.count("POST /api/v2/users") == (step == "POST /api/v2/users" ? 2 : 1))
            #expect(outside.auth.count("PATCH /api/v2/users/") == (step == "PATCH /api/v2/users/" ? 2 : 1))
            #expect(outside.auth.count("POST /api/v2/tickets") == (step == "POST /api/v2/tickets" ? 2 : 1))
            #expect(try await states(outside) == "new@x.io|sent|2|t")
        }
    }

    @Test("a process that died between an answer and its record does the step again, and one account remains")
    func crash() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "new@x.io")
            // What a replica leaves that died right after Auth0 had made the account.
            let job = try #require(try await clients.worker.outbox.take())
            _ = try await clients.auth0.createUser(email: job.recipient)
            // Nobody else takes it within the lease.
            try await clients.worker.workOff()
            #expect(outside.mail.mails.isEmpty)
            try await outside.database.sql(
                "UPDATE mail_outbox SET next_attempt_at = now() AT TIME ZONE 'utc'")
            try await clients.worker.workOff()
            #expect(outside.mail.mails.count == 1)
            #expect(outside.auth.with { $0.accounts.count } == 1)
            // The one that comes back late can record nothing any more.
            await #expect(throws: LeaseLost.self) { try await clients.worker.outbox.record(.ready, of: job) }
            await #expect(throws: LeaseLost.self) { try await clients.worker.outbox.finish(job, as: .failed) }
        }
    }

    @Test("after five tries a mail is given up, with growing pauses between them")
    func givesUp() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "bob@x.io")
            for pause in [5, 20, 80, 320] {
                outside.mail.interject(StandInAnswer(status: 401))
                try await clients.worker.workOff()
                let left = try await outside.database.sql(
                    "SELECT round(extract(epoch FROM next_attempt_at - updated_at)) FROM mail_outbox")
                #expect(left == "\(pause)")
                try await outside.database.sql(
                    "UPDATE mail_outbox SET next_attempt_at = now() AT TIME ZONE 'utc'")
            }
            outside.mail.interject(StandInAnswer(status: 401))
            try await clients.worker.workOff()
            #expect(try await states(outside) == "Bob@x.io|failed|5|t")
            // Inviting again begins anew.
            try await invite(outside, "bob@x.io")
            try await clients.worker.workOff()
            #expect(outside.mail.mails.map(\.to) == ["Bob@x.io"])
        }
    }

    @Test("a pause that the other side asks for is kept when it is longer than ours")
    func retryAfter() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "bob@x.io")
            outside.mail.interject(StandInAnswer(status: 429, headers: ["retry-after": "3600"]))
            try await clients.worker.workOff()
            let left = try await outside.database.sql(
                "SELECT round(extract(epoch FROM next_attempt_at - updated_at)) FROM mail_outbox")
            #expect(left == "3600")
        }
    }

    @Test("an invite that was answered, withdrawn or has expired is not mailed any more")
    func withdrawn() async throws {
        for change in [
            "DELETE FROM invites", "UPDATE invites SET accepted = TRUE",
            "UPDATE invites SET declined_at = now() AT TIME ZONE 'utc'",
            "UPDATE invites SET expiration = now() AT TIME ZONE 'utc'",
        ] {
            try await Outside.run { outside, clients in
                try await seed(outside)
                try await invite(outside, "new@x.io")
                try await outside.database.sql(change)
                try await clients.worker.workOff()
                #expect(outside.mail.mails.isEmpty && outside.auth.count("POST") == 0)
                #expect(try await states(outside) == "new@x.io|withdrawn|1|t")
            }
        }
    }

    @Test("an open invite is renewed and mailed again, without another row")
    func renewed() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "bob@x.io")
            try await outside.database.sql(
                "UPDATE invites SET expiration = (now() AT TIME ZONE 'utc') + interval '1 day'")
            try await invite(outside, "bob@x.io")
            try await clients.worker.workOff()
            try await invite(outside, "BOB@x.io")
            try await clients.worker.workOff()
            #expect(outside.mail.mails.map(\.to) == ["Bob@x.io", "Bob@x.io", "Bob@x.io"])
            let rows = try await outside.database.sql(
                """
                SELECT count(*), bool_and(expiration > (now() AT TIME ZONE 'utc') + interval '4 days 23 hours')
                FROM invites
                """)
            #expect(rows == "1|t")
        }
    }

    @Test("a try holds its mail for longer than the slowest step takes")
    func lease() async throws {
        try await Outside.run { _, clients in
            let api = clients.auth0.api
            let call = api.timeout * api.tries + api.longestPause * (api.tries - 1)
            // A ticket: the connection and the ticket, each once more after a token was revoked, each with a token.
            #expect(MailOutbox.lease >= call * 8)
        }
    }

    @Test("two workers send each mail once")
    func twoWorkers() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            for index in 0..<10 { try await invite(outside, "new\(index)@x.io") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<3 { group.addTask { try await clients.worker.workOff() } }
                try await group.waitForAll()
            }
            #expect(outside.mail.mails.map(\.to).sorted() == (0..<10).map { "new\($0)@x.io" })
        }
    }

    @Test("at shutdown a mail is given back between two steps, and no try is counted")
    func stops() async throws {
        try await Outside.run { outside, clients in
            try await seed(outside)
            try await invite(outside, "new@x.io")
            try await clients.worker.workOff(isStopping: { outside.auth.count("PATCH") == 1 })
            #expect(try await outside.database.sql("SELECT state, attempts FROM mail_outbox") == "linked|0")
            try await clients.worker.workOff()
            #expect(outside.mail.mails.count == 1)
        }
    }
}
