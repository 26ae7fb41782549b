import Postgres
import Synchronization

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
        let kind = words[1]
        var opened: [PostgresConnection] = []
        for _ in 0..<connections { opened.append(try await PostgresConnection.open(configuration)) }
        let clock = ContinuousClock()
        // A tenth of the time to warm up, which is not counted.
        for isMeasured in [false, true] {
            let start = clock.now
            let end = start.advanced(by: .milliseconds(isMeasured ? seconds * 1_000 : seconds * 100))
            let done = try await withThrowingTaskGroup(of: Int.self) { group in
                for connection in opened {
                    group.addTask { try await run(kind, on: connection, until: end) }
                }
                return try await group.reduce(0, +)
            }
            guard isMeasured else { continue }
            let (whole, fraction) = start.duration(to: clock.now).components
            print(Int(Double(done) / (Double(whole) + Double(fraction) / 1e18)))
        }
        for connection in opened { connection.close() }
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
