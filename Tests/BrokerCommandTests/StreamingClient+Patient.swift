import BrokerClient

extension StreamingClient {
    /// A client that a slow machine, or a disk whose sync takes seconds, does not make give up.
    static func patient(port: Int, clusterID: String) async throws -> StreamingClient {
        var options = try ClientOptions("nats://127.0.0.1:\(port)")
        options.connectTimeout = .seconds(300)
        var streaming = StreamingOptions()
        streaming.requestTimeout = .seconds(300)
        streaming.publishTimeout = .seconds(300)
        return try await connect(clusterID: clusterID, clientID: "me", options, streaming: streaming)
    }
}
