import Postgres
import ServicesCore
import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("Projects over HTTP")
struct ProjectRouteTests {
    @Test("are created with prefix, columns in order and an event, and answered as they are stored")
    func create() async throws {
        try await TestService.projects { test in
            let reply = try await test.send(
                "POST", "/api/v1/projects", as: People.ann, #"{"name":"Testing"}"#)
            #expect(reply.status == 201)
            #expect(reply.text("prefix") == "Tes-")
            #expect(reply.text("userId") == People.ann)
            #expect(reply.text("teamId") == "")
            #expect(reply.text("description") == "")
            #expect(reply.object["active"] as? Bool == true)
            #expect(reply.object["public"] as? Bool == false)
            #expect(
                reply.object["columnOrder"] as? [String] == ["column-1", "column-2", "column-3", "column-4"])
            let id = reply.text("id")
            let found = try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann)
            #expect(found.status == 200)
            #expect(found.body == reply.body)
            let list = try await test.send("GET", "/api/v1/projects", as: People.ann)
            #expect(list.body == "[\(reply.body)]")
            let columns = try await test.send("GET", "/api/v1/projects/\(id)/columns", as: People.ann).array
            #expect(columns.map { $0["title"] as? String } == ["To Do", "In Progress", "Review", "Done"])
            #expect(
                columns.map { $0["columnName"] as? String } == [
                    "column-1", "column-2", "column-3", "column-4",
                ])
            let event = try await test.database.query("SELECT channel, payload FROM outbox")
            #expect(event.count == 1)
            #expect(try event[0].decode(0, as: String.self) == "ProjectCreated")
            let created = try Event<ProjectCreated>(payload: event[0].decode(1, as: [UInt8].self))
            #expect(created.data.projectID == id)
            #expect(created.data.createdAt.rfc3339 == reply.text("createdAt"))
            #expect(created.source.userID == People.ann)
        }
    }

    @Test(
        "have names of 1 to 36 characters",
        arguments: [
            ("a", "a-", 201), ("ab", "ab-", 201), ("äöü", "äöü-", 201), ("a-b", "a-b-", 201),
            ("😀🚀👩‍👩‍👧", nil, 201),
            ("  trimmed  ", "tri-", 201), (String(repeating: "x", count: 36), "xxx-", 201),
            (String(repeating: "ß", count: 37), nil, 400), ("", nil, 400), ("   ", nil, 400),
            ("'; DROP TABLE projects; --", "'; -", 201), ("\\u0000", nil, 400), ("\\ud800", nil, 201),
        ] as [(String, String?, Int)])
    func names(_ name: String, _ prefix: String?, _ status: Int) async throws {
        try await TestService.projects { test in
            let reply = try await test.send(
                "POST", "/api/v1/projects", as: People.ann, #"{"name":"\#(name)"}"#)
            #expect(reply.status == status, "\(reply.body)")
            if let prefix, status == 201 { #expect(reply.text("prefix") == prefix) }
        }
    }

    @Test("are refused, the database unchanged, when the body is not what it should be")
    func badBodies() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject()
            let before = try await test.snapshot()
            let path = "/api/v1/projects/\(id)"
            let bad: [(String, String, String, Int)] = [
                ("POST", "/api/v1/projects", "", 400), ("POST", "/api/v1/projects", "{", 400),
                ("POST", "/api/v1/projects", "[]", 400), ("POST", "/api/v1/projects", #"{"name":1}"#, 400),
                ("POST", "/api/v1/projects", #"{"name":"a","x":1}"#, 400),
                ("POST", "/api/v1/projects", #"{"name":"a","name":"b"}"#, 400),
                ("POST", "/api/v1/projects", #"{"name":"a","teamId":"x"}"#, 400),
                ("POST", "/api/v1/projects", #"{"name":"a","teamId":"\#(People.unknown)"}"#, 403),
                ("PATCH", path, #"{"name":""}"#, 400), ("PATCH", path, #"{"active":"no"}"#, 400),
                ("PATCH", path, #"{"columnOrder":["column-1"]}"#, 400),
                ("PATCH", path, #"{"columnOrder":["column-1","column-2","column-3","column-9"]}"#, 400),
                ("PATCH", path, #"{"columnOrder":["column-1","column-1","column-2","column-3"]}"#, 400),
                ("PATCH", path, #"{"columnOrder":[]}"#, 400), ("PATCH", path, #"{"id":"1"}"#, 400),
                ("PATCH", path, #"{"teamId":"\#(People.unknown)"}"#, 403),
                ("PATCH", "/api/v1/projects/123", "{}", 400), ("GET", "/api/v1/projects/123", "", 400),
                ("GET", "/api/v1/projects/123/tasks", "", 400),
                ("GET", "/api/v1/projects/123/columns", "", 400),
                ("PATCH", "/api/v1/projects/\(People.unknown)", "{}", 404),
                ("DELETE", "/api/v1/projects/\(People.unknown)", "", 404),
                ("PATCH", path, #"{"description":"\#(String(repeating: "x", count: 10_001))"}"#, 400),
            ]
            for (method, path, body, status) in bad {
                let reply = try await test.send(method, path, as: People.ann, body.isEmpty ? nil : body)
                #expect(reply.status == status, "\(method) \(path) \(body.prefix(80)): \(reply.body)")
                #expect(!reply.error.isEmpty)
            }
            let fields = try await test.send("POST", "/api/v1/projects", as: People.ann, "{}")
            #expect(
                fields.body
                    == #"{"error":"field validation error","fields":[{"field":"name","error":"name is a required field"}]}"#
            )
            #expect(try await test.send("POST", "/api/v1/projects", as: People.ann, nil).error == "EOF")
            #expect(
                try await test.send("POST", "/api/v1/projects", as: People.ann, #"{"name":"a","x":1}"#).error
                    == #"json: unknown field "x""#)
            #expect(try await test.snapshot() == before)
        }
    }

    @Test("change field by field; what is absent stays, and the event has the team only when it changed")
    func update() async throws {
        try await TestService.projects { test in
            let team = String.makeUUID()
            try await test.join(People.ann, team, as: .editor)
            let id = try await test.makeProject()
            let path = "/api/v1/projects/\(id)"
            let first = try await test.send(
                "PATCH", path, as: People.ann, #"{"name":"New","description":"d"}"#)
            #expect(first.status == 200)
            #expect(first.text("name") == "New")
            #expect(first.text("prefix") == "Tes-")
            let second = try await test.send(
                "PATCH", path, as: People.ann,
                #"{"description":"","active":false,"public":true,"teamId":"\#(team)","columnOrder":["column-4","column-3","column-2","column-1"]}"#
            )
            #expect(second.text("name") == "New")
            #expect(second.text("description") == "")
            #expect(second.object["active"] as? Bool == false)
            #expect(second.text("teamId") == team)
            let times = try [first, second].map { try #require(Timestamp(eventText: $0.text("updatedAt"))) }
            #expect(times[1] > times[0])
            let columns = try await test.send("GET", path + "/columns", as: People.ann).array
            #expect(
                columns.map { $0["columnName"] as? String } == [
                    "column-4", "column-3", "column-2", "column-1",
                ])
            _ = try await test.send("PATCH", path, as: People.ann, #"{"teamId":"\#(team)"}"#)
            let events = try await test.database.query(
                "SELECT payload FROM outbox WHERE channel = 'ProjectUpdated' ORDER BY seq"
            ).map { try Event<ProjectUpdated>(payload: $0.decode(0, as: [UInt8].self)).data }
            #expect(events.map(\.teamID) == [nil, team, nil])
            #expect(events[1].updatedAt.rfc3339 == second.text("updatedAt"))
            #expect(events[1].name == "New")
            #expect(events[1].columnOrder == ["column-4", "column-3", "column-2", "column-1"])
        }
    }

    @Test("are deleted whole by their owner, and by nobody else (defect B1)")
    func delete() async throws {
        try await TestService.projects { test in
            let (id, other) = (try await test.makeProject(), try await test.makeProject())
            let column = try await test.columnIDs(id)[0]
            let task = try await test.makeTask("t", in: column, of: id)
            _ = try await test.send(
                "POST", "/api/v1/projects/tasks/\(task)/comments", as: People.ann, #"{"content":"c"}"#)
            let before = try await test.snapshot()
            let refused = try await test.send("DELETE", "/api/v1/projects/\(id)", as: People.cid)
            #expect(refused.status == 404)
            #expect(refused.error == "project not found")
            #expect(try await test.snapshot() == before)
            let reply = try await test.send("DELETE", "/api/v1/projects/\(id)", as: People.ann)
            #expect(reply.status == 200)
            #expect(reply.body == "null")
            #expect(try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann).status == 404)
            #expect(try await test.send("DELETE", "/api/v1/projects/\(id)", as: People.ann).status == 404)
            let left = try await test.database.rows(
                "SELECT project_id FROM projects UNION SELECT project_id FROM columns UNION SELECT project_id FROM tasks"
            )
            #expect(left == [other])
            #expect(try await test.database.value("SELECT count(*)::text FROM comments") == "0")
            #expect(
                try await test.database.value(
                    "SELECT count(*)::text FROM outbox WHERE channel = 'ProjectDeleted'") == "1")
            #expect(try await test.database.value("SELECT id FROM tombstones WHERE kind = 'project'") == id)
        }
    }

    @Test("take a constant number of SQL statements, however many there are")
    func statements() async throws {
        try await TestService.projects { test in
            func count(_ method: String, _ route: String, _ call: () async throws -> TestReply) async throws
                -> Double
            {
                let labels: KeyValuePairs = ["method": method, "route": route]
                let before = test.service.metrics.observations(.requestStatements, labels)
                let status = try await call().status
                #expect(status < 300)
                let after = test.service.metrics.observations(.requestStatements, labels)
                return after.sum - before.sum
            }
            let id = try await test.makeProject()
            let columns = try await test.columnIDs(id)
            func measure() async throws -> [Double] {
                let task = try await test.makeTask("t", in: columns[0], of: id)
                return [
                    try await count("GET", "/api/v1/projects") {
                        try await test.send("GET", "/api/v1/projects", as: People.ann)
                    },
                    try await count("GET", "/api/v1/projects/{pid}/tasks") {
                        try await test.send("GET", "/api/v1/projects/\(id)/tasks", as: People.ann)
                    },
                    try await count("GET", "/api/v1/projects/{pid}/columns") {
                        try await test.send("GET", "/api/v1/projects/\(id)/columns", as: People.ann)
                    },
                    try await count("PATCH", "/api/v1/projects/tasks/{tid}/move") {
                        try await test.send(
                            "PATCH", "/api/v1/projects/tasks/\(task)/move", as: People.ann,
                            #"{"from":"\#(columns[0])","to":"\#(columns[1])"}"#)
                    },
                ]
            }
            let few = try await measure()
            for index in 0..<20 {
                _ = try await test.makeProject("p\(index)")
                _ = try await test.makeTask("t\(index)", in: columns[1], of: id)
            }
            #expect(try await measure() == few)
            #expect(few == [1, 2, 2, 6])
        }
    }

    @Test("are deleted with their rows locked in the order of every request: columns before tasks")
    func lockOrder() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject()
            let column = try await test.columnIDs(id)[0]
            let task = try await test.makeTask("t", in: column, of: id)
            let connection = try await PostgresConnection.open(test.database.configuration)
            defer { connection.close() }
            // As a move does that has its columns and goes on to the task.
            let deletion = try await connection.withTransaction { connection in
                try await connection.query("SELECT 1 FROM columns WHERE column_id = \(column) FOR UPDATE")
                let deletion = Task {
                    try await test.send("DELETE", "/api/v1/projects/\(id)", as: People.ann)
                }
                try await test.eventually("the deletion waits for the column") {
                    try await test.database.value(
                        """
                        SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database()
                          AND wait_event_type = 'Lock'
                        """) == "1"
                }
                try await connection.query("SELECT 1 FROM tasks WHERE task_id = \(task) FOR UPDATE NOWAIT")
                return deletion
            }
            #expect(try await deletion.value.status == 200)
            #expect(try await test.database.value("SELECT count(*)::text FROM tasks") == "0")
        }
    }
}
