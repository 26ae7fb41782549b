import Postgres
import PostgresCluster

extension PostgresConfiguration {
    /// The test run's server.
    static func testServer(_ cluster: PostgresCluster? = nil) async throws -> PostgresConfiguration {
        let cluster = if let cluster { cluster } else { try await PostgresCluster.shared() }
        var configuration = PostgresConfiguration(
            host: "127.0.0.1", port: cluster.port, database: "postgres", user: "postgres",
            password: "postgres")
        configuration.parameters["sslmode"] = "disable"
        // A machine that is busy is no failure.
        configuration.connectTimeout = .seconds(300)
        return configuration
    }
}

/// Opens a connection, lends it, and closes it.
@discardableResult
func withConnection<Value>(
    _ configure: (inout PostgresConfiguration) -> Void = { _ in },
    _ body: (PostgresConnection) async throws -> Value
) async throws -> Value {
    var configuration = try await PostgresConfiguration.testServer()
    configure(&configuration)
    let connection = try await PostgresConnection.open(configuration)
    defer { connection.close() }
    return try await body(connection)
}
