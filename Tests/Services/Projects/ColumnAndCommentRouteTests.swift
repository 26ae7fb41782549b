import ServicesCore
import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("Columns and comments over HTTP")
struct ColumnAndCommentRouteTests {
    @Test("columns are added under the smallest free name, changed, and removed when they are empty")
    func columns() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject()
            let path = "/api/v1/projects/\(id)/columns"
            let columns = try await test.columnIDs(id)
            #expect(try await test.send("DELETE", "\(path)/\(columns[1])", as: People.ann).body == "null")
            let added = try await test.send("POST", path, as: People.ann, #"{"title":"Blocked"}"#)
            #expect(added.status == 201)
            #expect(added.text("columnName") == "column-2")
            #expect(added.text("projectId") == id)
            #expect(added.object["taskIds"] as? [String] == [])
            let project = try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann)
            #expect(
                project.object["columnOrder"] as? [String] == [
                    "column-1", "column-3", "column-4", "column-2",
                ])
            #expect(
                try await test.send("GET", "\(path)/\(added.text("id"))", as: People.ann).body == added.body)
            let (a, b) = (
                try await test.makeTask("a", in: columns[0], of: id),
                try await test.makeTask("b", in: columns[0], of: id)
            )
            let changed = try await test.send(
                "PATCH", "\(path)/\(columns[0])", as: People.ann,
                #"{"title":"Now","taskIds":["\#(b)","\#(a)"]}"#)
            #expect(changed.status == 200)
            #expect(changed.text("title") == "Now")
            #expect(changed.object["taskIds"] as? [String] == [b, a])
            #expect(
                try await test.send(
                    "PATCH", "\(path)/\(columns[0])", as: People.ann, #"{"taskIds":["\#(b)"]}"#
                ).status == 400)
            #expect(
                try await test.send("PATCH", "\(path)/\(columns[0])", as: People.ann, #"{"title":""}"#).status
                    == 400)
            let held = try await test.send("DELETE", "\(path)/\(columns[0])", as: People.ann)
            #expect(held.status == 409)
            #expect(
                try await test.send("GET", "\(path)/\(People.unknown)", as: People.ann).error
                    == "column not found")
            #expect(
                try await test.send(
                    "POST", path, as: People.ann, #"{"title":"\#(String(repeating: "x", count: 37))"}"#
                ).status == 400)
            let other = try await test.makeProject()
            #expect(
                try await test.send("GET", "/api/v1/projects/\(other)/columns/\(columns[0])", as: People.ann)
                    .status == 404)
            #expect(
                try await test.send(
                    "POST", "/api/v1/projects/\(other)/columns/\(columns[0])/tasks", as: People.ann,
                    #"{"title":"t"}"#
                ).error == "column not found")
            let events = try await test.database.value(
                "SELECT count(*)::text FROM outbox WHERE channel = 'ProjectUpdated'")
            #expect(events == "2")
        }
    }

    @Test("comments are written, edited by their authors, liked by others, and deleted")
    func comments() async throws {
        try await TestService.projects { test in
            let team = String.makeUUID()
            try await test.join(People.ann, team, as: .administrator)
            try await test.join(People.bob, team, as: .commenter)
            try await test.join(People.cid, team, as: .viewer)
            let id = try await test.makeProject(team: team)
            let task = try await test.makeTask("t", in: test.columnIDs(id)[0], of: id)
            let path = "/api/v1/projects/tasks/\(task)/comments"
            #expect(try await test.send("GET", path, as: People.cid).body == "[]")
            let first = try await test.send("POST", path, as: People.bob, #"{"content":"well"}"#)
            #expect(first.status == 201)
            #expect(first.text("userId") == People.bob)
            #expect(first.object["likes"] as? Int == 0)
            #expect(first.object["edited"] as? Bool == false)
            #expect(try await test.send("GET", path, as: People.cid).body == "[\(first.body)]")
            let comment = "/api/v1/projects/comments/\(first.text("commentId"))"
            let stored = try await test.send("GET", "/api/v1/projects/tasks/\(task)", as: People.ann)
            #expect(stored.object["comments"] as? [String] == [first.text("commentId")])
            #expect(try await test.send("POST", path, as: People.cid, #"{"content":"x"}"#).status == 403)
            #expect(try await test.send("POST", path, as: People.unknown, #"{"content":"x"}"#).status == 404)
            #expect(try await test.send("POST", path, as: People.bob, #"{"content":" "}"#).status == 400)
            #expect(
                try await test.send("PATCH", comment, as: People.ann, #"{"content":"mine"}"#).status == 403)
            #expect(try await test.send("PATCH", comment, as: People.cid, #"{"likes":1}"#).status == 403)
            let liked = try await test.send("PATCH", comment, as: People.ann, #"{"likes":3}"#)
            #expect(liked.object["likes"] as? Int == 3)
            #expect(liked.object["edited"] as? Bool == false)
            let edited = try await test.send("PATCH", comment, as: People.bob, #"{"content":"better"}"#)
            #expect(edited.object["edited"] as? Bool == true)
            #expect(edited.text("content") == "better")
            #expect(try await test.send("PATCH", comment, as: People.bob, #"{"likes":-1}"#).status == 400)
            #expect(try await test.send("DELETE", comment, as: People.cid).status == 403)
            #expect(try await test.send("DELETE", comment, as: People.unknown).error == "comment not found")
            #expect(try await test.send("DELETE", comment, as: People.ann).body == "null")
            #expect(try await test.send("DELETE", comment, as: People.ann).status == 404)
            #expect(try await test.database.value("SELECT comments::text FROM tasks") == "{}")
        }
    }
}
