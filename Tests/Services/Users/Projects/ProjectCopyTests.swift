import Foundation
import Postgres
import ServicesTesting
import Testing

@testable import ServicesCore
@testable import UsersService

@Suite("copies of projects", .serialized) struct ProjectCopyTests {
    private static let id = UsersTest.project
    private static let owner = UsersTest.ann
    private static let team = "39541c75-ca3e-4e2b-9728-54327772d001"

    private static func at(_ second: Int64) -> Timestamp {
        Timestamp(microseconds: 1_621_197_402_105_449 + second * 1_000_000)
    }

    private static let created = ProjectCreated(
        projectID: id, name: "Testing", prefix: "Tes-", description: "", userID: owner, teamID: "",
        active: true,
        isPublic: false, columnOrder: ["column-1", "column-2"], updatedAt: at(0), createdAt: at(0))

    private static func updated(_ second: Int64, _ change: (inout ProjectUpdated) -> Void) -> ProjectUpdated {
        var updated = ProjectUpdated(projectID: id, updatedAt: at(second))
        change(&updated)
        return updated
    }

    /// Applies an event as a message of the broker, with an id of its own.
    private func apply(_ event: some EventData, _ database: Database) async throws -> Inbox.Outcome {
        let inbox = Inbox(consumer: "test", database: database, listeners: ProjectCopies.listeners)
        let payload = Event(event, by: EventSource(traceID: "t", userID: Self.owner)).payload
        return try await inbox.process(channel: type(of: event).type, payload: payload)
    }

    private func withDatabase(_ body: (Database, TestDatabase) async throws -> Void) async throws {
        let test = try await TestDatabase.make("Users")
        let database = Database(PostgresPool(test.configuration))
        try await body(database, test)
        await database.pool.shutdown()
    }

    private func copy(_ test: TestDatabase) async throws -> String {
        try await test.sql(
            """
            SELECT name, prefix, description, user_id, team_id, active, public, column_order, updated_at, created_at,
              team_updated_at FROM projects
            """)
    }

    /// All orders of some events.
    private func permutations<Element>(_ elements: [Element]) -> [[Element]] {
        guard !elements.isEmpty else { return [[]] }
        return elements.indices.flatMap { index in
            var rest = elements
            let first = rest.remove(at: index)
            return permutations(rest).map { [first] + $0 }
        }
    }

    /// Applies events in their order, each again while it waits, and all of them twice.
    private func play(_ events: [any EventData], _ database: Database) async throws {
        for _ in 0..<2 {
            var waiting: [any EventData] = []
            for event in events {
                if case .waiting = try await apply(event, database) { waiting.append(event) }
                var still: [any EventData] = []
                for event in waiting {
                    if case .waiting = try await apply(event, database) { still.append(event) }
                }
                waiting = still
            }
            #expect(waiting.isEmpty)
        }
    }

