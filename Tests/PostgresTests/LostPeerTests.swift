import Postgres
import Testing

@Suite struct LostPeerTests {
    @Test("a lost machine is noticed by the server, and by the client, within 25 s")
    func lostPeers() async throws {
        var configuration = try await PostgresConfiguration.testServer()
        configuration.parameters["options"] = "-c TimeZone=UTC"
        configuration.noticeLostPeers()
        let connection = try await PostgresConnection.open(configuration)
        defer { connection.close() }
        // The server tells what its socket is set to.
        for (name, value) in [
            ("tcp_keepalives_idle", "10"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "25000"), ("TimeZone", "UTC"),
        ] {
            let row = try await connection.query("SELECT current_setting(\(name))").first
            #expect(try row?.decode(0, as: String.self) == value, "\(name)")
        }
        #expect(configuration.parameters["keepalives_idle"] == "10")
        #expect(configuration.parameters["tcp_user_timeout"] == "25000")
    }
}
