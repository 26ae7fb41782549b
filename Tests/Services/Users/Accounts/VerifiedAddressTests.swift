import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("an address that is not verified", .serialized) struct VerifiedAddressTests {
    private static let mallory = "d0000000-0000-4000-8000-00000000000d"
    private static let refusal =
        "email address is not verified: follow the link in the mail that was sent to it, then try again"

    private func body(_ subject: String) -> String {
        "{\"auth0Id\":\"\(subject)\",\"email\":\"victim@x.io\",\"firstName\":\"Vic\"}"
    }

    /// Mallory signed up with the address of somebody else, who is then invited; lends the team and the invite.
    private func run(
        environment: [String: String] = [:],
        _ body: @escaping @Sendable (UsersTest, _ team: String, _ invite: String) async throws -> Void
    ) async throws {
        try await UsersTest.run(environment: environment) { test in
            test.auth.add(.init(id: "auth0|mallory", email: "victim@x.io"))
            try await test.sql(
                """
                INSERT INTO users (user_id, auth0_id, email)
                VALUES ('\(Self.mallory)', 'auth0|mallory', 'victim@x.io')
                """)
            let team = try await test.makeTeam()
            try await body(test, team, try await test.invite(Self.mallory, to: team))
        }
    }

    @Test("admits to no invite that was meant for its owner, and shows none")
    func refused() async throws {
        try await run { test, team, invite in
            let before = try await test.fingerprint()
            for (method, path, body) in [
                ("GET", "/teams/invites", nil), ("GET", "/teams/\(team)", nil),
                ("PATCH", "/teams/\(team)/invites/\(invite)", "{\"accepted\":true}"),
                ("PATCH", "/teams/\(team)/invites/\(invite)", "{\"accepted\":false}"),
            ] {
                let reply = try await test.send(method, path, as: Self.mallory, body)
                #expect(
                    reply.status == 403 && reply.error == Self.refusal, "\(method) \(path): \(reply.body)")
            }
            #expect(try await test.fingerprint() == before)
            // Without an invite there is nothing to hide; and other routes need no proof.
            try await test.sql("DELETE FROM invites")
            #expect(try await test.send("GET", "/teams/invites", as: Self.mallory).body == "[]")
            #expect(try await test.send("GET", "/teams/\(team)", as: Self.mallory).status == 404)
            #expect(try await test.send("GET", "/me", as: Self.mallory).status == 200)
        }
    }

    @Test("is asked about again at Auth0, so that whoever has verified it since is let in at once")
    func verifiedSince() async throws {
        try await run { test, team, invite in
            test.auth.interject("GET /api/v2/users/", StandInAnswer(status: 400))
            let failed = try await test.send("GET", "/teams/invites", as: Self.mallory)
            #expect(failed.status == 502 && failed.error == "identity provider unavailable")
            test.auth.with { $0.accounts["auth0|mallory"]?.isVerified = true }
            #expect(try await test.send("GET", "/teams/invites", as: Self.mallory).array.count == 1)
            let accepted = try await test.send(
                "PATCH", "/teams/\(team)/invites/\(invite)", as: Self.mallory, "{\"accepted\":true}")
            #expect(accepted.status == 200)
            // Once is enough.
            #expect(test.auth.count("GET /api/v2/users/") == 2)
        }
    }

    @Test("is refused without Auth0 too")
    func withoutAuth0() async throws {
        let none = ["CLIENT": "M_2_M_CLIENT", "SECRET": "M_2_M_SECRET", "AUDIENCE": "MAPI_AUDIENCE"].values
        let environment = Dictionary(uniqueKeysWithValues: none.map { ("API_WEB_AUTH_\($0)", "none") })
        try await run(environment: environment) { test, _, _ in
            let reply = try await test.send("GET", "/teams/invites", as: Self.mallory)
            #expect(reply.status == 403 && reply.error == Self.refusal)
        }
    }

    @Test("is brought up to date by every POST /users, both ways")
    func refreshed() async throws {
        try await run { test, _, _ in
            let register = {
                try await test.send(
                    "POST", "", subject: "auth0|mallory", userID: Self.mallory, body("auth0|mallory"))
            }
            for isVerified in [true, false] {
                test.auth.with { $0.accounts["auth0|mallory"]?.isVerified = isVerified }
                let reply = try await register()
                #expect(reply.status == 202 && reply.object["emailVerified"] as? Bool == isVerified)
            }
        }
    }

    @Test("that was invited before anybody had it goes to the account that moves to it")
    func moved() async throws {
        try await run { test, team, invite in
            try await test.sql("UPDATE users SET auth0_id = 'pending|1' WHERE user_id = '\(Self.mallory)'")
            let bob = "e0000000-0000-4000-8000-00000000000e"
            try await test.sql(
                """
                INSERT INTO users (user_id, auth0_id, email, email_verified)
                VALUES ('\(bob)', 'auth0|bob', 'bob@old.io', TRUE)
                """)
            test.auth.add(.init(id: "auth0|bob", email: "victim@x.io", isVerified: true))
            let reply = try await test.send("POST", "", subject: "auth0|bob", userID: bob, body("auth0|bob"))
            #expect(reply.status == 202 && reply.text("email") == "victim@x.io", "\(reply.body)")
            let open = try await test.send("GET", "/teams/invites", as: bob).array
            #expect(open.map { $0["id"] as? String } == [invite])
        }
    }

    @Test("goes to the account that has verified it, with the invites that were meant for it")
    func claimed() async throws {
        try await run { test, team, invite in
            test.auth.add(.init(id: "google-oauth2|victim", email: "Victim@x.io", isVerified: true))
            async let first = test.send(
                "POST", "", subject: "google-oauth2|victim", body("google-oauth2|victim"))
            async let second = test.send(
                "POST", "", subject: "google-oauth2|victim", body("google-oauth2|victim"))
            let replies = try await [first, second]
            #expect(replies.map(\.status).sorted() == [201, 202])
            let victim = replies[0].text("id")
            #expect(replies[1].text("id") == victim && victim != Self.mallory)
            #expect(replies[0].text("email") == "Victim@x.io")
            let open = try await test.send("GET", "/teams/invites", as: victim).array
            #expect(open.map { $0["id"] as? String } == [invite])
            let path = "/teams/\(team)/invites/\(invite)"
            #expect(try await test.send("PATCH", path, as: Self.mallory, "{\"accepted\":true}").status == 404)
            #expect(try await test.send("PATCH", path, as: victim, "{\"accepted\":true}").status == 200)
            // Mallory is still somebody, whom no mail reaches; and can prove an address of his own.
            let mallory = try await test.send("GET", "/me", as: Self.mallory)
            #expect(mallory.text("email") == "\(Self.mallory)@unverified.invalid")
            test.auth.with {
                $0.accounts["auth0|mallory"]?.email = "m@x.io"
                $0.accounts["auth0|mallory"]?.isVerified = true
            }
            let renewed = try await test.send(
                "POST", "", subject: "auth0|mallory", userID: Self.mallory, body("auth0|mallory"))
            #expect(renewed.text("email") == "m@x.io" && renewed.object["emailVerified"] as? Bool == true)
        }
    }

    @Test("stays with an account that has verified it too, though that is not known here yet")
    func bothVerified() async throws {
        try await run { test, _, _ in
            test.auth.with { $0.accounts["auth0|mallory"]?.isVerified = true }
            test.auth.add(.init(id: "google-oauth2|victim", email: "victim@x.io", isVerified: true))
            let reply = try await test.send(
                "POST", "", subject: "google-oauth2|victim", body("google-oauth2|victim"))
            #expect(reply.status == 409 && reply.error == "email is held by another account")
            #expect(try await test.send("GET", "/teams/invites", as: Self.mallory).array.count == 1)
        }
    }

    @Test("is not proved by another address: the invites that were meant for it are gone")
    func exchanged() async throws {
        try await run { test, team, invite in
            test.auth.with {
                $0.accounts["auth0|mallory"]?.email = "mallory@x.io"
                $0.accounts["auth0|mallory"]?.isVerified = true
            }
            #expect(try await test.send("GET", "/teams/invites", as: Self.mallory).body == "[]")
            let reply = try await test.send(
                "PATCH", "/teams/\(team)/invites/\(invite)", as: Self.mallory, "{\"accepted\":true}")
            #expect(reply.status == 404)
            #expect(try await test.send("GET", "/me", as: Self.mallory).text("email") == "mallory@x.io")
            // An address that is verified by another account is not taken over.
            test.auth.with { $0.accounts["auth0|mallory"]?.email = "ANN@x.io" }
            let register = try await test.send(
                "POST", "", subject: "auth0|mallory", userID: Self.mallory, body("auth0|mallory"))
            #expect(register.status == 202 && register.text("email") == "mallory@x.io")
        }
    }
}