    @Test("a copy has every field of the event, whoever owns the project (B31)")
    func create() async throws {
        try await withDatabase { database, test in
            let outcomes = [try await apply(Self.created, database), try await apply(Self.created, database)]
            #expect(outcomes == [.applied(entityID: Self.id), .ignored])
            let time = "2021-05-16 20:36:42.105449"
            let stored = try await copy(test)
            #expect(
                stored
                    == "Testing|Tes-||\(Self.owner)||t|f|{column-1,column-2}|\(time)|\(time)|\(time)")
        }
    }

    @Test(
        "the same events in any order, twice, give the same copy: the newest of each field, the newest team")
    func anyOrder() async throws {
        let events: [any EventData] = [
            Self.created,
            Self.updated(1) {
                $0.name = "One"
                $0.description = "d"
                $0.active = false
            },
            Self.updated(2) {
                $0.name = "Two"
                $0.description = "d"
                $0.active = false
                $0.isPublic = true
            },
            Self.updated(3) { $0.teamID = Self.team },
        ]
        try await withDatabase { database, test in
            for order in permutations(events) {
                try await test.sql("TRUNCATE projects, tombstones")
                try await play(order, database)
                let stored = try await copy(test)
                #expect(
                    stored
                        == "Two|Tes-|d|\(Self.owner)|\(Self.team)|f|t|{column-1,column-2}|2021-05-16 20:36:44.105449|"
                        + "2021-05-16 20:36:42.105449|2021-05-16 20:36:45.105449")
            }
        }
    }

    @Test("a deleted project stays deleted, whatever comes late (scenario 25)")
    func deletion() async throws {
        let events: [any EventData] = [
            Self.created, Self.updated(1) { $0.name = "One" }, ProjectDeleted(projectID: Self.id),
        ]
        try await withDatabase { database, test in
            for order in permutations(events) {
                try await test.sql("TRUNCATE projects, tombstones")
                try await play(order, database)
                let stored = try await copy(test)
                #expect(stored == "")
            }
        }
    }

    @Test("an older change does not undo a newer one, and the team has its own time")
    func stale() async throws {
        try await withDatabase { database, test in
            _ = try await apply(Self.created, database)
            // This service gave the project a team meanwhile.
            try await test.sql(
                "UPDATE projects SET team_id = '\(Self.team)', team_updated_at = '2021-05-16 20:36:52.105449'"
            )
            _ = try await apply(
                Self.updated(5) {
                    $0.name = "Renamed"
                    $0.teamID = "old"
                }, database)
            _ = try await apply(
                Self.updated(4) {
                    $0.name = "Older"
                    $0.columnOrder = ["x"]
                }, database)
            let stored = try await copy(test)
            #expect(
                stored
                    == "Renamed|Tes-||\(Self.owner)|\(Self.team)|t|f|{column-1,column-2}|2021-05-16 20:36:47.105449|"
                    + "2021-05-16 20:36:42.105449|2021-05-16 20:36:52.105449")
            // Taken away again, which is a value.
            _ = try await apply(Self.updated(10) { $0.teamID = "" }, database)
            let isTakenAway = try await test.sql("SELECT team_id = '' FROM projects")
            #expect(isTakenAway == "t")
        }
    }

    @Test("a change of a project that is not known yet waits")
    func unknown() async throws {
        try await withDatabase { database, _ in
            let outcome = try await apply(Self.updated(1) { $0.name = "x" }, database)
            guard case .waiting(_, Self.id, "the project is not known here yet") = outcome else {
                Issue.record("the change should wait: \(outcome)")
                return
            }
        }
    }

    @Test("creation and deletion at the same moment leave nothing behind")
    func race() async throws {
        try await withDatabase { database, test in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<40 {
                    var created = Self.created
                    created.projectID = "project-\(index / 2)"
                    let event: any EventData =
                        index % 2 == 0 ? created : ProjectDeleted(projectID: created.projectID)
                    group.addTask { _ = try await apply(event, database) }
                }
                try await group.waitForAll()
            }
            let left = try await test.sql("SELECT count(*) FROM projects")
            #expect(left == "0")
        }
    }

    @Test("events come over the broker: copied, an own echo skipped, what no column holds set aside")
    func overTheBroker() async throws {
        let broker = try await TestBroker()
        try await UsersTest.run(broker: broker) { test in
            let client = try await broker.client()
            let source = EventSource(traceID: .makeUUID(), userID: UsersTest.bob)
            var created = Self.created
            created.projectID = "d0000000-0000-4000-8000-00000000000d"
            var oversized = created
            oversized.projectID = "e0000000-0000-4000-8000-00000000000e"
            oversized.name = String(repeating: "n", count: 37)
            try await client.publish("ProjectCreated", Event(oversized, by: source).payload)
            try await client.publish("ProjectCreated", Array("{\"type\":1}".utf8))
            try await client.publish("ProjectCreated", Event(created, by: source).payload)
            try await test.service.eventually("the copy is there") {
                try await test.sql("SELECT name FROM projects WHERE project_id = '\(created.projectID)'")
                    == "Testing"
            }
            try await test.service.eventually("both bad messages are set aside") {
                try await test.sql("SELECT count(*) FROM dead_letters WHERE consumer = 'mic-users-queue'")
                    == "2"
            }
            // Our own ProjectUpdated comes back to us.
            let team = try await test.makeTeam()
            _ = try await test.send("POST", "/teams/\(team)/project/\(UsersTest.project)", as: UsersTest.ann)
            try await test.service.eventually("everything is published") {
                try await test.sql("SELECT count(*) FROM outbox WHERE published_at IS NULL") == "0"
            }
            try await test.service.eventually("the echo came") {
                try await test.service.debug("/metrics").body.contains("outcome=\"own\"")
            }
            let copy = try await test.sql(
                "SELECT name, updated_at < team_updated_at FROM projects WHERE project_id = '\(UsersTest.project)'"
            )
            #expect(copy == "Testing|t")
            try await client.close()
        }
        try await broker.stop()
    }
}
