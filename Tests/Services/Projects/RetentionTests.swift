import Postgres
import ServicesTesting
import Testing

@testable import ProjectsService
@testable import ServicesCore

@Suite("What was published and handled")
struct RetentionTests {
    /// Published and handled events of several ages: 2,500 of 31 and of 8 days, one of 6 days.
    private func database() async throws -> TestDatabase {
        let database = try await TestDatabase.make("Projects")
        for (age, count) in [(31, 2_500), (8, 2_500), (6, 1)] {
            try await database.query(
                """
                INSERT INTO outbox (event_id, channel, payload, created_at, published_at)
                SELECT gen_random_uuid(), 'Test', 'payload', at, at
                FROM generate_series(1, \(count)::int), (
                  SELECT now() AT TIME ZONE 'utc' - make_interval(days => \(age)::int) AS at) AS time
                """)
            try await database.query(
                """
                INSERT INTO inbox (consumer, event_id, handled_at)
                SELECT 'test', gen_random_uuid(), now() AT TIME ZONE 'utc' - make_interval(days => \(age)::int)
                FROM generate_series(1, \(count)::int)
                """)
        }
        return database
    }

    @Test("is emptied after 7 days and forgotten after 30, in steps of 1,000")
    func steps() async throws {
        let database = try await database()
        // A statement that takes more than 1,000 rows is refused.
        try await database.query(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF (SELECT count(*) FROM taken) > 1000 THEN RAISE 'too many at once'; END IF; RETURN NULL; END $$;
            CREATE TRIGGER emptied AFTER UPDATE ON outbox REFERENCING OLD TABLE AS taken
              FOR EACH STATEMENT EXECUTE FUNCTION refuse();
            CREATE TRIGGER deleted AFTER DELETE ON outbox REFERENCING OLD TABLE AS taken
              FOR EACH STATEMENT EXECUTE FUNCTION refuse();
            CREATE TRIGGER forgotten AFTER DELETE ON inbox REFERENCING OLD TABLE AS taken
              FOR EACH STATEMENT EXECUTE FUNCTION refuse()
            """)
        try await TestService.run(Projects.self, folder: "Projects", database: database) { test in
            try await test.eventually("old ones are gone") {
                let outbox = try await database.rows(
                    "SELECT payload <> '', count(*) FROM outbox GROUP BY 1 ORDER BY 1")
                let handled = try await database.value("SELECT count(*)::text FROM inbox")
                return outbox == ["f|2500", "t|1"] && handled == "2501"
            }
            #expect(!test.log.text.contains("could not be cleaned up"))
        }
    }

    @Test("that cannot be cleaned up is logged, and events are published all the same")
    func failure() async throws {
        let broker = try await TestBroker()
        let database = try await database()
        try await database.query(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'for a test'; END $$;
            CREATE TRIGGER emptied BEFORE UPDATE OF payload ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()
            """)
        try await TestService.run(Projects.self, folder: "Projects", broker: broker, database: database) {
            test in
            try await test.eventually("the failure is logged") {
                test.log.text.contains("could not be cleaned up")
            }
            _ = try await test.makeProject()
            try await test.eventually("the event is published") {
                try await database.value("SELECT count(*)::text FROM outbox WHERE published_at IS NULL")
                    == "0"
            }
            #expect(!test.log.text.contains("the relay has no database"))
        }
        try await broker.stop()
    }
}
