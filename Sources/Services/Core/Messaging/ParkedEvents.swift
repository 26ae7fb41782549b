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
    }

    private let inbox: Inbox
    private let metrics: Metrics
    /// How many there were at the last look: without any, no statement is spent on them.
    private let count = Atomic(0)

    init(inbox: Inbox, metrics: Metrics) {
        self.inbox = inbox
        self.metrics = metrics
    }

    /// Notes that there is one more.
    func added() {
        count.add(1, ordering: .relaxed)
    }

    /// Tries all of them again, the oldest first, up to 500.
    func retryAll() async throws {
        try await retry(
            inbox.database.query(
                """
                SELECT event_id, channel, sequence, payload FROM parked WHERE consumer = \(inbox.consumer)
                ORDER BY first_seen LIMIT 500
                """))
        try await measure()
    }

    /// Tries those again that name this id.
    func retry(entityID: String) async throws {
        guard count.load(ordering: .relaxed) > 0 else { return }
        try await retry(
            inbox.database.query(
                """
                SELECT event_id, channel, sequence, payload FROM parked
                WHERE consumer = \(inbox.consumer) AND position(\(Array(entityID.utf8)) IN payload) > 0
                ORDER BY first_seen LIMIT 100
                """))
        try await measure()
    }

    private func retry(_ result: PostgresResult) async throws {
        let rows = try result.map { row in
            let (id, channel, sequence, payload) = try row.decode(
                String.self, String.self, Int64.self, [UInt8].self)
            return Row(eventID: id, channel: channel, sequence: sequence, payload: payload)
        }
        for row in rows {
            let outcome = try await inbox.process(channel: row.channel, payload: row.payload)
            if case .waiting = outcome { continue }
            if case .refused(let reason) = outcome {
                try await inbox.bury(
                    channel: row.channel, sequence: UInt64(bitPattern: row.sequence), payload: row.payload,
                    reason: reason)
            }
            // A crash before this leaves a row whose event the inbox knows: it goes at the next look.
            try await inbox.database.query(
                "DELETE FROM parked WHERE consumer = \(inbox.consumer) AND event_id = \(row.eventID)")
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
