import Foundation
import Migrate
import Postgres
import PostgresCluster

/// A database of a test's own with the migrations of a service.
public struct TestDatabase: Sendable {
    /// Its name.
    public let name: String
    /// Its server.
    public let cluster: PostgresCluster
    /// Keeps a connection from one statement to the next: in a debug build, opening one costs more than most statements.
    private let pool: PostgresPool

    private init(name: String, cluster: PostgresCluster) {
        self.name = name
        self.cluster = cluster
        var options = PostgresPool.Options()
        // A test that waits for a lock in one statement lets it go by another.
        options.maximumConnections = 20
        options.acquireTimeout = .seconds(300)
        pool = PostgresPool(Self.configuration(name, cluster), options: options)
    }

    /// Makes a database and migrates it.
    ///
    /// - Parameter service: `Projects` or `Users`, the folder below `Sources/Services`.
    public static func make(_ service: String, in cluster: PostgresCluster? = nil) async throws
        -> TestDatabase
    {
        let cluster = if let cluster { cluster } else { try await PostgresCluster.shared() }
        let database = TestDatabase(name: try await cluster.createDatabase(), cluster: cluster)
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources/Services/\(service)/Migrations").path
        let migrator = try await Migrator.open(
            source: MigrationSource(directory: folder), database: DatabaseURL(cluster.url(database.name)))
        defer { migrator.close() }
        _ = try await migrator.run(.up(nil))
        return database
    }

    /// How to connect.
    public var configuration: PostgresConfiguration { Self.configuration(name, cluster) }

    private static func configuration(_ name: String, _ cluster: PostgresCluster) -> PostgresConfiguration {
        var configuration = PostgresConfiguration(
            host: "127.0.0.1", port: cluster.port, database: name, user: "postgres", password: "postgres")
        configuration.parameters["sslmode"] = "disable"
        // A machine that is busy is no failure.
        configuration.connectTimeout = .seconds(300)
        return configuration
    }

    /// Runs a statement by itself, on any connection.
    @discardableResult
    public func query(_ query: PostgresQuery) async throws -> PostgresResult {
        try await pool.withConnection { try await $0.query(query) }
    }

    /// The first column of the first row as text; "" for NULL or no row.
    public func value(_ query: PostgresQuery) async throws -> String {
        try await self.query(query).first?.decode(0, as: String?.self) ?? ""
    }

    /// Every row as text, columns joined by `|`: what two databases are compared by.
    public func rows(_ query: PostgresQuery) async throws -> [String] {
        try await self.query(query).map { row in
            try row.columns.indices.map { try row.decode($0, as: String?.self) ?? "NULL" }.joined(
                separator: "|")
        }
    }
}
