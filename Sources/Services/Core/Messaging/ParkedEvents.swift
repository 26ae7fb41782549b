import Logging
import Postgres
import Synchronization

/// The events that wait in the table `parked` for another one: tried again every minute, and when an event for the same
/// id is applied.
final class ParkedEvents: Sendable {
    private struct Row: Sendable {
        let eventID: String
        let channel: String
        let sequence: Int64
        let payload: [UInt8]
        let firstSeen: Timestamp
    }

    /// Rows that are held in memory at a time.
    private static let page = 500

    private let inbox: Inbox
    private let metrics: Metrics
    private let logger: Logger
    /// How many there were at the last look: without any, no statement is spent on them.
    private let count = Atomic(0)

    init(inbox: Inbox, metrics: Metrics, logger: Logger) {
        self.inbox = inbox
        self.metrics = metrics
        self.logger = logger
    }

    /// Notes that there is one more.
    func added() {
        count.add(1, ordering: .relaxed)
    }

    /// Tries all of them again, the oldest first.
    ///
    /// - Throws: When the database is away.
    func retryAll() async throws { try await retry(naming: nil) }

    /// Tries those again that name this id.
    ///
    /// - Throws: When the database is away.
    func retry(entityID: String) async throws {
        guard count.load(ordering: .relaxed) > 0 else { return }
        try await retry(naming: entityID)
    }

    private func retry(naming entityID: String?) async throws {
        let part = entityID.map { Array($0.utf8) }
        var last = (time: Timestamp(microseconds: 0), id: "")
        var rows: [Row]
        repeat {
            rows = try await inbox.database.query(
                """
                SELECT event_id, channel, sequence, payload, first_seen FROM parked
                WHERE consumer = \(inbox.consumer) AND (first_seen, event_id) > (\(last.time)::timestamp, \(last.id))
                  AND (\(part)::bytea IS NULL OR position(\(part)::bytea IN payload) > 0)
                ORDER BY first_seen, event_id LIMIT \(Self.page)
                """
            ).map { row in
                let (id, channel, sequence, payload, firstSeen) = try row.decode(
                    String.self, String.self, Int64.self, [UInt8].self, Timestamp.self)
                return Row(
                    eventID: id, channel: channel, sequence: sequence, payload: payload, firstSeen: firstSeen)
            }
            for row in rows { try await retry(row) }
            if let row = rows.last { last = (row.firstSeen, row.eventID) }
        } while rows.count == Self.page
        try await measure()
    }

    /// Tries one again; when it fails it stays, and does not stand in the way of others.
    private func retry(_ row: Row) async throws {
        do {
            let outcome = try await inbox.process(channel: row.channel, payload: row.payload)
            if case .waiting = outcome { return }
            if case .refused(let reason) = outcome {
                try await inbox.bury(
                    channel: row.channel, sequence: UInt64(bitPattern: row.sequence), payload: row.payload,
                    reason: reason)
            }
            // A crash before this leaves a row whose event the inbox knows: it goes at the next look.
            try await inbox.database.query(
                "DELETE FROM parked WHERE consumer = \(inbox.consumer) AND event_id = \(row.eventID)")
        } catch {
            if error is CancellationError || (error as? PostgresError)?.isAway ?? false { throw error }
            logger.warning(
                "a parked event could not be applied",
                metadata: ["event_id": "\(row.eventID)", "channel": "\(row.channel)", "error": "\(error)"])
        }
    }

    /// Counts parked events and dead letters.
    func measure() async throws {
        let row = try await inbox.database.query(
            """
            SELECT (SELECT count(*) FROM parked WHERE consumer = \(inbox.consumer)),
              (SELECT count(*) FROM dead_letters WHERE consumer = \(inbox.consumer))
            """
        ).first
        guard let (parked, dead) = try row?.decode(Int.self, Int.self) else { return }
        count.store(parked, ordering: .relaxed)
        metrics.set(.parked, Double(parked))
        metrics.set(.deadLetters, Double(dead))
    }
}
