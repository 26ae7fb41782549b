import Foundation
import Testing

@testable import UsersService

@Suite("Auth0's Management API", .serialized) struct Auth0ClientTests {
    @Test("one token serves many calls at once, and is kept in the database")
    func tokenIsShared() async throws {
        try await Outside.run { outside, clients in
            outside.auth.add(.init(id: "auth0|1", email: "ann@x.io", isVerified: true, nickname: "ann"))
            try await withThrowingTaskGroup(of: Auth0User?.self) { group in
                for _ in 0..<20 { group.addTask { try await clients.auth0.user("auth0|1") } }
                for try await user in group { #expect(user?.email == "ann@x.io") }
            }
            #expect(outside.auth.count("POST /oauth/token") == 1)
            let row = try await outside.database.sql(
                "SELECT access_token, scope, expires_in, token_type FROM ma_token")
            #expect(row == "token-1|create:users|86400|Bearer")
            #expect(outside.auth.complaints.isEmpty)
        }
    }

    @Test("whoever found no token before a fetch ended, and asks after it, takes what was fetched")
    func tokenOfLateCaller() async throws {
        try await Outside.run { outside, clients in
            let tokens = ManagementTokens(
                api: clients.auth0.api, credentials: Outside.credentials, database: outside.statements)
            let first = try await tokens.current()
            let late = try await tokens.fetched().value
            #expect(first == "token-1" && late == first)
            #expect(outside.auth.count("POST /oauth/token") == 1)
        }
    }

    @Test("a token is fetched while no transaction waits for it")
    func tokenOutsideOfTransactions() async throws {
        try await Outside.run { outside, clients in
            outside.auth.with { $0.hanging = ["POST /oauth/token"] }
            let call = Task { try await clients.auth0.user("auth0|1") }
            while outside.auth.count("POST /oauth/token") == 0 { await Task.yield() }
            #expect(outside.statements.pool.statistics.lent == 0)
            await outside.clock.finishSleep(of: .seconds(5))
            await #expect(throws: RemoteAPIError.self) { try await call.value }
        }
    }

    @Test("of the tokens that replicas fetch at one moment all take the one that was stored")
    func tokenOfReplicas() async throws {
        try await Outside.run { outside, clients in
            let tokens = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<8 {
                    let replica = ManagementTokens(
                        api: clients.auth0.api, credentials: Outside.credentials, database: outside.statements
                    )
                    group.addTask { try await replica.current() }
                }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(tokens.count == 1)
            #expect(try await outside.database.sql("SELECT access_token FROM ma_token") == tokens.first)
        }
    }

    @Test("a token in its last minute is replaced, and there is one row")
    func tokenExpires() async throws {
        try await Outside.run { outside, clients in
            _ = try await clients.auth0.user("auth0|1")
            for age in [86_330, 86_341] {
                try await outside.database.sql(
                    "UPDATE ma_token SET created_at = clock_timestamp() AT TIME ZONE 'utc' - interval '\(age) seconds'"
                )
                _ = try await clients.auth0.user("auth0|1")
            }
            #expect(outside.auth.count("POST /oauth/token") == 2)
            #expect(try await outside.database.sql("SELECT access_token FROM ma_token") == "token-2")
        }
    }

    @Test("a fetch that fails leaves the old row, and its answer is not kept")
    func tokenFails() async throws {
        try await Outside.run { outside, clients in
            try await outside.database.sql(
                "INSERT INTO ma_token VALUES ('x', 'old', '', 10, 'Bearer', clock_timestamp() AT TIME ZONE 'utc')"
            )
            outside.auth.interject("POST /oauth/token", try .json(["error": "access_denied"], status: 401))
            await #expect(throws: RemoteAPIError.self) { try await clients.auth0.user("auth0|1") }
            outside.auth.interject("POST /oauth/token", try .json(["access_token": "", "expires_in": 1]))
            await #expect(throws: RemoteAPIError.self) { try await clients.auth0.user("auth0|1") }
            #expect(try await outside.database.sql("SELECT access_token FROM ma_token") == "old")
            _ = try await clients.auth0.user("auth0|1")
            #expect(try await outside.database.sql("SELECT access_token FROM ma_token") == "token-1")
        }
    }

    @Test("a token that was revoked is replaced once")
    func tokenIsRevoked() async throws {
        try await Outside.run { outside, clients in
            outside.auth.add(.init(id: "auth0|1", email: "ann@x.io"))
            _ = try await clients.auth0.user("auth0|1")
            outside.auth.with { $0.validTokens = [] }
            #expect(try await clients.auth0.user("auth0|1") != nil)
            #expect(outside.auth.count("POST /oauth/token") == 2)
            // A tenant that refuses every token is not asked for ever.
            outside.auth.with { $0.validTokens = [] }
            outside.auth.interject(
                "GET /api/v2/users", try .json([:], status: 401), try .json([:], status: 401))
            await #expect(throws: RemoteAPIError.self) { try await clients.auth0.user("auth0|1") }
            #expect(outside.auth.count("POST /oauth/token") == 3)
        }
    }

    @Test("accounts are made, found, linked and given tickets")
    func accounts() async throws {
        try await Outside.run { outside, clients in
            let email = "o'hara+\"x@x.io"
            guard case .created(let user) = try await clients.auth0.createUser(email: email) else {
                Issue.record("the address was free")
                return
            }
            #expect(user.email == email && !user.isEmailVerified)
            #expect(try await clients.auth0.createUser(email: email) == .exists)
            #expect(try await clients.auth0.users(withEmail: email) == [user])
            try await clients.auth0.link(user.id, to: "a4b54ec1-57f9-4c39-ab53-d936dbb6c177")
            #expect(outside.auth.account(user.id)?.linkedID == "a4b54ec1-57f9-4c39-ab53-d936dbb6c177")
            let ticket = try await clients.auth0.passwordTicket(email: email, returnURL: Outside.frontEnd)
            #expect(outside.auth.with { $0.tickets[email] } == ticket)
            #expect(try await clients.auth0.user("auth0|nobody") == nil)
            #expect(outside.auth.complaints.isEmpty)
        }
    }

    @Test("a tenant without the connection for passwords is told apart from one that is away")
    func noConnection() async throws {
        try await Outside.run { outside, clients in
            outside.auth.interject("GET /api/v2/connections", try .json([["id": "c", "name": "Other"]]))
            let error = try await #require(throws: RemoteAPIError.self) {
                try await clients.auth0.passwordTicket(email: "a@x.io", returnURL: Outside.frontEnd)
            }
            #expect("\(error)".contains("the tenant has no connection Username-Password-Authentication"))
        }
    }

    @Test("an account without an id, or with one that no column holds, is refused")
    func hostileAccounts() {
        for json in [
            "{\"user_id\":\"\"}", "{\"user_id\":\"\(String(repeating: "x", count: 129))\"}",
            "{\"user_id\":7}", "[]",
            "{\"email\":\"a@x.io\"}",
        ] {
            #expect(throws: (any Error).self) {
                try JSONDecoder().decode(Auth0User.self, from: Data(json.utf8))
            }
        }
    }
}
