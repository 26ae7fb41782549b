import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("accounts", .serialized) struct AccountTests {
    private static let subject = "auth0|60a666916089a00069b2a773"

    private func body(
        _ subject: String = AccountTests.subject, email: String = "claimed@x.io", more: String = ""
    )
        -> String
    {
        "{\"auth0Id\":\"\(subject)\",\"email\":\"\(email)\",\"firstName\":\"Test\"\(more)}"
    }

    @Test("the first login: unknown, registered, linked, known (scenario 1)")
    func firstLogin() async throws {
        try await UsersTest.run { test in
            test.auth.add(.init(id: Self.subject, email: "testuser@devpie.io", isVerified: true))
            let before = try await test.send("GET", "/me", subject: Self.subject)
            #expect(before.status == 404 && before.error == "user not found")
            let created = try await test.send(
                "POST", "", subject: Self.subject, body(more: ",\"lastName\":null,\"locale\":\"de\""))
            #expect(created.status == 201)
            let id = created.text("id")
            // The address and its proof are Auth0's, whatever the body says (B7).
            #expect(
                created.text("email") == "testuser@devpie.io"
                    && created.object["emailVerified"] as? Bool == true)
            #expect(created.text("auth0Id") == Self.subject && created.text("firstName") == "Test")
            #expect(created.object["lastName"] is NSNull && created.text("locale") == "de")
            #expect(test.auth.account(Self.subject)?.linkedID == id)
            let me = try await test.send("GET", "/me", subject: Self.subject, userID: id)
            #expect(me.status == 200 && me.body == created.body)
            let again = try await test.send("POST", "", subject: Self.subject, userID: id, body())
            #expect(again.status == 202 && again.body == created.body)
            #expect(
                try await test.sql("SELECT count(*) FROM users WHERE auth0_id = '\(Self.subject)'") == "1")
            #expect(test.auth.complaints.isEmpty)
        }
    }

    @Test("nobody registers as somebody else, and Auth0 is not even asked (scenario 2)")
    func otherSubject() async throws {
        try await UsersTest.run { test in
            let reply = try await test.send("POST", "", subject: Self.subject, body("auth0|other"))
            #expect(reply.status == 403)
            #expect(test.auth.with { $0.requests.isEmpty })
        }
    }

    @Test("calls at the same moment make one row (scenario 3)")
    func concurrent() async throws {
        try await UsersTest.run { test in
            test.auth.add(.init(id: Self.subject, email: "testuser@devpie.io", isVerified: true))
            let replies = try await withThrowingTaskGroup(of: TestReply.self) { group in
                for _ in 0..<8 {
                    group.addTask { try await test.send("POST", "", subject: Self.subject, body()) }
                }
                return try await group.reduce(into: [TestReply]()) { $0.append($1) }
            }
            #expect(replies.map(\.status).sorted() == [201] + Array(repeating: 202, count: 7))
            #expect(Set(replies.map { $0.text("id") }).count == 1)
            #expect(
                try await test.sql("SELECT count(*) FROM users WHERE auth0_id = '\(Self.subject)'") == "1")
            #expect(test.auth.count("POST /oauth/token") == 1)
        }
    }

    @Test("an invited person gets the row that waits, once Auth0 says the address is theirs")
    func placeholder() async throws {
        try await UsersTest.run { test in
            let waiting = "d0000000-0000-4000-8000-00000000000d"
            try await test.sql(
                "INSERT INTO users (user_id, auth0_id, email) VALUES ('\(waiting)', 'pending|1', 'New@devpie.io')"
            )
            test.auth.add(.init(id: Self.subject, email: "new@devpie.io", isVerified: false))
            let unverified = try await test.send("POST", "", subject: Self.subject, body())
            #expect(unverified.status == 409 && unverified.error == "email is held by another account")
            #expect(test.auth.account(Self.subject)?.linkedID == nil)
            test.auth.with { $0.accounts[Self.subject]?.isVerified = true }
            async let first = test.send("POST", "", subject: Self.subject, body())
            async let second = test.send("POST", "", subject: Self.subject, body())
            let replies = try await [first, second]
            #expect(replies.map(\.status).sorted() == [201, 202])
            #expect(replies.allSatisfy { $0.text("id") == waiting && $0.text("auth0Id") == Self.subject })
            #expect(test.auth.account(Self.subject)?.linkedID == waiting)
        }
    }

    @Test("an address that another account holds is refused, in other letters too")
    func emailIsTaken() async throws {
        try await UsersTest.run { test in
            test.auth.add(.init(id: Self.subject, email: "ANN@x.io", isVerified: true))
            let before = try await test.fingerprint()
            let reply = try await test.send("POST", "", subject: Self.subject, body())
            #expect(reply.status == 409)
            #expect(try await test.fingerprint() == before)
        }
    }

    @Test("an account without an address that mail can reach is refused", arguments: [nil, "nobody", ""])
    func noAddress(_ email: String?) async throws {
        try await UsersTest.run { test in
            test.auth.add(.init(id: Self.subject, email: email, isVerified: true))
            let reply = try await test.send("POST", "", subject: Self.subject, body())
            #expect(reply.status == 400 && reply.error == "address provided was not a valid email")
        }
    }

    @Test("when Auth0 fails the answer is 502, and a retry is safe")
    func providerIsAway() async throws {
        try await UsersTest.run { test in
            test.auth.add(.init(id: Self.subject, email: "testuser@devpie.io", isVerified: true))
            for call in ["POST /oauth/token", "GET /api/v2/users/", "PATCH /api/v2/users/"] {
                test.auth.interject(call, StandInAnswer(status: 400))
                let reply = try await test.send("POST", "", subject: Self.subject, body())
                #expect(reply.status == 502 && reply.error == "identity provider unavailable")
            }
            // The last failure came after the row was made.
            let reply = try await test.send("POST", "", subject: Self.subject, body())
            #expect(reply.status == 202)
            #expect(test.auth.account(Self.subject)?.linkedID == reply.text("id"))
            #expect(!test.service.log.text.contains(AuthStandIn.secret))
            #expect(!test.service.log.text.contains("testuser@devpie.io"))
            #expect(!test.service.log.text.contains("token-1"))
        }
    }

    @Test("a token whose account is gone at Auth0 registers nobody")
    func unknownAccount() async throws {
        try await UsersTest.run { test in
            let reply = try await test.send("POST", "", subject: Self.subject, body())
            #expect(reply.status == 404 && reply.error == "user not found")
        }
    }

    @Test("without credentials the service starts, says so, and answers 503 with the reason")
    func notConfigured() async throws {
        let variables = ["CLIENT": "M_2_M_CLIENT", "SECRET": "M_2_M_SECRET", "AUDIENCE": "MAPI_AUDIENCE"]
        let none = Dictionary(uniqueKeysWithValues: variables.values.map { ("API_WEB_AUTH_\($0)", "none") })
        try await UsersTest.run(environment: none) { test in
            let team = try await test.makeTeam()
            for reply in [
                try await test.send("POST", "", subject: Self.subject, body()),
                try await test.send(
                    "POST", "/teams/\(team)/invites", as: UsersTest.ann, "{\"emailList\":[\"n@x.io\"]}"),
            ] {
                #expect(reply.status == 503)
                #expect(reply.error.contains("API_WEB_AUTH_M_2_M_CLIENT"))
            }
            #expect(test.service.log.text.contains("nobody can register"))
            #expect(try await test.sql("SELECT count(*) FROM invites") == "0")
        }
        try await UsersTest.run(environment: ["API_WEB_SENDGRID_API_KEY": "none"]) { test in
            let team = try await test.makeTeam()
            let reply = try await test.send(
                "POST", "/teams/\(team)/invites", as: UsersTest.ann, "{\"emailList\":[\"n@x.io\"]}")
            #expect(reply.status == 503 && reply.error.contains("API_WEB_SENDGRID_API_KEY"))
        }
    }

    @Test(
        "what is wrong with a new user is named",
        arguments: [
            ("{}", ["auth0Id", "email", "firstName"]),
            ("{\"auth0Id\":\"s\",\"email\":\"a@x.io\",\"firstName\":null}", ["firstName"]),
            ("{\"auth0Id\":\"\",\"email\":\"\",\"firstName\":\"\"}", ["auth0Id", "email"]),
            (
                "{\"auth0Id\":\"s\",\"email\":\"a@x.io\",\"firstName\":\"\",\"locale\":\"123456789\",\"picture\":\""
                    + String(repeating: "p", count: 256) + "\"}", ["picture", "locale"]
            ),
        ])
    func validation(_ body: String, _ fields: [String]) async throws {
        try await UsersTest.run { test in
            let reply = try await test.send("POST", "", subject: Self.subject, body)
            #expect(reply.status == 400 && reply.error == "field validation error")
            let named = (reply.object["fields"] as? [[String: String]])?.compactMap { $0["field"] }
            #expect(named == fields)
        }
    }

    @Test("me: a claim that is no UUID is 400, an account that is gone 404, no token 401")
    func me() async throws {
        try await UsersTest.run { test in
            let bad = try await test.send("GET", "/me", as: "123")
            #expect(bad.status == 400 && bad.error == "id provided was not a valid UUID")
            #expect(try await test.send("GET", "/me", as: .makeUUID()).status == 404)
            #expect(try await test.send("GET", "/me").status == 401)
            #expect(try await test.send("GET", "/me", as: UsersTest.ann).text("email") == "ann@x.io")
        }
    }

    @Test("a profile changes where it is told to, and its time goes up")
    func update() async throws {
        try await UsersTest.run { test in
            let before = try await test.send("GET", "/me", as: UsersTest.ann)
            let changed = try await test.send(
                "PATCH", "/me", as: UsersTest.ann,
                "{\"lastName\":\"O'Hara; DROP TABLE users\",\"picture\":\"\"}")
            #expect(changed.status == 200)
            #expect(
                changed.text("firstName") == "Ann" && changed.text("lastName") == "O'Hara; DROP TABLE users")
            #expect(changed.object["picture"] as? String == "" && changed.object["locale"] is NSNull)
            let times = try [before, changed].map { try #require(Timestamp(eventText: $0.text("updatedAt"))) }
            #expect(times[1] > times[0])
            #expect(try await test.send("GET", "/me", as: UsersTest.ann).body == changed.body)
            let refused = try await test.send("PATCH", "/me", as: UsersTest.ann, "{\"email\":\"x@x.io\"}")
            #expect(refused.status == 400 && refused.error == "json: unknown field \"email\"")
            #expect(try await test.send("PATCH", "/me", as: .makeUUID(), "{}").status == 404)
            #expect(try await test.send("PATCH", "/me", subject: Self.subject, "{}").status == 403)
        }
    }
}
