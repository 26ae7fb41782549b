import Logging
import Postgres

/// Takes out of outbox and inbox what nobody needs any more, once an hour.
///
/// Payloads are emptied 7 days after they were published, and their rows deleted after 30: until then they tell the
/// service's own events (services.md 5.6). What was handled is forgotten after 30 days too; an event that comes again
/// later than that is still held against the time of the row and the tombstones.
///
/// It works in small statements on a connection of the pool, so that it neither runs into the statement timeout, however
/// much there is, nor stands in the way of what is published meanwhile; a failure is logged, and the rest waits an hour.
struct MessageRetention: Sendable {
    /// Rows that one statement takes.
    static let chunk = 1_000

    let database: Database
    let clock: ServiceClock
    let logger: Logger

    /// Runs until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            do {
                for statement in Self.statements {
                    while try await database.query(statement).affectedRows == Self.chunk {
                        try Task.checkCancellation()
                    }
                }
            } catch is CancellationError {
                return
            } catch {
                logger.warning(
                    "old messages could not be cleaned up", metadata: ["error": "\(error)"])
            }
            // Cancellation is seen by the loop.
            try? await clock.sleep(.seconds(3_600))
        }
    }

    private static let statements: [PostgresQuery] = [
        """
        UPDATE outbox SET payload = '' WHERE seq IN (
          SELECT seq FROM outbox
          WHERE published_at < clock_timestamp() AT TIME ZONE 'utc' - interval '7 days' AND payload <> ''
          ORDER BY published_at LIMIT \(chunk))
        """,
        // Rows are published in the order of their numbers: the old ones are the first.
        """
        DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT \(chunk))
          AND published_at < clock_timestamp() AT TIME ZONE 'utc' - interval '30 days'
        """,
        """
        DELETE FROM inbox WHERE (consumer, event_id) IN (
          SELECT consumer, event_id FROM inbox
          WHERE handled_at < clock_timestamp() AT TIME ZONE 'utc' - interval '30 days' LIMIT \(chunk))
        """,
    ]
}
