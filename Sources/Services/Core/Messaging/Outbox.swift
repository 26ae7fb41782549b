import Postgres

extension Transaction {
    /// Writes an event into the outbox: it is published when this transaction is committed, and only then.
    ///
    /// The lock on the row that the event is about must be held already: it makes the outbox's order that of the changes.
    /// After the commit the relay is woken.
    ///
    /// - Throws: `PostgresError`.
    nonisolated(nonsending)
        public func publish<Data: EventData>(_ data: Data, by source: EventSource) async throws
    {
        let event = Event(data, by: source)
        hasPublished?.set()
        try await query(
            """
            INSERT INTO outbox (event_id, channel, payload, created_at)
            VALUES (\(event.id), \(Data.type), \(event.payload), clock_timestamp() AT TIME ZONE 'utc')
            """)
    }
}
