import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("Tasks over HTTP")
struct TaskRouteTests {
    private let path = "/api/v1/projects/tasks"

    @Test("have keys that are never given twice, and read as they were answered")
    func keys() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject()
            let column = try await test.columnIDs(id)[0]
            var replies: [TestReply] = []
            for title in ["a", "b", "c"] {
                replies.append(
                    try await test.send(
                        "POST", "/api/v1/projects/\(id)/columns/\(column)/tasks", as: People.ann,
                        #"{"title":"\#(title)"}"#))
            }
            #expect(replies.map(\.status) == [201, 201, 201])
            #expect(replies.map { $0.text("key") } == ["Tes-1", "Tes-2", "Tes-3"])
            let list = try await test.send("GET", "/api/v1/projects/\(id)/tasks", as: People.ann)
            #expect(list.body == "[" + replies.map(\.body).joined(separator: ",") + "]")
            let third = replies[2].text("id")
            let deleted = try await test.send(
                "DELETE", "/api/v1/projects/columns/\(column)/tasks/\(third)", as: People.ann)
            #expect(deleted.status == 200)
            #expect(deleted.body == "null")
            #expect(try await test.send("GET", "\(path)/\(third)", as: People.ann).status == 404)
            _ = try await test.makeTask("d", in: column, of: id)
            let keys = try await test.database.rows("SELECT key FROM tasks ORDER BY seq")
            #expect(keys == ["Tes-1", "Tes-2", "Tes-4"])
            #expect(
                try await test.send("GET", "\(path)/\(replies[0].text("id"))", as: People.ann).body
                    == replies[0].body)
        }
    }

    @Test("made at once in one column have 50 keys and stand in it once each (defects B18, B20)")
    func concurrentCreation() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject("a-b")
            let column = try await test.columnIDs(id)[0]
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for index in 0..<50 {
                    group.addTask {
                        try await test.send(
                            "POST", "/api/v1/projects/\(id)/columns/\(column)/tasks", as: People.ann,
                            #"{"title":"t\#(index)"}"#
                        ).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses == Array(repeating: 201, count: 50))
            let keys = try await test.database.rows("SELECT key FROM tasks ORDER BY seq")
            #expect(keys == (1...50).map { "a-b-\($0)" })
            let ids = try await test.database.rows("SELECT task_id FROM tasks")
            #expect(try await test.taskIDs(column).sorted() == ids.sorted())
        }
    }

    @Test("change field by field: points are stored, the key never changes")
    func update() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject(team: "")
            let team = String.makeUUID()
            try await test.join(People.ann, team, as: .administrator)
            try await test.join(People.bob, team, as: .viewer)
            _ = try await test.send(
                "PATCH", "/api/v1/projects/\(id)", as: People.ann, #"{"teamId":"\#(team)"}"#)
            let task = try await test.makeTask("t", in: test.columnIDs(id)[0], of: id)
            let reply = try await test.send(
                "PATCH", "\(path)/\(task)", as: People.ann,
                #"{"points":5,"key":"X-9","content":"<b>&","assignedTo":"\#(People.bob)","attachments":["a"],"comments":[],"updatedAt":"now"}"#
            )
            #expect(reply.status == 200)
            #expect(reply.object["points"] as? Int == 5)
            #expect(reply.text("key") == "Tes-1")
            #expect(reply.text("content") == "<b>&")
            #expect(reply.text("assignedTo") == People.bob)
            #expect(reply.object["attachments"] as? [String] == ["a"])
            #expect(try await test.send("GET", "\(path)/\(task)", as: People.ann).body == reply.body)
            let before = try await test.snapshot()
            for (body, status) in [
                (#"{"points":-1}"#, 400), (#"{"points":"5"}"#, 400), (#"{"x":1}"#, 400),
                (#"{"title":""}"#, 400),
                (#"{"title":"\#(String(repeating: "t", count: 49))"}"#, 400),
                (#"{"assignedTo":"\#(People.cid)"}"#, 400),
                (#"{"assignedTo":"bob"}"#, 400), ("", 400),
            ] {
                let reply = try await test.send(
                    "PATCH", "\(path)/\(task)", as: People.ann, body.isEmpty ? nil : body)
                #expect(reply.status == status, "\(body)")
            }
            #expect(try await test.send("PATCH", "\(path)/x", as: People.ann, "{}").status == 400)
            #expect(
                try await test.send("PATCH", "\(path)/\(People.unknown)", as: People.ann, "{}").error
                    == "task not found")
            #expect(try await test.snapshot() == before)
            let title = try await test.send(
                "PATCH", "\(path)/\(task)", as: People.ann,
                #"{"title":"\#(String(repeating: "t", count: 48))"}"#)
            #expect(title.status == 200)
        }
    }

    @Test("move between columns, reorder one, and are refused when they are not where they should be")
    func move() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject()
            let columns = try await test.columnIDs(id)
            var tasks: [String] = []
            for title in ["a", "b", "c"] {
                tasks.append(try await test.makeTask(title, in: columns[0], of: id))
            }
            func move(_ task: String, _ from: String, _ to: String, _ order: [String] = []) async throws
                -> TestReply
            {
                let list = order.map { "\"\($0)\"" }.joined(separator: ",")
                return try await test.send(
                    "PATCH", "\(path)/\(task)/move", as: People.ann,
                    #"{"from":"\#(from)","to":"\#(to)","taskIds":[\#(list)]}"#)
            }
            let first = try await move(tasks[0], columns[0], columns[1])
            #expect(first.status == 200)
            #expect(first.body == "null")
            #expect(try await move(tasks[1], columns[0], columns[1], [tasks[1], tasks[0]]).status == 200)
            #expect(try await test.taskIDs(columns[0]) == [tasks[2]])
            #expect(try await test.taskIDs(columns[1]) == [tasks[1], tasks[0]])
            #expect(try await move(tasks[1], columns[1], columns[1]).status == 200)
            #expect(try await test.taskIDs(columns[1]) == [tasks[0], tasks[1]])
            #expect(try await move(tasks[1], columns[1], columns[1], [tasks[1], tasks[0]]).status == 200)
            #expect(try await test.taskIDs(columns[1]) == [tasks[1], tasks[0]])
            let before = try await test.snapshot()
            let absent = try await move(tasks[0], columns[0], columns[2])
            #expect(absent.status == 409)
            #expect(absent.error == "task is not in column")
            #expect(try await move(tasks[0], columns[1], columns[2], [tasks[0], tasks[2]]).status == 400)
            #expect(try await move(tasks[0], columns[1], columns[2], [tasks[0], tasks[0]]).status == 400)
            #expect(try await move(tasks[0], columns[1], "x").status == 400)
            #expect(try await move("x", columns[1], columns[2]).status == 400)
            #expect(try await move(People.unknown, columns[1], columns[2]).status == 404)
            #expect(try await test.snapshot() == before)
            let other = try await test.columnIDs(test.makeProject())[0]
            #expect(try await move(tasks[0], columns[1], other).status == 400)
            #expect(
                try await test.send("PATCH", "\(path)/\(tasks[0])/move", as: People.ann, "{}").status == 400)
        }
    }

    @Test("moved by two at once go to one place: one is told; opposite moves end, and no task is lost")
    func concurrentMoves() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject()
            let columns = try await test.columnIDs(id)
            let tasks = try await withThrowingTaskGroup(of: String.self) { group in
                for index in 0..<8 {
                    group.addTask { try await test.makeTask("t\(index)", in: columns[index % 2], of: id) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for _ in 0..<5 {
                // Each task is moved by two clients: there and back at the same time.
                try await withThrowingTaskGroup(of: Int.self) { group in
                    for task in tasks {
                        for target in [0, 1] {
                            group.addTask {
                                try await test.send(
                                    "PATCH", "\(path)/\(task)/move", as: People.ann,
                                    #"{"from":"\#(columns[1 - target])","to":"\#(columns[target])"}"#
                                ).status
                            }
                        }
                    }
                    for try await status in group { #expect(status == 200 || status == 409) }
                }
                let held = try await test.taskIDs(columns[0]) + test.taskIDs(columns[1])
                #expect(held.sorted() == tasks.sorted())
            }
            // One task, two clients, two targets.
            let held = try await test.taskIDs(columns[0]) + test.taskIDs(columns[1])
            let task = try #require(held.first)
            let from = try await test.taskIDs(columns[0]).contains(task) ? columns[0] : columns[1]
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for target in [columns[2], columns[3]] {
                    group.addTask {
                        try await test.send(
                            "PATCH", "\(path)/\(task)/move", as: People.ann,
                            #"{"from":"\#(from)","to":"\#(target)"}"#
                        ).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.sorted() == [200, 409])
        }
    }

    @Test("are deleted only from the column that holds them")
    func delete() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject()
            let columns = try await test.columnIDs(id)
            let task = try await test.makeTask("t", in: columns[0], of: id)
            let wrong = try await test.send(
                "DELETE", "/api/v1/projects/columns/\(columns[1])/tasks/\(task)", as: People.ann)
            #expect(wrong.status == 404)
            #expect(wrong.error == "task not found")
            let none = try await test.send(
                "DELETE", "/api/v1/projects/columns/\(People.unknown)/tasks/\(task)", as: People.ann)
            #expect(none.error == "column not found")
            let stranger = try await test.send(
                "DELETE", "/api/v1/projects/columns/\(columns[0])/tasks/\(task)", as: People.cid)
            #expect(stranger.error == "column not found")
            #expect(try await test.taskIDs(columns[0]) == [task])
        }
    }
}
