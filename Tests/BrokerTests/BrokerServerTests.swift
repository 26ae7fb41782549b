import Foundation
import Testing

@testable import Broker

@Suite("Starting a broker", .timeLimit(.minutes(10)))
struct BrokerServerTests {
    private func start(_ options: BrokerOptions) async throws -> BrokerServer {
        let logger = LogLines().logger()
        return try await BrokerServer.start(
            options: options, version: "test", logger: logger, streamingLogger: logger)
    }

    @Test("one that cannot listen for monitoring leaves its data directory to the next")
    func takenMonitoringPort() async throws {
        var options = BrokerOptions()
        options.host = "127.0.0.1"
        options.port = -1
        options.store = .memory
        options.monitoringPort = -1
        let other = try await start(options)

        options.directory = NSTemporaryDirectory() + "broker-server-tests-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: options.directory) }
        options.store = .file
        options.journalSizeBytes = 32 << 20
        options.monitoringPort = other.monitoringPort
        let error = await #expect(throws: BrokerStartError.self) { try await start(options) }
        #expect(error?.description.contains("cannot listen for monitoring") == true)
        options.monitoringPort = nil
        try await start(options).shutdown()
        try await other.shutdown()
    }
}
