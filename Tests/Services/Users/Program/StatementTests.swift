import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("statements a request", .serialized) struct StatementTests {
    /// The statements that requests of a route have run so far.
    private func count(_ test: UsersTest, _ method: String, _ route: String) async throws -> Double {
        let lines = try await test.service.debug("/metrics").body.split(separator: "\n")
        let line = lines.first {
            $0.hasPrefix("http_request_sql_statements_sum") && $0.contains("method=\"\(method)\"")
                && $0.contains("route=\"/api/v1/users\(route)\"")
        }
        return line?.split(separator: " ").last.flatMap { Double($0) } ?? 0
    }

    private func statements(
        _ test: UsersTest, _ method: String, _ route: String, _ send: () async throws -> TestReply
    ) async throws -> Double {
        let before = try await count(test, method, route)
        let reply = try await send()
        #expect((200..<300).contains(reply.status), "\(method) \(route): \(reply.status) \(reply.body)")
        return try await count(test, method, route) - before
    }

    @Test("do not depend on how much there is (B25)")
    func constant() async throws {
        try await UsersTest.run(environment: ["API_WEB_SENDGRID_BASE_URL": "http://127.0.0.1:1"]) { test in
            let team = try await test.makeTeam()
            let reads = ["/teams", "/teams/invites", "/teams/{tid}", "/teams/{tid}/members", "/me"]
            func readAll() async throws -> [Double] {
                var counts: [Double] = []
                for route in reads {
                    counts.append(
                        try await statements(test, "GET", route) {
                            try await test.send(
                                "GET", route.replacing("{tid}", with: team), as: UsersTest.ann)
                        })
                }
                return counts
            }
            func invite(_ range: Range<Int>) async throws -> Double {
                let list = range.map { "\"n\($0)@x.io\"" }.joined(separator: ",")
                return try await statements(test, "POST", "/teams/{tid}/invites") {
                    try await test.send(
                        "POST", "/teams/\(team)/invites", as: UsersTest.ann, "{\"emailList\":[\(list)]}")
                }
            }
            func leave() async throws -> Double {
                _ = try await test.add(UsersTest.bob, to: team, as: "editor")
                return try await statements(test, "POST", "/teams/{tid}/leave") {
                    try await test.send("POST", "/teams/\(team)/leave", as: UsersTest.bob)
                }
            }
            let (few, oneInvite, smallTeam) = (
                try await readAll(), try await invite(0..<1), try await leave()
            )
            #expect(few == [1, 1, 1, 1, 1])
            try await test.sql(
                """
                INSERT INTO users (user_id, auth0_id, email) SELECT 'u' || n, 'a' || n, 'u' || n || '@x.io'
                  FROM generate_series(1, 200) n;
                INSERT INTO memberships (membership_id, user_id, team_id) SELECT 'm' || n, 'u' || n, '\(team)'
                  FROM generate_series(1, 200) n;
                INSERT INTO teams (team_id, user_id, name) SELECT 't' || n, '\(UsersTest.ann)', 'T'
                  FROM generate_series(1, 200) n;
                INSERT INTO memberships (membership_id, user_id, team_id) SELECT 'n' || n, '\(UsersTest.ann)', 't' || n
                  FROM generate_series(1, 100) n;
                INSERT INTO invites (invite_id, user_id, team_id) SELECT 'i' || n, '\(UsersTest.ann)', 't' || n
                  FROM generate_series(101, 200) n
                """)
            #expect(try await test.send("GET", "/teams/invites", as: UsersTest.ann).array.count == 100)
            #expect(
                try await test.send("GET", "/teams/\(team)/members", as: UsersTest.ann).array.count == 201)
            #expect(try await readAll() == few)
            #expect(try await invite(1..<51) == oneInvite)
            #expect(try await leave() == smallTeam)
        }
    }
}
