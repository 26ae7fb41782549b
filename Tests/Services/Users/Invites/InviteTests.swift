import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("invites", .serialized) struct InviteTests {
    private let ann = UsersTest.ann
    private let bob = UsersTest.bob
    private let cid = UsersTest.cid
    private let yes = "{\"accepted\":true}"
    private let no = "{\"accepted\":false}"

    private func list(_ addresses: String...) -> String {
        "{\"emailList\":[\(addresses.map { "\"\($0)\"" }.joined(separator: ","))]}"
    }

    @Test("people are invited, mailed, and join with their own answer (scenarios 7, 8, 9)")
    func joining() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let reply = try await test.send(
                "POST", "/teams/\(team)/invites", as: ann,
                list("bob@x.io", "new@x.io", "ann@x.io", "NEW@X.io "))
            #expect(reply.status == 201 && reply.body == "null")
            try await test.service.eventually("both mails are sent") { test.mail.mails.count == 2 }
            #expect(test.mail.mails.first { $0.to == "bob@x.io" }?.link == UsersTest.frontEnd)
            #expect(
                test.mail.mails.first { $0.to == "new@x.io" }?.link
                    == test.auth.with { $0.tickets["new@x.io"] }.map { $0 + "invite" })

            let open = try await test.send("GET", "/teams/invites", as: bob).array
            #expect(open.count == 1 && open[0]["teamName"] as? String == "TestTeam")
            #expect(open[0]["teamId"] as? String == team && open[0]["read"] as? Bool == false)
            let invite = try #require(open[0]["id"] as? String)
            let path = "/teams/\(team)/invites/\(invite)"
            let accepted = try await test.send("PATCH", path, as: bob, yes)
            #expect(accepted.status == 200)
            #expect(accepted.object["read"] as? Bool == true && accepted.object["accepted"] as? Bool == true)
            let event = try #require(try await test.lastEvent("MembershipCreated"))
            #expect(event["userId"] as? String == bob && event["teamId"] as? String == team)
            #expect(event["role"] as? String == "editor")
            let stored = try await test.sql(
                "SELECT membership_id, role FROM memberships WHERE user_id = '\(bob)' AND team_id = '\(team)'"
            )
            #expect(stored == "\(event["membershipId"] as? String ?? "")|editor")

            let count = try await test.events().count
            #expect(try await test.send("PATCH", path, as: bob, yes).body == accepted.body)
            #expect(try await test.events().count == count)
            let changed = try await test.send("PATCH", path, as: bob, no)
            #expect(changed.status == 409 && changed.error == "invite was already accepted")
            #expect(try await test.send("GET", "/teams/invites", as: bob).body == "[]")
            #expect(test.auth.complaints.isEmpty && test.mail.complaints.isEmpty)
        }
    }

    @Test("an invite can be declined, which makes no member (B27)")
    func decline() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let path = "/teams/\(team)/invites/\(try await test.invite(bob, to: team))"
            let declined = try await test.send("PATCH", path, as: bob, no)
            #expect(declined.status == 200)
            #expect(declined.object["read"] as? Bool == true && declined.object["accepted"] as? Bool == false)
            #expect(try await test.send("GET", "/teams/invites", as: bob).body == "[]")
            #expect(try await test.send("PATCH", path, as: bob, no).body == declined.body)
            let changed = try await test.send("PATCH", path, as: bob, yes)
            #expect(changed.status == 409 && changed.error == "invite was already declined")
            #expect(try await test.sql("SELECT count(*) FROM memberships WHERE user_id = '\(bob)'") == "0")
            // Whoever declined may be asked again.
            let again = try await test.send("POST", "/teams/\(team)/invites", as: ann, list("bob@x.io"))
            #expect(again.status == 201)
            #expect(try await test.send("GET", "/teams/invites", as: bob).array.count == 1)
        }
    }

    @Test("an invite admits to its own team, its own person, in its own time (B4, scenario 10)")
    func strangers() async throws {
        try await UsersTest.run { test in
            let (team, other) = (try await test.makeTeam(), try await test.makeTeam())
            let invite = try await test.invite(bob, to: team)
            let before = try await test.fingerprint()
            for (path, user) in [
                ("/teams/\(other)/invites/\(invite)", bob), ("/teams/\(team)/invites/\(invite)", cid),
                ("/teams/\(team)/invites/\(invite)", ann),
                ("/teams/\(team)/invites/\(String.makeUUID())", bob),
                ("/teams/\(String.makeUUID())/invites/\(invite)", bob),
            ] {
                let reply = try await test.send("PATCH", path, as: user, yes)
                #expect(reply.status == 404 && reply.error == "invite not found")
            }
            #expect(try await test.fingerprint() == before)
            try await test.sql(
                "UPDATE invites SET expiration = (now() AT TIME ZONE 'utc') - interval '1 second'")
            for answer in [yes, no] {
                let late = try await test.send("PATCH", "/teams/\(team)/invites/\(invite)", as: bob, answer)
                #expect(late.status == 410 && late.error == "invite expired")
            }
            #expect(try await test.send("GET", "/teams/invites", as: bob).body == "[]")
            #expect(try await test.sql("SELECT count(*) FROM memberships WHERE user_id = '\(bob)'") == "0")
        }
    }

    @Test("accepting many times at one moment makes one membership and one event")
    func acceptConcurrently() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let path = "/teams/\(team)/invites/\(try await test.invite(bob, to: team))"
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 { group.addTask { try await test.send("PATCH", path, as: bob, yes).status } }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
            #expect(statuses == Array(repeating: 200, count: 8))
            #expect(try await test.sql("SELECT count(*) FROM memberships WHERE user_id = '\(bob)'") == "1")
            #expect(try await test.events().count { $0.channel == "MembershipCreated" } == 1)
        }
    }

    @Test("whoever left does not come back by an old invite, only by a new one")
    func leftAndBack() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let path = "/teams/\(team)/invites/\(try await test.invite(bob, to: team))"
            _ = try await test.send("PATCH", path, as: bob, yes)
            _ = try await test.send("POST", "/teams/\(team)/leave", as: bob)
            #expect(try await test.send("PATCH", path, as: bob, yes).status == 200)
            #expect(try await test.send("GET", "/teams/\(team)/members", as: bob).status == 404)
            _ = try await test.send("POST", "/teams/\(team)/invites", as: ann, list("bob@x.io"))
            let open = try await test.send("GET", "/teams/invites", as: bob).array
            let second = open.first?["id"] as? String ?? ""
            #expect(
                try await test.send("PATCH", "/teams/\(team)/invites/\(second)", as: bob, yes).status == 200)
            #expect(try await test.send("GET", "/teams/\(team)/members", as: bob).status == 200)
        }
    }

    @Test("only administrators invite and withdraw; refusals change nothing (B6, scenario 11)")
    func refusals() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            _ = try await test.add(bob, to: team, as: "editor")
            let invite = try await test.invite(cid, to: team)
            let path = "/teams/\(team)/invites"
            let before = try await test.fingerprint()
            let cases: [(String, String, String, String?, Int, String)] = [
                ("POST", path, cid, list("n@x.io"), 403, "user does not have correct membership"),
                ("POST", path, bob, list("n@x.io"), 403, "user does not have correct membership"),
                (
                    "POST", "/teams/\(String.makeUUID())/invites", ann, list("n@x.io"), 403,
                    "user does not have correct membership"
                ),
                ("POST", "/teams/x/invites", ann, list("n@x.io"), 400, "id provided was not a valid UUID"),
                ("POST", path, ann, "{}", 400, "field validation error"),
                ("POST", path, ann, "{\"emailList\":null}", 400, "field validation error"),
                (
                    "POST", path, ann, "{\"emailList\":\"a@x.io\"}", 400,
                    "json: field \"emailList\" must be an array of strings, not a string"
                ),
                ("DELETE", "\(path)/\(invite)", bob, nil, 403, "user does not have correct membership"),
                ("DELETE", "\(path)/\(invite)", cid, nil, 403, "user does not have correct membership"),
                ("DELETE", "\(path)/\(String.makeUUID())", ann, nil, 404, "invite not found"),
                ("DELETE", "\(path)/x", ann, nil, 400, "id provided was not a valid UUID"),
                ("PATCH", "\(path)/\(invite)", cid, "{}", 400, "field validation error"),
                ("PATCH", "\(path)/x", cid, yes, 400, "id provided was not a valid UUID"),
            ]
            for (method, path, user, body, status, error) in cases {
                let reply = try await test.send(method, path, as: user, body)
                #expect(reply.status == status && reply.error == error, "\(method) \(path) \(body ?? "")")
            }
            #expect(try await test.fingerprint() == before)
            #expect(test.mail.mails.isEmpty)
        }
    }

    @Test("every bad address is named by its place, and then nothing is done")
    func badAddresses() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let before = try await test.fingerprint()
            let reply = try await test.send(
                "POST", "/teams/\(team)/invites", as: ann,
                list("good@x.io", "bad", "ok@x.io", "a@b", "x'); DROP TABLE users;--"))
            #expect(reply.status == 400)
            let fields = reply.object["fields"] as? [[String: String]]
            #expect(fields?.map { $0["field"] } == ["emailList[1]", "emailList[3]", "emailList[4]"])
            #expect(fields?.first?["error"] == "address provided was not a valid email")
            let many = (0..<51).map { "\"n\($0)@x.io\"" }.joined(separator: ",")
            let tooMany = try await test.send(
                "POST", "/teams/\(team)/invites", as: ann, "{\"emailList\":[\(many)]}")
            #expect(tooMany.status == 400)
            #expect((tooMany.object["fields"] as? [[String: String]])?.map { $0["field"] } == ["emailList"])
            #expect(try await test.fingerprint() == before)
        }
    }

    @Test("an administrator takes an invite back, unless it was answered")
    func withdraw() async throws {
        try await UsersTest.run { test in
            let team = try await test.makeTeam()
            let invite = try await test.invite(bob, to: team)
            let path = "/teams/\(team)/invites/\(invite)"
            let reply = try await test.send("DELETE", path, as: ann)
            #expect(reply.status == 200 && reply.body == "null")
            #expect(try await test.send("DELETE", path, as: ann).status == 404)
            #expect(try await test.send("PATCH", path, as: bob, yes).status == 404)
            let answered = "/teams/\(team)/invites/\(try await test.invite(bob, to: team))"
            _ = try await test.send("PATCH", answered, as: bob, yes)
            let late = try await test.send("DELETE", answered, as: ann)
            #expect(late.status == 409 && late.error == "invite was already accepted")
        }
    }

    @Test("lists that overlap, at the same moment, make one invite and one account each")
    func inviteConcurrently() async throws {
        try await UsersTest.run(environment: ["API_WEB_SENDGRID_BASE_URL": "http://127.0.0.1:1"]) { test in
            let (team, other) = (try await test.makeTeam(), try await test.makeTeam())
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for round in 0..<8 {
                    group.addTask {
                        let addresses = (0..<10).map { "p\(round % 2 == 0 ? $0 : 9 - $0)@x.io" }
                        return try await test.send(
                            "POST", "/teams/\(round < 4 ? team : other)/invites", as: ann,
                            "{\"emailList\":[\(addresses.map { "\"\($0)\"" }.joined(separator: ","))]}"
                        ).status
                    }
                }
                return try await group.reduce(into: [Int]()) { $0.append($1) }
            }
            #expect(statuses == Array(repeating: 201, count: 8))
            #expect(try await test.sql("SELECT count(*) FROM users WHERE email LIKE 'p%'") == "10")
            #expect(
                try await test.sql("SELECT count(*), count(DISTINCT (user_id, team_id)) FROM invites")
                    == "20|20")
            #expect(try await test.sql("SELECT count(DISTINCT invite_id) FROM mail_outbox") == "20")
        }
    }
}
