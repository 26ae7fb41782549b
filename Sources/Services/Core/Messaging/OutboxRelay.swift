import BrokerClient
import Logging
import Postgres

/// Publishes what the outbox holds, in its order (services.md 5.6).
///
/// One relay a database: whoever holds the advisory lock, on a connection of its own that also listens. It is woken by
/// this process's commits, by a notification of those of other replicas, and by a timer of one second, which covers a
/// replica that died between its commit and the notification. At most 64 events are unacknowledged; a row is marked when
/// the broker has acknowledged it. After a failure the same bytes are published again, with the same id.
struct OutboxRelay: Sendable {
    static let notification = "outbox"
    /// The key of the advisory lock: "outbox" in ASCII.
    static let lock = 0x6F75_7462_6F78
    static let batchSize = 64

    private struct Row: Sendable {
        let seq: Int64
        let channel: String
        let payload: [UInt8]
    }

    let configuration: PostgresConfiguration
    let database: Database
    let broker: BrokerLink
    let clock: ServiceClock
    let metrics: Metrics
    let logger: Logger
    let failPoint: FailPoint?
    let state: OutboxState

    /// Runs until the task is cancelled; a batch under way is finished first.
    func run() async {
        var backoff = Backoff()
        while !Task.isCancelled {
            do {
                let connection = try await PostgresConnection.open(configuration)
                defer { connection.close() }
                try await lead(connection) { backoff.reset() }
            } catch is CancellationError {
                return
            } catch {
                logger.warning("the relay has no database", metadata: ["error": "\(error)"])
                // Cancellation is seen by the loop.
                try? await clock.sleep(backoff.delay())
            }
        }
    }

    /// Waits for the lock, then relays until the connection or the task ends.
    private func lead(_ connection: PostgresConnection, _ connected: () -> Void) async throws {
        var measured: Duration?
        while true {
            let row = try await connection.query("SELECT pg_try_advisory_lock(\(Self.lock))").first
            connected()
            if try row?.decode(0, as: Bool.self) == true { break }
            // Another replica leads; its end is noticed within a second.
            let now = clock.monotonic()
            if measured.map({ now - $0 >= .seconds(1) }) ?? true {
                measured = now
                try await measure(connection)
            }
            if try await isCommitSignalled(within: .seconds(1)) {
                try await connection.query("NOTIFY \(identifier: Self.notification)")
            }
        }
        logger.info("the relay leads")
        try await connection.withNotifications(on: Self.notification) { notifications in
            try await relay(connection, notifications)
        }
    }

    /// Whether this replica commits events before the time is over.
    private func isCommitSignalled(within limit: Duration) async throws -> Bool {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask { await database.commits.wait() }
            group.addTask {
                try await clock.sleep(limit)
                return false
            }
            defer { group.cancelAll() }
            let isSignalled = try await group.next() ?? false
            try Task.checkCancellation()
            return isSignalled
        }
    }

    private func relay(_ connection: PostgresConnection, _ notifications: PostgresNotifications) async throws
    {
        let wake = database.commits
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for try await _ in notifications { wake.signal() }
                // A connection that is lost ends the stream with an error; an end without one is a shutdown.
            }
            group.addTask {
                while true {
                    try await clock.sleep(.seconds(1))
                    wake.signal()
                }
            }
            group.addTask { await MessageRetention(database: database, clock: clock, logger: logger).run() }
            group.addTask {
                var backoff = Backoff()
                while true {
                    try Task.checkCancellation()
                    if try await publishBatch(connection, &backoff) { continue }
                    try await measure(connection)
                    await wake.wait()
                }
            }
            // Whichever ends first ends the others.
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Publishes up to 64 events; true when there may be more.
    private func publishBatch(_ connection: PostgresConnection, _ backoff: inout Backoff) async throws -> Bool
    {
        let rows = try await connection.query(
            """
            SELECT seq, channel, payload FROM outbox WHERE published_at IS NULL ORDER BY seq LIMIT \(Self.batchSize)
            """
        ).map { row in
            let (seq, channel, payload) = try row.decode(Int64.self, String.self, [UInt8].self)
            return Row(seq: seq, channel: channel, payload: payload)
        }
        if rows.isEmpty { return false }
        FailPoint.relayBeforePublish.reach(failPoint)
        let results = await publish(rows)
        FailPoint.relayBeforeMark.reach(failPoint)
        let done = zip(rows, results).filter { $0.1 == nil }.map { String($0.0.seq) }
        if !done.isEmpty {
            // One statement for all: the ids as an array. A shutdown does not stand between an acknowledgement and its mark.
            _ = try await Task {
                try await connection.query(
                    """
                    UPDATE outbox SET published_at = clock_timestamp() AT TIME ZONE 'utc', attempts = attempts + 1,
                      last_error = NULL WHERE seq = ANY (\(done)::text[]::bigint[])
                    """)
            }.value
            metrics.add(.published, Double(done.count))
        }
        if let index = results.firstIndex(where: { $0 != nil }), let failure = results[index] {
            metrics.add(.publishFailures)
            state.failed(failure)
            try await connection.query(
                """
                UPDATE outbox SET attempts = attempts + 1, last_error = \(failure) WHERE seq = \(rows[index].seq)
                """)
            try await measure(connection)
            logger.warning("an event could not be published", metadata: ["error": "\(failure)"])
            try await clock.sleep(backoff.delay())
            return true
        }
        backoff.reset()
        return rows.count == Self.batchSize
    }

    /// Sends the rows in order and waits for all acknowledgements: nil for one that came, else the reason.
    private func publish(_ rows: [Row]) async -> [String?] {
        // A client without a connection would keep what it is given, and send each try when it has one again.
        guard let client = broker.client, broker.isConnected else {
            return rows.map { _ in "the broker is not connected" }
        }
        let acknowledgements = Acknowledgements(count: rows.count)
        for (index, row) in rows.enumerated() {
            do throws(StreamingError) {
                try await client.publish(row.channel, row.payload) { result in
                    switch result {
                    case .success: acknowledgements.complete(index, nil)
                    case .failure(let error): acknowledgements.complete(index, error.description)
                    }
                }
            } catch {
                // What follows is not sent: the order within an entity is that of the outbox.
                for rest in index..<rows.count { acknowledgements.complete(rest, error.description) }
                break
            }
        }
        return await withTaskCancellationHandler {
            await acknowledgements.all()
        } onCancel: {
            // What comes no more within a second is published again, with the same ids, by whoever leads next.
            Task {
                try? await clock.sleep(.seconds(1))
                for index in rows.indices { acknowledgements.complete(index, "the service ends") }
            }
        }
    }

    /// Takes stock for metrics and readiness.
    private func measure(_ connection: PostgresConnection) async throws {
        let row = try await connection.query(
            """
            SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() AT TIME ZONE 'utc' - min(created_at)), 0)::float8
            FROM outbox WHERE published_at IS NULL
            """
        ).first
        guard let (depth, lag) = try row?.decode(Int.self, Double.self) else { return }
        state.measured(depth: depth, lag: max(0, lag))
        metrics.set(.outboxDepth, Double(depth))
        metrics.set(.outboxLag, max(0, lag))
        if lag > 60, state.shouldWarn(at: clock.monotonic()) {
            logger.warning(
                "events wait to be published for more than a minute",
                metadata: ["lag_seconds": "\(Int(lag))", "events": "\(depth)"])
        }
    }
}
