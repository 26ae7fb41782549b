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
        options.monitoringPort = -1
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

    /// How many clients it has.
    public func connections() async throws -> Int {
        let monitoring = try TestSocket(port: server.monitoringPort ?? 0)
        monitoring.write("GET /varz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        let answer = await monitoring.readToEnd()
        guard let body = answer.range(of: "\r\n\r\n").map({ answer[$0.upperBound...] }),
            let numbers = try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any],
            let connections = numbers["connections"] as? Int
        else { throw CocoaError(.coderReadCorrupt) }
        return connections
    }

    /// Ends it; what it kept is gone.
    public func stop() async throws { try await server.shutdown() }

    /// A client of the test's own.
    public func client(_ id: String = "test") async throws -> StreamingClient {
        // A machine that is busy is no failure.
        var options = try ClientOptions(url)
        options.connectTimeout = .seconds(300)
        var streaming = StreamingOptions()
        streaming.requestTimeout = .seconds(300)
        streaming.publishTimeout = .seconds(300)
        return try await StreamingClient.connect(
            clusterID: Self.clusterID, clientID: "\(id)-\(UUID().uuidString)", options, streaming: streaming)
    }
}
