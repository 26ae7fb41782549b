import Broker
import BrokerClient
import Foundation
import Logging

/// A broker in this process, on a free port, with its channels in memory.
public final class TestBroker: Sendable {
    private let server: BrokerServer
    /// The cluster id.
    public static let clusterID = "devpie-client"

    /// Starts a broker.
    public init(port: Int = -1) async throws {
        var options = BrokerOptions()
        options.host = "127.0.0.1"
        options.port = port
        options.store = .memory
        options.clusterID = Self.clusterID
        var logger = Logger(label: "broker")
        logger.logLevel = .critical
        server = try await BrokerServer.start(
            options: options, version: "test", logger: logger, streamingLogger: logger)
    }

    /// The port.
    public var port: Int { server.port }
    /// The address.
    public var url: String { "nats://127.0.0.1:\(port)" }

    /// Ends it; what it kept is gone.
    public func stop() async throws { try await server.shutdown() }

    /// A client of the test's own.
    public func client(_ id: String = "test") async throws -> StreamingClient {
        try await StreamingClient.connect(
            clusterID: Self.clusterID, clientID: "\(id)-\(UUID().uuidString)", ClientOptions(url))
    }
}
