import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("members", .serialized) struct MemberTests {
    private let ann = UsersTest.ann
    private let bob = UsersTest.bob
    private let cid = UsersTest.cid

    @Test("members see each other with name, address and role, the oldest first; strangers see nothing")
    func list() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let id = try await test.add(bob, to: team, as: "viewer")
            let members = try await test.send("GET", "/teams/\(team)/members", as: bob).array
            #expect(members.map { $0["userId"] as? String } == [ann, bob])
            #expect(members.map { $0["role"] as? String } == ["administrator", "viewer"])
            #expect(members[1]["id"] as? String == id && members[1]["email"] as? String == "bob@x.io")
            #expect(members[1]["firstName"] as? String == "Bob" && members[1]["lastName"] is NSNull)
            for path in [team, .makeUUID()] {
                let reply = try await test.send("GET", "/teams/\(path)/members", as: cid)
                #expect(reply.status == 404 && reply.error == "membership not found")
            }
        }
    }

    @Test("a member leaves, once, and the event says so (B3, scenario 12)")
    func leave() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let id = try await test.add(bob, to: team, as: "editor")
            let last = try await test.send("POST", "/teams/\(team)/leave", as: ann)
            #expect(last.status == 409 && last.error == "last administrator cannot leave")
            let reply = try await test.send("POST", "/teams/\(team)/leave", as: bob)
            #expect(reply.status == 200 && reply.body == "null")
            #expect(try await test.lastEvent("MembershipDeleted")?["membershipId"] as? String == id)
            let again = try await test.send("POST", "/teams/\(team)/leave", as: bob)
            #expect(again.status == 404 && again.error == "membership not found")
            #expect(try await test.events().count == 2)
        }
    }

    @Test("the last member takes the open invites along")
    func lastMember() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let open = try await test.invite(bob, to: team)
            #expect(try await test.send("POST", "/teams/\(team)/leave", as: ann).status == 200)
            let reply = try await test.send(
                "PATCH", "/teams/\(team)/invites/\(open)", as: bob, "{\"accepted\":true}")
            #expect(reply.status == 404)
        }
    }

    @Test("two administrators who leave at the same moment leave one behind (B43)")
    func bothLeave() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            _ = try await test.add(bob, to: team, as: "administrator")
            _ = try await test.add(cid, to: team, as: "viewer")
            async let first = test.send("POST", "/teams/\(team)/leave", as: ann)
            async let second = test.send("POST", "/teams/\(team)/leave", as: bob)
            let statuses = try await [first.status, second.status].sorted()
            #expect(statuses == [200, 409])
            let left = try await test.sql(
                "SELECT count(*) FILTER (WHERE role = 'administrator') FROM memberships WHERE team_id = '\(team)'"
            )
            #expect(left == "1")
        }
    }

    @Test("an administrator changes roles, and the event carries the new one (B42, scenario 13)")
    func changeRole() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let id = try await test.add(bob, to: team, as: "editor")
            let path = "/teams/\(team)/members/\(id)"
            let reply = try await test.send("PATCH", path, as: ann, "{\"role\":\"viewer\"}")
            #expect(
                reply.status == 200 && reply.text("role") == "viewer" && reply.text("email") == "bob@x.io")
            let event = try #require(try await test.lastEvent("MembershipUpdated"))
            #expect(Set(event.keys) == ["membershipId", "role", "updatedAt"])
            #expect(event["membershipId"] as? String == id && event["role"] as? String == "viewer")
            let same = try await test.send("PATCH", path, as: ann, "{\"role\":\"viewer\"}")
            #expect(same.status == 200 && same.body == reply.body)
            #expect(try await test.events().count == 2)
        }
    }

    @Test("the last administrator stays one, also when two are demoted at the same moment")
    func demote() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let own = try await test.sql("SELECT membership_id FROM memberships WHERE team_id = '\(team)'")
            let reply = try await test.send(
                "PATCH", "/teams/\(team)/members/\(own)", as: ann, "{\"role\":\"editor\"}")
            #expect(reply.status == 409 && reply.error == "last administrator cannot be demoted")
            let other = try await test.add(bob, to: team, as: "administrator")
            let body = "{\"role\":\"viewer\"}"
            async let first = test.send("PATCH", "/teams/\(team)/members/\(other)", as: ann, body)
            async let second = test.send("PATCH", "/teams/\(team)/members/\(own)", as: bob, body)
            let statuses = try await [first.status, second.status].sorted()
            // Whoever came second was no administrator any more.
            #expect(statuses == [200, 403])
        }
    }

    @Test("an administrator removes a member")
    func remove() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let id = try await test.add(bob, to: team, as: "editor")
            let own = try await test.sql("SELECT membership_id FROM memberships WHERE user_id = '\(ann)'")
            let last = try await test.send("DELETE", "/teams/\(team)/members/\(own)", as: ann)
            #expect(last.status == 409 && last.error == "last administrator cannot leave")
            let reply = try await test.send("DELETE", "/teams/\(team)/members/\(id)", as: ann)
            #expect(reply.status == 200 && reply.body == "null")
            #expect(try await test.lastEvent("MembershipDeleted")?["membershipId"] as? String == id)
            #expect(try await test.send("DELETE", "/teams/\(team)/members/\(id)", as: ann).status == 404)
        }
    }

    @Test("roles are changed and ended by administrators of that team alone; refusals change nothing")
    func refusals() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let other = try await test.makeTeam()
            let id = try await test.add(bob, to: team, as: "editor")
            let (mine, theirs) = ("/teams/\(team)/members/\(id)", "/teams/\(other)/members/\(id)")
            let role = "{\"role\":\"administrator\"}"
            let before = try await test.fingerprint()
            let cases: [(String, String, String, String?, Int, String)] = [
                ("PATCH", mine, bob, role, 403, "user does not have correct membership"),
                ("PATCH", mine, cid, role, 404, "membership not found"),
                ("PATCH", theirs, ann, role, 404, "membership not found"),
                ("PATCH", mine, ann, "{\"role\":\"owner\"}", 400, "field validation error"),
                ("PATCH", mine, ann, "{}", 400, "field validation error"),
                (
                    "PATCH", mine, ann, "{\"role\":1}", 400,
                    "json: field \"role\" must be a string, not a number"
                ),
                ("PATCH", "/teams/x/members/\(id)", ann, role, 400, "id provided was not a valid UUID"),
                ("PATCH", "/teams/\(team)/members/x", ann, role, 400, "id provided was not a valid UUID"),
                ("DELETE", mine, bob, nil, 403, "user does not have correct membership"),
                ("DELETE", mine, cid, nil, 404, "membership not found"),
                ("DELETE", theirs, ann, nil, 404, "membership not found"),
                (
                    "DELETE", "/teams/\(team)/members/\(String.makeUUID())", ann, nil, 404,
                    "membership not found"
                ),
                ("POST", "/teams/\(String.makeUUID())/leave", ann, nil, 404, "membership not found"),
                ("POST", "/teams/x/leave", ann, nil, 400, "id provided was not a valid UUID"),
            ]
            for (method, path, user, body, status, error) in cases {
                let reply = try await test.send(method, path, as: user, body)
                #expect(reply.status == status && reply.error == error, "\(method) \(path) \(body ?? "")")
            }
            #expect(try await test.fingerprint() == before)
        }
    }
}
