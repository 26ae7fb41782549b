import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("teams", .serialized) struct TeamTests {
    private let ann = UsersTest.ann
    private let bob = UsersTest.bob
    private let cid = UsersTest.cid

    private func body(_ name: String = "TestTeam", project: String = UsersTest.project) -> String {
        "{\"name\":\"\(name)\",\"projectId\":\"\(project)\"}"
    }

    @Test("a team is made with its administrator, its project and its event at once (B10, B17)")
    func create() async throws {
        try await UsersTest.run { test in
            let reply = try await test.send("POST", "/teams", as: ann, body("  TestTeam "))
            #expect(reply.status == 201)
            let (id, created) = (reply.text("id"), reply.text("createdAt"))
            #expect(reply.text("name") == "TestTeam" && reply.text("userId") == ann)
            #expect(reply.text("updatedAt") == created)
            let event = try #require(try await test.lastEvent("MembershipCreatedForProject"))
            #expect(event["teamId"] as? String == id && event["userId"] as? String == ann)
            #expect(event["projectId"] as? String == UsersTest.project)
            #expect(event["role"] as? String == "administrator")
            let membership = try await test.sql(
                "SELECT membership_id, role FROM memberships WHERE team_id = '\(id)'")
            #expect(membership == "\(event["membershipId"] as? String ?? "")|administrator")
            // The copy's own time stays: it belongs to the projects service (B30).
            let copy = try await test.sql(
                """
                SELECT team_id, team_updated_at = (SELECT created_at FROM teams), updated_at < team_updated_at
                FROM projects
                """)
            #expect(copy == "\(id)|t|t")
            #expect(try await test.send("GET", "/teams", as: ann).array.map { $0["id"] as? String } == [id])
            #expect(try await test.send("GET", "/teams/\(id)", as: ann).body == reply.body)
        }
    }

    @Test("only a project's owner makes its team; refusals change nothing")
    func refusals() async throws {
        try await UsersTest.run { test in
            let before = try await test.fingerprint()
            let cases: [(String, String, Int, String)] = [
                (bob, body(), 403, "user does not have correct membership"),
                (ann, body(project: .makeUUID()), 404, "project not found"),
                (ann, body(project: "123"), 400, "id provided was not a valid UUID"),
                (ann, body(""), 400, "field validation error"),
                (ann, body(String(repeating: "n", count: 33)), 400, "field validation error"),
                (ann, "{\"name\":\"x\"}", 400, "field validation error"),
                (ann, "", 400, "EOF"),
            ]
            for (user, body, status, error) in cases {
                let reply = try await test.send("POST", "/teams", as: user, body)
                #expect(reply.status == status && reply.error == error, "\(body)")
            }
            #expect(try await test.fingerprint() == before)
            // 32 characters, whatever bytes they take.
            let longest = String(repeating: "ä", count: 31) + "🦆"
            #expect(try await test.send("POST", "/teams", as: ann, body(longest)).text("name") == longest)
        }
    }

    @Test("an owner whose account is gone is told so")
    func ownerIsGone() async throws {
        try await UsersTest.run { test in
            let nobody = String.makeUUID()
            try await test.sql("UPDATE projects SET user_id = '\(nobody)'")
            let reply = try await test.send("POST", "/teams", as: nobody, body())
            #expect(reply.status == 404 && reply.error == "user not found")
            #expect(try await test.events().isEmpty)
        }
    }

    @Test("a project may get another team, and each change of its team is later than the last")
    func replace() async throws {
        try await UsersTest.run { test in
            // A clock that was ahead when the team changed last.
            try await test.sql("UPDATE projects SET team_updated_at = '2126-01-01 00:00:00.000001'")
            _ = try await test.makeTeam()
            let second = try await test.makeTeam()
            let copy = try await test.sql("SELECT team_id, team_updated_at FROM projects")
            #expect(copy == "\(second)|2126-01-01 00:00:00.000003")
            let event = try #require(try await test.lastEvent("MembershipCreatedForProject"))
            #expect(event["updatedAt"] as? String == "2126-01-01 00:00:00.000003 +0000 UTC")
        }
    }

    @Test("assigning needs the team's administrator and the project's owner in one person (B6)")
    func assign() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let (second, foreign) = (String.makeUUID(), String.makeUUID())
            try await test.sql(
                """
                INSERT INTO projects (project_id, name, prefix, user_id, team_updated_at) VALUES
                  ('\(second)', 'Second', 'Sec-', '\(ann)', now() AT TIME ZONE 'utc'),
                  ('\(foreign)', 'Cids', 'Cid-', '\(cid)', now() AT TIME ZONE 'utc')
                """)
            _ = try await test.add(bob, to: team, as: "editor")
            let before = try await test.fingerprint()
            let cases: [(String, String, String, Int, String)] = [
                (cid, team, foreign, 403, "user does not have correct membership"),
                (ann, team, foreign, 403, "user does not have correct membership"),
                (bob, team, second, 403, "user does not have correct membership"),
                (ann, .makeUUID(), second, 404, "team not found"),
                (ann, team, .makeUUID(), 404, "project not found"),
                (ann, "x", second, 400, "id provided was not a valid UUID"),
                (ann, team, "x", 400, "id provided was not a valid UUID"),
            ]
            for (user, team, project, status, error) in cases {
                let reply = try await test.send("POST", "/teams/\(team)/project/\(project)", as: user)
                #expect(reply.status == status && reply.error == error)
            }
            #expect(try await test.fingerprint() == before)
            let reply = try await test.send("POST", "/teams/\(team)/project/\(second)", as: ann)
            #expect(reply.status == 200 && reply.body == "null")
            let event = try #require(try await test.lastEvent("ProjectUpdated"))
            #expect(Set(event.keys) == ["projectId", "teamId", "updatedAt"])
            #expect(event["projectId"] as? String == second && event["teamId"] as? String == team)
            #expect(try await test.sql("SELECT team_id FROM projects WHERE project_id = '\(second)'") == team)
        }
    }

    @Test("a team is seen by its members and by whoever holds an open invite, and by nobody else (B6)")
    func find() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            func status(_ user: String) async throws -> Int {
                try await test.send("GET", "/teams/\(team)", as: user).status
            }
            #expect(try await status(ann) == 200)
            #expect(try await status(bob) == 404)
            let invite = try await test.invite(bob, to: team)
            #expect(try await status(bob) == 200)
            for change in [
                "declined_at = now() AT TIME ZONE 'utc'", "declined_at = NULL, accepted = TRUE",
                "accepted = FALSE, expiration = (now() AT TIME ZONE 'utc') - interval '1 second'",
            ] {
                try await test.sql("UPDATE invites SET \(change) WHERE invite_id = '\(invite)'")
                #expect(try await status(bob) == 404)
            }
            #expect(
                try await test.send("GET", "/teams/\(String.makeUUID())", as: ann).error == "team not found")
            #expect(
                try await test.send("GET", "/teams/123", as: ann).error == "id provided was not a valid UUID")
        }
    }

    @Test("somebody without teams has an empty list, somebody without an account none (B26)")
    func list() async throws {
        try await UsersTest.run { test in
            #expect(try await test.send("GET", "/teams", as: bob).body == "[]")
            let reply = try await test.send("GET", "/teams", subject: "auth0|new")
            #expect(reply.status == 403 && reply.error == "user not registered")
        }
    }
}
