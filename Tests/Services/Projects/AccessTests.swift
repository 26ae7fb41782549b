import ServicesCore
import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("Who may do what")
struct AccessTests {
    @Test("follows the table of the specification")
    func rights() {
        let table: [(Access.Right, [Role])] = [
            (.read, [.administrator, .editor, .commenter, .viewer]),
            (.comment, [.administrator, .editor, .commenter]),
            (.edit, [.administrator, .editor]), (.administer, [.administrator]), (.own, []),
        ]
        for (right, roles) in table {
            #expect(Access(isOwner: true, role: nil).allows(right))
            #expect(!Access(isOwner: false, role: nil).allows(right))
            for role in Role.allCases {
                #expect(
                    Access(isOwner: false, role: role).allows(right) == roles.contains(role),
                    "\(right) \(role)")
            }
        }
    }

    /// What each route answers to: owner, administrator, editor, commenter, viewer, nobody.
    @Test("holds on every route: members without the role get 403, strangers 404, and nothing changes")
    func routes() async throws {
        try await TestService.projects { test in
            let team = String.makeUUID()
            try await test.join(People.ann, team, as: .administrator)
            let id = try await test.makeProject(team: team)
            let columns = try await test.columnIDs(id)
            let task = try await test.makeTask("t", in: columns[0], of: id)
            let comment = try await test.send(
                "POST", "/api/v1/projects/tasks/\(task)/comments", as: People.ann, #"{"content":"c"}"#
            ).text("commentId")
            let project = "/api/v1/projects/\(id)"
            let reads = [
                project, "\(project)/columns", "\(project)/tasks", "\(project)/columns/\(columns[0])",
                "/api/v1/projects/tasks/\(task)", "/api/v1/projects/tasks/\(task)/comments",
            ]
            // Refused to whoever has less than the role.
            let writes: [(String, String, String?, Role?)] = [
                ("PATCH", project, #"{"name":"x"}"#, .editor),
                ("PATCH", project, #"{"active":false}"#, .administrator),
                ("PATCH", project, #"{"public":true}"#, .administrator),
                ("PATCH", project, #"{"teamId":""}"#, nil),
                ("DELETE", project, nil, nil),
                ("POST", "\(project)/columns", #"{"title":"x"}"#, .administrator),
                ("PATCH", "\(project)/columns/\(columns[0])", #"{"title":"x"}"#, .editor),
                ("DELETE", "\(project)/columns/\(columns[3])", nil, .administrator),
                ("POST", "\(project)/columns/\(columns[0])/tasks", #"{"title":"x"}"#, .editor),
                ("PATCH", "/api/v1/projects/tasks/\(task)", #"{"points":1}"#, .editor),
                (
                    "PATCH", "/api/v1/projects/tasks/\(task)/move",
                    #"{"from":"\#(columns[0])","to":"\#(columns[1])"}"#, .editor
                ),
                ("DELETE", "/api/v1/projects/columns/\(columns[0])/tasks/\(task)", nil, .editor),
                ("POST", "/api/v1/projects/tasks/\(task)/comments", #"{"content":"x"}"#, .commenter),
                ("PATCH", "/api/v1/projects/comments/\(comment)", #"{"likes":1}"#, .commenter),
                ("DELETE", "/api/v1/projects/comments/\(comment)", nil, .administrator),
            ]
            let before = try await test.snapshot()
            for path in reads {
                #expect(try await test.send("GET", path, as: People.cid).status == 404, "\(path)")
                #expect(try await test.send("GET", path).status == 401, "\(path)")
            }
            for (method, path, body, _) in writes {
                #expect(
                    try await test.send(method, path, as: People.cid, body).status == 404, "\(method) \(path)"
                )
                #expect(try await test.send(method, path, as: nil, body).status == 401, "\(method) \(path)")
            }
            #expect(try await test.send("GET", "/api/v1/projects", as: People.cid).body == "[]")
            #expect(try await test.snapshot() == before)
            try await test.join(People.bob, team, as: .viewer)
            for role in [Role.viewer, .commenter, .editor, .administrator] {
                try await test.database.query(
                    "UPDATE memberships SET role = \(role)::role WHERE user_id = \(People.bob)")
                let before = try await test.snapshot()
                for path in reads {
                    #expect(try await test.send("GET", path, as: People.bob).status == 200, "\(path)")
                }
                for (method, path, body, needed) in writes where needed.map({ role < $0 }) ?? true {
                    let reply = try await test.send(method, path, as: People.bob, body)
                    #expect(reply.status == 403, "\(role) \(method) \(path)")
                    #expect(reply.error == "user does not have correct membership")
                }
                #expect(try await test.snapshot() == before)
            }
            #expect(try await test.send("GET", "/api/v1/projects", as: People.bob).array.count == 1)
            for (method, path, body, needed) in writes where needed == .editor && method == "PATCH" {
                #expect(
                    try await test.send(method, path, as: People.bob, body).status == 200, "\(method) \(path)"
                )
            }
        }
    }

    @Test("does not matter for what is sent as it is: front ends may send whole projects and tasks")
    func unchanged() async throws {
        try await TestService.projects { test in
            let team = String.makeUUID()
            try await test.join(People.ann, team, as: .administrator)
            try await test.join(People.bob, team, as: .editor)
            let id = try await test.makeProject(team: team)
            let task = try await test.makeTask("t", in: try await test.columnIDs(id)[0], of: id)
            let path = "/api/v1/projects/\(id)"
            let same = #""active":true,"public":false,"teamId":"\#(team)""#
            let renamed = try await test.send("PATCH", path, as: People.bob, #"{"name":"Named",\#(same)}"#)
            #expect(renamed.status == 200 && renamed.text("name") == "Named")
            let assigned = #"{"assignedTo":"\#(People.bob)"}"#
            let taskPath = "/api/v1/projects/tasks/\(task)"
            #expect(try await test.send("PATCH", taskPath, as: People.ann, assigned).status == 200)
            try await test.database.query("DELETE FROM memberships WHERE user_id = \(People.bob)")
            let kept = try await test.send("PATCH", taskPath, as: People.ann, assigned)
            #expect(kept.status == 200 && kept.text("assignedTo") == People.bob)
            _ = try await test.send("PATCH", taskPath, as: People.ann, #"{"assignedTo":""}"#)
            #expect(try await test.send("PATCH", taskPath, as: People.ann, assigned).status == 400)
        }
    }

    @Test("a user without an account here is told so")
    func unregistered() async throws {
        try await TestService.projects { test in
            let token = try await test.issuer.token(nil)
            let reply = try await test.send(
                "GET", "/api/v1/projects", headers: [("Authorization", "Bearer \(token)")])
            #expect(reply.status == 403)
            #expect(reply.error == "user not registered")
        }
    }
}
