import BrokerClient
import Postgres
import ServicesTesting
import Synchronization
import Testing

@testable import ProjectsService
@testable import ServicesCore

@Suite("Messages, as they are delivered")
struct DeliveryTests {
    private static let moment = Timestamp(microseconds: 1_621_197_402_105_449)
    private static let source = EventSource(traceID: String.makeUUID(), userID: People.ann)

    private static func created(_ id: String) -> [UInt8] {
        Event(
            MembershipCreated(
                membershipID: id, teamID: String.makeUUID(), userID: People.bob, role: .editor,
                updatedAt: moment, createdAt: moment), by: source
        ).payload
    }

    private static func updated(_ id: String) -> [UInt8] {
        Event(
            MembershipUpdated(membershipID: id, role: .viewer, updatedAt: moment + .seconds(1)), by: source
        ).payload
    }

    /// A service with a broker, and a client that publishes to it.
    private func run(
        environment: [String: String] = [:], clock: ServiceClock = .system,
        change: (inout ServiceConfiguration) -> Void = { _ in },
        _ body: (TestService, @escaping @Sendable (String, [UInt8]) async throws -> Void) async throws -> Void
    ) async throws {
        let broker = try await TestBroker()
        let client = try await broker.client()
        do {
            try await TestService.run(
                Projects.self, folder: "Projects", broker: broker, environment: environment, clock: clock,
                change: change
            ) { test in
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

    /// Holds the lock that events of an entity are applied under, while `body` runs.
    private func whileLocked(_ id: String, _ test: TestService, _ body: () async throws -> Void) async throws
    {
        let connection = try await PostgresConnection.open(test.database.configuration)
        defer { connection.close() }
        try await connection.query("SELECT pg_advisory_lock(hashtextextended(\(id), 0))")
        try await body()
    }

    @Test("of one channel do not wait for each other, only for those of the same entity")
    func sideBySide() async throws {
        // Longer than the test waits.
        try await run(environment: ["API_DB_TIMEOUT": "600s"]) { test, publish in
            let (held, free) = (String.makeUUID(), String.makeUUID())
            try await whileLocked(held, test) {
                try await publish(MembershipCreated.type, Self.created(held))
                try await publish(MembershipCreated.type, Self.created(free))
                try await test.eventually("the second is applied") {
                    try await test.database.rows("SELECT membership_id FROM memberships") == [free]
                }
            }
            try await test.eventually("the first is applied") {
                try await test.database.value("SELECT count(*)::text FROM memberships") == "2"
            }
        }
    }

    @Test("that the database is too slow for come again; the subscriptions stay")
    func slowDatabase() async throws {
        // Statements alone: a connection that takes as long to open would be a database that is away.
        let change = { (configuration: inout ServiceConfiguration) in
            configuration.database.queryTimeout = .milliseconds(500)
        }
        try await run(change: change) { test, publish in
            let id = String.makeUUID()
            try await whileLocked(id, test) {
                try await publish(MembershipCreated.type, Self.created(id))
                try await test.eventually("it fails") {
                    test.log.text.contains("an event could not be handled and will come again")
                }
            }
            try await test.eventually("it is applied") {
                try await test.database.rows("SELECT membership_id FROM memberships") == [id]
            }
            #expect(!test.log.text.contains("the database does not answer: no events are taken"))
        }
    }

    @Test("are done when they are acknowledged, whatever becomes of those that have waited for them")
    func retriesFail() async throws {
        try await run { test, publish in
            try await test.database.query(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'for a test'; END $$;
                CREATE TRIGGER refuse BEFORE UPDATE ON memberships FOR EACH ROW EXECUTE FUNCTION refuse()
                """)
            let id = String.makeUUID()
            try await publish(MembershipUpdated.type, Self.updated(id))
            try await test.eventually("it waits") { test.log.text.contains("an event waits for another") }
            try await publish(MembershipCreated.type, Self.created(id))
            try await test.eventually("what has waited fails") {
                test.log.text.contains("what has waited for this event could not be applied yet")
            }
            #expect(
                !test.log.lines.contains {
                    $0.contains("could not be handled") && $0.contains(#""channel":"MembershipCreated""#)
                })
            try await test.database.query("DROP TRIGGER refuse ON memberships")
            try await test.eventually("it is applied when it comes again") {
                try await test.database.rows("SELECT role FROM memberships") == ["viewer"]
            }
        }
    }

    @Test("that have waited for 15 minutes are parked and acknowledged")
    func parking() async throws {
        let passed = Mutex(Duration.zero)
        // Stands still but for what the test lets pass.
        let clock = ServiceClock(
            now: ServiceClock.system.now, monotonic: { passed.withLock { $0 } },
            sleep: ServiceClock.system.sleep)
        try await run(clock: clock) { test, publish in
            let id = String.makeUUID()
            try await publish(MembershipUpdated.type, Self.updated(id))
            try await test.eventually("it waits") { test.log.text.contains("an event waits for another") }
            passed.withLock { $0 = .seconds(890) }
            try await test.eventually("it came again") {
                test.service.metrics.value(.redeliveries, ["channel": "MembershipUpdated"]) >= 2
            }
            #expect(try await test.database.value("SELECT count(*)::text FROM parked") == "0")
            passed.withLock { $0 = .seconds(901) }
            try await test.eventually("it is parked") {
                try await test.database.rows("SELECT channel, reason FROM parked") == [
                    "MembershipUpdated|the membership \(id) is not there"
                ]
            }
            // By its time, then, and not by its deliveries.
            #expect(test.service.metrics.value(.redeliveries, ["channel": "MembershipUpdated"]) < 20)
            try await publish(MembershipCreated.type, Self.created(id))
            try await test.eventually("it is applied") {
                try await test.database.rows("SELECT role FROM memberships") == ["viewer"]
            }
        }
    }

    @Test("that are parked are all tried, however many stay, and one that fails keeps none of the others")
    func manyParked() async throws {
        let database = try await TestDatabase.make("Projects")
        try await database.query(
            """
            INSERT INTO parked (consumer, event_id, channel, sequence, payload, reason, first_seen)
            SELECT 'mic-projects-queue', 'e' || n, 'MembershipUpdated', n, convert_to(format(
                '{"id":"e%s","type":"MembershipUpdated","metadata":{"traceId":"t","userId":"u"},"data":{"membershipId":"m%s","role":"viewer","updatedAt":"2021-05-16T20:36:43Z"}}',
                n, n), 'UTF8'), 'for a test', now() AT TIME ZONE 'utc' - make_interval(secs => 1000 - n)
            FROM generate_series(1, 602) n;
            INSERT INTO memberships (membership_id, user_id, team_id, role, created_at, updated_at)
            SELECT 'm' || n, 'u' || n, 't', 'editor', '2021-05-16 20:36:42', '2021-05-16 20:36:42'
            FROM generate_series(601, 602) n;
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'for a test'; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON memberships FOR EACH ROW WHEN (OLD.membership_id = 'm601')
              EXECUTE FUNCTION refuse()
            """)
        try await TestService.run(Projects.self, folder: "Projects", broker: nil, database: database) {
            test in
            try await test.eventually("the last is applied") {
                try await database.rows("SELECT membership_id, role FROM memberships ORDER BY 1") == [
                    "m601|editor", "m602|viewer",
                ]
            }
            try await test.eventually("the rest stays") {
                try await database.value("SELECT count(*)::text FROM parked") == "601"
            }
            #expect(test.log.text.contains("a parked event could not be applied"))
        }
    }
}
