import Postgres
import ServicesTesting
import Synchronization
import Testing

@testable import ProjectsService
@testable import ServicesCore

@Suite("Mending by hand and by time")
struct MendingTests {
    private static let moment = Timestamp(microseconds: 1_621_197_402_105_449)

    private static func event(_ id: String, _ team: String) -> [UInt8] {
        Event(
            MembershipCreated(
                membershipID: id, teamID: team, userID: People.bob, role: .editor, updatedAt: moment,
                createdAt: moment),
            by: EventSource(traceID: String.makeUUID(), userID: People.bob)
        ).payload
    }

    @Test("dead letters are listed, replayed once, and dropped")
    func deadLetters() async throws {
        let issuer = try await TestIssuer()
        let database = try await TestDatabase.make("Projects")
        let configuration = try TestService.configuration(
            Projects.self, database: database, issuer: issuer, broker: nil)
        let printed = Mutex<[String]>([])
        func command(_ words: String...) async -> (code: Int32, lines: [String]) {
            printed.withLock { $0 = [] }
            let code = await DeadLettersCommand<Projects>(
                configuration: configuration, logger: TestLog().logger,
                print: { line in printed.withLock { $0.append(line) } }
            ).run(words)
            return (code, printed.withLock { $0 })
        }
        let (id, team) = (String.makeUUID(), String.makeUUID())
        let letters: [(Int64, [UInt8])] = [
            (1, Self.event(id, team)), (2, Array("no\u{1B}[2J".utf8)), (3, []),
        ]
        for (sequence, payload) in letters {
            try await database.query(
                """
                INSERT INTO dead_letters (consumer, channel, sequence, payload, reason)
                VALUES ('mic-projects-queue', 'MembershipCreated', \(sequence), \(payload), 'for a test')
                """)
        }
        try await database.query(
            "INSERT INTO dead_letters VALUES ('another', 'MembershipCreated', 9, '', 'not ours', now())")
        let listed = await command("list")
        #expect(listed.code == 0)
        #expect(listed.lines.count == 3)
        #expect(!listed.lines.joined().contains("\u{1B}"))
        let replayed = await command("replay", "MembershipCreated/1", "MembershipCreated/2")
        #expect(replayed.code == 1)
        #expect(replayed.lines.first == "MembershipCreated/1\tapplied")
        #expect(replayed.lines.last?.hasPrefix("MembershipCreated/2\tstays: undecodable") == true)
        #expect(try await database.value("SELECT membership_id FROM memberships") == id)
        #expect(await command("replay", "MembershipCreated/9").code == 1)
        #expect(await command("bury").code == 2)
        #expect(await command("replay").code == 2)
        #expect(await command("drop", "--all").lines.count == 2)
        #expect(try await database.rows("SELECT consumer FROM dead_letters") == ["another"])
    }

    @Test("parked events are applied when an event for the same id is, and at the start")
    func parked() async throws {
        let broker = try await TestBroker()
        let client = try await broker.client()
        let database = try await TestDatabase.make("Projects")
        let (here, later) = (String.makeUUID(), String.makeUUID())
        func park(_ id: String) async throws {
            let change = MembershipUpdated(
                membershipID: id, role: .viewer, updatedAt: Self.moment + .seconds(9))
            let event = Event(change, by: EventSource(traceID: String.makeUUID(), userID: People.ann))
            try await database.query(
                """
                INSERT INTO parked (consumer, event_id, channel, sequence, payload, reason)
                VALUES ('mic-projects-queue', \(event.id), 'MembershipUpdated', 1, \(event.payload), 'for a test')
                """)
        }
        try await park(here)
        try await park(later)
        try await database.query(
            """
            INSERT INTO memberships (membership_id, user_id, team_id, role, updated_at, created_at)
            VALUES (\(here), \(People.ann), 'team', 'editor', \(Self.moment), \(Self.moment))
            """)
        try await TestService.run(Projects.self, folder: "Projects", broker: broker, database: database) {
            test in
            try await test.eventually("the first is applied at the start") {
                try await database.rows("SELECT role FROM memberships") == ["viewer"]
                    && test.service.metrics.value(.parked) == 1
            }
            try await client.publish("MembershipCreated", Self.event(later, String.makeUUID()))
            try await test.eventually("the second is applied") {
                try await database.rows("SELECT role FROM memberships") == ["viewer", "viewer"]
            }
            try await test.eventually("none is left") {
                try await database.value("SELECT count(*)::text FROM parked") == "0"
            }
        }
        try await client.close()
        try await broker.stop()
    }

    @Test("an event is applied once and only with its id, whatever its handler does")
    func inbox() async throws {
        let database = try await TestDatabase.make("Projects")
        let pool = PostgresPool(database.configuration)
        let outcomes = Mutex<[EventOutcome]>([
            .waiting("it is too early"), .refused("never"), .applied, .applied,
        ])
        let inbox = Inbox(
            consumer: "test", database: Database(pool),
            listeners: [
                EventListener(MembershipDeleted.self) { event, transaction in
                    try await transaction.bury("membership", event.data.membershipID)
                    return outcomes.withLock { $0.removeFirst() }
                }
            ])
        let event = Event(
            MembershipDeleted(membershipID: "m"), by: EventSource(traceID: "t", userID: "u"), id: "e")
        func process() async throws -> Inbox.Outcome {
            try await inbox.process(channel: "MembershipDeleted", payload: event.payload)
        }
        #expect(try await process() == .waiting(eventID: "e", entityID: "m", reason: "it is too early"))
        #expect(try await process() == .refused("never"))
        #expect(try await database.value("SELECT count(*)::text FROM tombstones") == "0")
        #expect(try await database.value("SELECT count(*)::text FROM inbox") == "0")
        #expect(try await process() == .applied(entityID: "m"))
        #expect(try await process() == .duplicate)
        #expect(try await database.value("SELECT count(*)::text FROM tombstones") == "1")
        try await database.query(
            "INSERT INTO outbox (event_id, channel, payload) VALUES ('own', 'MembershipDeleted', '')")
        let own = Event(event.data, by: event.source, id: "own")
        #expect(try await inbox.process(channel: "MembershipDeleted", payload: own.payload) == .own)
        #expect(
            try await inbox.process(channel: "Other", payload: own.payload)
                == .refused("no listener for the channel"))
        await pool.shutdown()
    }
}
