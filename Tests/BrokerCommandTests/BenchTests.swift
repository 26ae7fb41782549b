import Broker
import BrokerClient
import Logging
import Testing

@testable import BrokerCommand

@Suite("Benchmarks and commands against a broker in this process", .timeLimit(.minutes(10)))
struct BenchTests {
    func server() async throws -> BrokerServer {
        var options = BrokerOptions()
        options.host = "127.0.0.1"
        options.port = -1
        options.monitoringPort = -1
        options.store = .memory
        let silence = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return try await BrokerServer.start(
            options: options, version: "test", logger: silence, streamingLogger: silence)
    }

    @Test("core: everything published is delivered to every subscriber and counted")
    func core() async throws {
        let server = try await server()
        var plan = CoreBenchPlan()
        plan.client = try ClientOptions("nats://127.0.0.1:\(server.port)")
        plan.publishers = 3
        plan.subscribers = 2
        plan.count = 10_000
        let final = plan
        let report = try await BenchRun.perform(
            progress: false, total: 1, { CoreBench(final, loop: $0) }, done: { $0.done },
            report: { $0.report })
        #expect(report.rates.map(\.messages) == [10_000, 20_000])
        #expect(report.latencies[0].histogram.count > 0)
        try await server.shutdown()
    }

    @Test("request: every request is answered")
    func request() async throws {
        let server = try await server()
        var plan = CoreBenchPlan()
        plan.client = try ClientOptions("nats://127.0.0.1:\(server.port)")
        plan.publishers = 2
        plan.subscribers = 1
        plan.count = 500
        let final = plan
        let report = try await BenchRun.perform(
            progress: false, total: 1, { RequestBench(final, loop: $0) }, done: { $0.done },
            report: { $0.report })
        #expect(report.latencies[0].histogram.count == 500)
        try await server.shutdown()
    }

    @Test("channel: every publish is acknowledged and delivered", arguments: [1, 7, 1024])
    func channel(inFlight: Int) async throws {
        let server = try await server()
        var plan = ChannelBenchPlan()
        plan.client = try ClientOptions("nats://127.0.0.1:\(server.port)")
        plan.publishers = 2
        plan.subscribers = 1
        plan.count = 2_001
        plan.inFlight = inFlight
        let final = plan
        let report = try await BenchRun.perform(
            progress: false, total: 1, { ChannelBench(final, loop: $0) }, done: { $0.done },
            report: { $0.report })
        #expect(report.rates.map(\.messages) == [2_001, 2_001])
        #expect(report.errors == 0)
        #expect(report.latencies[0].histogram.count == 2_001)
        try await server.shutdown()
    }

    @Test("a server that is not there, and one without streaming, are said to be")
    func failures() async throws {
        var plan = ChannelBenchPlan()
        let server = try await server()
        plan.client = try ClientOptions("nats://127.0.0.1:\(server.port)")
        plan.clusterID = "other"
        let wrong = plan
        await #expect(throws: CommandFailure.self) {
            _ = try await BenchRun.perform(
                progress: false, total: 1, { ChannelBench(wrong, loop: $0) }, done: { $0.done },
                report: { $0.report })
        }
        try await server.shutdown()
        await #expect(throws: CommandFailure.self) {
            _ = try await BenchRun.perform(
                progress: false, total: 1, { ChannelBench(wrong, loop: $0) }, done: { $0.done },
                report: { $0.report })
        }
    }

    @Test("the channels of a server are listed and shown")
    func monitoring() async throws {
        let server = try await server()
        let client = try await StreamingClient.patient(port: server.port, clusterID: "test-cluster")
        try await client.publish("a.b", Array("hello".utf8))
        let subscription = try await client.subscribe("a.b", ChannelSubscriptionOptions(durableName: "d"))
        let monitoring = try MonitoringClient("http://127.0.0.1:\(server.monitoringPort ?? 0)")
        let list = try await monitoring.get("/streaming/channelsz?subs=1")
        let table = ChannelListCommand.table(list["channels"]?.array ?? [])
        #expect(table.contains("a.b"))
        let info = ChannelInfoCommand.text(
            try await monitoring.get("/streaming/channelsz?subs=1&channel=a.b"))
        #expect(info.contains("active"))
        #expect(info.contains("d"))
        #expect(
            try await monitoring.fetch("/streaming/channelsz?channel=no", timeout: .seconds(300)).status
                == 404)
        try await subscription.close()
        try await client.close()
        try await server.shutdown()
    }
}
