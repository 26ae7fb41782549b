import BrokerClient
import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("Events that projects listens to")
struct ListenerTests {
    private static let moment = Timestamp(microseconds: 1_621_197_402_105_449)
    private static let source = EventSource(traceID: String.makeUUID(), userID: People.ann)

    private static func membership(
        _ id: String, user: String = People.bob, team: String, role: Role = .editor, after: Duration = .zero
    ) -> MembershipCreated {
        MembershipCreated(
            membershipID: id, teamID: team, userID: user, role: role, updatedAt: moment + after,
            createdAt: moment + after)
    }

    /// A service with a broker, and a client that publishes to it.
    private func run(
        _ body: (TestService, @escaping @Sendable (String, [UInt8]) async throws -> Void) async throws -> Void
    ) async throws {
        let broker = try await TestBroker()
        let client = try await broker.client()
        do {
            try await TestService.projects(broker: broker) { test in
                try await body(test) { try await client.publish($0, $1) }
            }
        } catch {
            try? await client.close()
            try? await broker.stop()
            throw error
        }
        try await client.close()
        try await broker.stop()
    }

    @Test("make copies of memberships; every order of create, update and delete ends the same")
    func permutations() async throws {
        try await run { test, publish in
            let team = String.makeUUID()
            let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 0]]
            let ids = orders.map { _ in String.makeUUID() }
            for (order, id) in zip(orders, ids) {
                let events = [
                    (
                        MembershipCreated.type,
                        Event(Self.membership(id, user: id, team: team), by: Self.source).payload
                    ),
                    (
                        MembershipUpdated.type,
                        Event(
                            MembershipUpdated(
                                membershipID: id, role: .viewer, updatedAt: Self.moment + .seconds(1)),
                            by: Self.source
                        )
                        .payload
                    ),
                    (
                        MembershipDeleted.type,
                        Event(MembershipDeleted(membershipID: id), by: Self.source).payload
                    ),
                ]
                for step in order { try await publish(events[step].0, events[step].1) }
            }
            try await test.eventually("all events are handled") {
                try await test.database.value("SELECT count(*)::text FROM inbox") == "20"
            }
            #expect(
                try await test.database.rows("SELECT membership_id, role FROM memberships") == [
                    "\(ids[6])|viewer"
                ])
            #expect(try await test.database.value("SELECT count(*)::text FROM dead_letters") == "0")
        }
    }

    @Test("apply once, however often they come, and not when they are older than what is there")
    func duplicates() async throws {
        try await run { test, publish in
            let (id, team) = (String.makeUUID(), String.makeUUID())
            let created = Event(Self.membership(id, team: team), by: Self.source).payload
            for _ in 0..<3 { try await publish(MembershipCreated.type, created) }
            func change(_ role: Role, _ seconds: Int) -> [UInt8] {
                Event(
                    MembershipUpdated(
                        membershipID: id, role: role, updatedAt: Self.moment + .seconds(seconds)),
                    by: Self.source
                )
                .payload
            }
            try await publish(MembershipUpdated.type, change(.viewer, 5))
            try await publish(MembershipUpdated.type, change(.administrator, 3))
            try await test.eventually("the changes are handled") {
                try await test.database.value("SELECT count(*)::text FROM inbox") == "3"
            }
            #expect(try await test.database.value("SELECT role FROM memberships") == "viewer")
            try await test.eventually("the duplicates are counted") {
                // On a slow machine the broker sends some of them once more.
                test.service.metrics.value(.duplicates) >= 2
            }
        }
    }

    @Test("keep the later of two memberships of one user in one team")
    func twoMemberships() async throws {
        try await run { test, publish in
            let team = String.makeUUID()
            let (older, newer) = (String.makeUUID(), String.makeUUID())
            let events = [
                Self.membership(newer, team: team, after: .seconds(9)), Self.membership(older, team: team),
            ]
            for event in events {
                try await publish(MembershipCreated.type, Event(event, by: Self.source).payload)
            }
            try await test.eventually("both are handled") {
                try await test.database.value("SELECT count(*)::text FROM inbox") == "2"
            }
            #expect(try await test.database.rows("SELECT membership_id FROM memberships") == [newer])
        }
    }

    @Test("give a project to the team that its owner made for it, and to no other's")
    func teams() async throws {
        try await run { test, publish in
            let id = try await test.makeProject()
            let (own, foreign) = (String.makeUUID(), String.makeUUID())
            let later = Duration.seconds(200_000_000)
            let stranger = MembershipCreatedForProject(
                membership: Self.membership(
                    String.makeUUID(), user: People.cid, team: foreign, role: .administrator, after: later),
                projectID: id)
            let owner = MembershipCreatedForProject(
                membership: Self.membership(
                    String.makeUUID(), user: People.ann, team: own, role: .administrator, after: later),
                projectID: id)
            try await publish(MembershipCreatedForProject.type, Event(stranger, by: Self.source).payload)
            try await test.eventually("the stranger's is handled") {
                try await test.database.value("SELECT count(*)::text FROM memberships") == "1"
            }
            #expect(try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann).text("teamId") == "")
            #expect(try await test.send("GET", "/api/v1/projects/\(id)", as: People.cid).status == 404)
            try await publish(MembershipCreatedForProject.type, Event(owner, by: Self.source).payload)
            try await test.eventually("the project has its team") {
                try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann).text("teamId") == own
            }
        }
    }

    @Test(
        "of projects change the team alone, by their owner alone, the last writer winning; the service's own are skipped"
    )
    func projectUpdates() async throws {
        try await run { test, publish in
            let id = try await test.makeProject()
            let team = String.makeUUID()
            func update(_ user: String, _ team: String, _ seconds: Int) -> [UInt8] {
                var change = ProjectUpdated(
                    projectID: id,
                    updatedAt: Timestamp(microseconds: 4_000_000_000_000_000) + .seconds(seconds))
                change.teamID = team
                change.name = "Stolen"
                return Event(change, by: EventSource(traceID: String.makeUUID(), userID: user)).payload
            }
            try await publish(ProjectUpdated.type, update(People.cid, String.makeUUID(), 9))
            // An event of this service's own, of an editor, that its outbox has forgotten.
            let old = ProjectUpdated(projectID: id, updatedAt: Timestamp(microseconds: 0))
            try await publish(
                ProjectUpdated.type,
                Event(old, by: EventSource(traceID: String.makeUUID(), userID: People.cid)).payload)
            try await publish(ProjectUpdated.type, update(People.ann, team, 5))
            // Those of a channel are handled side by side.
            try await test.eventually("the newer one is applied") {
                try await test.database.value("SELECT team_id FROM projects") == team
            }
            try await publish(ProjectUpdated.type, update(People.ann, String.makeUUID(), 4))
            _ = try await test.send("PATCH", "/api/v1/projects/\(id)", as: People.ann, #"{"name":"Mine"}"#)
            try await test.eventually("all are handled") {
                let labels = { (outcome: String) -> KeyValuePairs<String, String> in
                    ["channel": "ProjectUpdated", "outcome": outcome]
                }
                let metrics = test.service.metrics
                return metrics.value(.events, labels("refused")) >= 1
                    && metrics.value(.events, labels("applied")) >= 1
                    && metrics.value(.events, labels("ignored")) >= 1
                    && metrics.value(.events, labels("own")) >= 1
            }
            // What is refused is counted before it is set aside.
            try await test.eventually("the refused one is set aside") {
                try await test.database.value("SELECT count(*)::text FROM dead_letters") != "0"
            }
            let project = try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann)
            #expect(project.text("teamId") == team)
            #expect(project.text("name") == "Mine")
            #expect(
                try await test.database.rows("SELECT channel, reason FROM dead_letters") == [
                    "ProjectUpdated|not authorised"
                ])
            #expect(
                try await test.database.value(
                    "SELECT count(*)::text FROM outbox WHERE channel = 'ProjectUpdated'") == "1")
        }
    }

    @Test("that cannot be read become dead letters, and those after them are applied")
    func poison() async throws {
        try await run { test, publish in
            let long = Event(Self.membership(String.makeUUID(), team: String.makeUUID()), by: Self.source)
                .payload
            let bad: [[UInt8]] = [
                [], Array("not JSON".utf8), [0xFF, 0x00, 0xFE],
                Array(String(repeating: "[", count: 50_000).utf8),
                Array(String(decoding: long, as: UTF8.self).replacing("editor", with: "emperor").utf8),
                Array(String(decoding: long, as: UTF8.self).replacing("+0000 UTC", with: "tomorrow").utf8),
                Array(repeating: 0x61, count: 1_000_000),
            ]
            for payload in bad { try await publish(MembershipCreated.type, payload) }
            let id = String.makeUUID()
            try await publish(
                MembershipCreated.type,
                Event(Self.membership(id, team: String.makeUUID()), by: Self.source).payload)
            try await test.eventually("the good one is applied") {
                try await test.database.value("SELECT membership_id FROM memberships") == id
            }
            // Those of a channel are handled side by side.
            try await test.eventually("the bad ones are set aside") {
                try await test.database.value("SELECT count(*)::text FROM dead_letters") == "\(bad.count)"
            }
            #expect(try await test.database.value("SELECT count(*)::text FROM inbox") == "1")
        }
    }
}
