import Postgres

/// Load through the Postgres wrapper, for Benchmarks/Postgres/run.sh:
///
///     PostgresBenchmark simple|query|pipeline URL CONNECTIONS SECONDS
///
/// prints operations per second over all connections: statements, or with `pipeline` inserted rows.
@main
enum PostgresBenchmark {
    /// Inserts in one round trip, as in pipeline.sql.
    static let batch = 100

    static func main() async throws {
        let words = CommandLine.arguments
        guard words.count == 5, let connections = Int(words[3]), let seconds = Int(words[4]) else {
            fatalError("usage: PostgresBenchmark simple|query|pipeline URL CONNECTIONS SECONDS")
        }
        let configuration = try PostgresConfiguration(connectionString: words[2])
        var opened: [PostgresConnection] = []
        for _ in 0..<connections { opened.append(try await PostgresConnection.open(configuration)) }
        // A tenth of the time to warm up, which is not counted.
        _ = try await rate(words[1], on: opened, for: .milliseconds(seconds * 100))
        print(try await rate(words[1], on: opened, for: .seconds(seconds)))
        for connection in opened { connection.close() }
    }

    /// Operations per second over all connections.
    private static func rate(
        _ kind: String, on connections: [PostgresConnection], for duration: Duration
    ) async throws -> Int {
        let clock = ContinuousClock()
        let start = clock.now
        let done = try await withThrowingTaskGroup(of: Int.self) { group in
            for connection in connections {
                group.addTask { try await run(kind, on: connection, until: start.advanced(by: duration)) }
            }
            return try await group.reduce(0, +)
        }
        let (whole, fraction) = start.duration(to: clock.now).components
        return Int(Double(done) / (Double(whole) + Double(fraction) / 1e18))
    }

    private static func run(
        _ kind: String, on connection: PostgresConnection, until end: ContinuousClock.Instant
    ) async throws -> Int {
        var done = 0
        switch kind {
        case "simple":
            while ContinuousClock.now < end {
                let rows = try await connection.query("SELECT 1")
                precondition(rows.count == 1, "one row is the answer")
                done += 1
            }
        case "query":
            while ContinuousClock.now < end {
                let rows = try await connection.query("SELECT \(done)::bigint")
                precondition(rows.count == 1, "one row is the answer")
                done += 1
            }
        case "pipeline":
            let insert = try await connection.prepare("INSERT INTO pipelined (n, t) VALUES ($1, $2)")
            while ContinuousClock.now < end {
                let statements = (0..<batch).map { PostgresStatement(insert, [$0, "some text of a row"]) }
                let results = try await connection.pipeline(statements)
                precondition(results.count == batch, "a result for each")
                done += batch
            }
        default: fatalError("no load is called \(kind)")
        }
        return done
    }
}
