import BrokerClient
import Foundation
import Postgres
import ServicesCore
import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("The outbox")
struct OutboxTests {
    /// The events of a channel, read from its beginning until there are `count`.
    private func events(_ broker: TestBroker, _ channel: String, count: Int) async throws -> [[UInt8]] {
        let client = try await broker.client("reader")
        let subscription = try await client.subscribe(channel, ChannelSubscriptionOptions(start: .first))
        var payloads: [[UInt8]] = []
        for try await message in subscription {
            payloads.append(message.payload)
            if payloads.count == count { break }
        }
        try await client.close()
        return payloads
    }

    @Test("is published in its order, the bytes as they are there, with the request's trace id")
    func order() async throws {
        let broker = try await TestBroker()
        try await TestService.projects(broker: broker) { test in
            let trace = "0af76519-16cd-43dd-8448-eb211c80319c"
            let reply = try await test.send(
                "POST", "/api/v1/projects", as: People.ann, #"{"name":"Testing"}"#,
                headers: [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
            #expect(reply.headers["x-trace-id"] == trace)
            let path = "/api/v1/projects/\(reply.text("id"))"
            for index in 0..<150 {
                _ = try await test.send("PATCH", path, as: People.ann, #"{"description":"\#(index)"}"#)
            }
            let created = try await events(broker, "ProjectCreated", count: 1)
            #expect(try Event<ProjectCreated>(payload: created[0]).source.traceID == trace)
            let updates = try await events(broker, "ProjectUpdated", count: 150)
            #expect(
                try updates.map { try Event<ProjectUpdated>(payload: $0).data.description }
                    == (0..<150).map { "\($0)" })
            let times = try updates.map { try Event<ProjectUpdated>(payload: $0).data.updatedAt }
            #expect(times == times.sorted())
            #expect(Set(times).count == 150)
            try await test.eventually("all rows are marked") {
                try await test.database.value("SELECT count(*)::text FROM outbox WHERE published_at IS NULL")
                    == "0"
            }
            let stored = try await test.database.query(
                "SELECT payload FROM outbox WHERE channel = 'ProjectUpdated' ORDER BY seq")
            #expect(try stored.map { try $0.decode(0, as: [UInt8].self) } == updates)
        }
        try await broker.stop()
    }

    @Test(
        "waits while the broker is away: writes succeed, readiness tells, and the events follow when it is there"
    )
    func brokerAway() async throws {
        let port = try ReservedPort()
        try await TestService.projects(
            environment: ["API_NATS_URL": "nats://127.0.0.1:\(port.number)"]
        ) { test in
            let reply = try await test.send(
                "POST", "/api/v1/projects", as: People.ann, #"{"name":"Testing"}"#)
            #expect(reply.status == 201)
            try await test.eventually("the event's wait is told") {
                let ready = try await test.debug("/readyz")
                #expect(ready.status == 200)
                return ready.text("broker") == "down" && ready.object["outboxDepth"] as? Int == 1
                    && (ready.object["outboxLagSeconds"] as? Double ?? 0) > 0
            }
            #expect(try await test.debug("/metrics").body.contains("outbox_depth 1"))
            let broker = try await TestBroker(port: port.number)
            let payloads = try await events(broker, "ProjectCreated", count: 1)
            #expect(try Event<ProjectCreated>(payload: payloads[0]).data.projectID == reply.text("id"))
            try await test.eventually("the broker is back") {
                try await test.debug("/readyz").text("broker") == "up"
            }
            try await test.eventually("the row is marked") {
                try await test.database.value("SELECT count(*)::text FROM outbox WHERE published_at IS NULL")
                    == "0"
            }
            // Before the service, which then has nobody to take leave of.
            try await broker.stop()
        }
    }

    @Test("of a database is published by one replica; another takes over when it ends")
    func replicas() async throws {
        let broker = try await TestBroker()
        let issuer = try await TestIssuer()
        try await issuer.start()
        let database = try await TestDatabase.make("Projects")
        try await TestService.run(
            Projects.self, folder: "Projects", broker: broker, database: database, issuer: issuer
        ) { second in
            try await TestService.run(
                Projects.self, folder: "Projects", broker: broker, database: database, issuer: issuer
            ) { first in
                _ = try await first.makeProject("one")
                _ = try await second.makeProject("two")
                _ = try await events(broker, "ProjectCreated", count: 2)
            }
            _ = try await second.makeProject("three")
            let names = try await events(broker, "ProjectCreated", count: 3)
                .map { try Event<ProjectCreated>(payload: $0).data.name }
            #expect(names == ["one", "two", "three"])
        }
        await issuer.stop()
        try await broker.stop()
    }

    @Test("is published at once by whoever leads, without a timer, whichever replica has committed")
    func wakes() async throws {
        let broker = try await TestBroker()
        let issuer = try await TestIssuer()
        try await issuer.start()
        let database = try await TestDatabase.make("Projects")
        // No pause of either service ever ends.
        let standing = ServiceClock(
            now: ServiceClock.system.now, monotonic: ServiceClock.system.monotonic,
            sleep: { _ in
                let (never, continuation) = AsyncStream.makeStream(of: Void.self)
                for await _ in never {}
                continuation.finish()
                throw CancellationError()
            })
        // Nor would the one after a broker that is slow to take a client.
        let patient = ["API_NATS_CONNECT_TIMEOUT": "300s"]
        try await TestService.run(
            Projects.self, folder: "Projects", broker: broker, database: database, issuer: issuer,
            environment: patient, clock: standing
        ) { first in
            try await first.eventually("it leads") { first.log.text.contains("the relay leads") }
            try await TestService.run(
                Projects.self, folder: "Projects", broker: broker, database: database, issuer: issuer,
                environment: patient, clock: standing
            ) { second in
                // An event committed before the leader has its broker would wait for the end of a pause.
                for replica in [first, second] {
                    try await replica.eventually("it has the broker") {
                        try await replica.debug("/readyz").text("broker") == "up"
                    }
                }
                // The relay's first look, at which it finds that another leads, may come after the first commit.
                for (index, replica) in [first, second, first, second].enumerated() {
                    _ = try await replica.makeProject("p\(index)")
                    try await replica.eventually("the event is published") {
                        try await database.value(
                            "SELECT count(*)::text FROM outbox WHERE published_at IS NOT NULL")
                            == "\(index + 1)"
                    }
                }
                #expect(!second.log.text.contains("the relay leads"))
            }
        }
        await issuer.stop()
        try await broker.stop()
    }

    @Test("tells nobody within the transaction: notifications there would make transactions commit in turn")
    func noNotification() async throws {
        try await TestService.projects { test in
            let connection = try await PostgresConnection.open(test.database.configuration)
            try await test.eventually("it leads") { test.log.text.contains("the relay leads") }
            try await connection.withNotifications(on: "outbox") { notifications in
                _ = try await test.makeProject()
                // What is notified after the commit above.
                try await test.database.query("SELECT pg_notify('outbox', 'the test')")
                let first = try await notifications.first { _ in true }
                #expect(first?.payload == "the test")
            }
            connection.close()
        }
    }
}
