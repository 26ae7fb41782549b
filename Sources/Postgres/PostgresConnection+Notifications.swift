/// Notifications as they arrive: an asynchronous sequence.
public typealias PostgresNotifications = AsyncThrowingStream<PostgresNotification, any Error>

extension PostgresConnection {
    /// How many notifications wait for a consumer before the sequence ends with `.notificationsLost`.
    public static let notificationLimit = 10_000

    /// Listens to channels while `body` runs.
    ///
    /// ```swift
    /// try await connection.withNotifications(on: "outbox") { notifications in
    ///     for try await notification in notifications { … }
    /// }
    /// ```
    ///
    /// When `body` is called, the server has taken the `LISTEN`: what is sent from then on arrives. The sequence ends
    /// with an error when the connection is lost. Statements may run on the connection meanwhile.
    ///
    /// - Throws: What `body` throws; `PostgresError` when the server refuses.
    nonisolated(nonsending)
        public func withNotifications<Value>(
            on channels: String...,
            do body: nonisolated(nonsending) (PostgresNotifications) async throws -> Value
        ) async throws -> Value
    {
        let session = session
        let id = session.addListener(to: Set(channels))
        let stream = PostgresNotifications { try await session.nextNotification(id) }
        do {
            for channel in channels { try await query("LISTEN \(identifier: channel)") }
            let value = try await body(stream)
            await stopListening(id)
            return value
        } catch {
            await stopListening(id)
            throw error
        }
    }

    nonisolated(nonsending)
        private func stopListening(_ id: UInt64) async
    {
        for channel in session.removeListener(id) {
            do {
                _ = try await run("UNLISTEN \(identifier: channel)", isShielded: true)
            } catch {
                // Only on a connection that is lost (it listens no more) or in a failed transaction (the rollback
                // takes the LISTEN back, or it was there before and is harmless).
            }
        }
    }
}
