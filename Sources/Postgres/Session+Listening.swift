import CLibPQ

/// Somebody who waits for notifications.
struct Listener: Sendable {
    let channels: Set<String>
    let continuation: AsyncThrowingStream<PostgresNotification, any Error>.Continuation
}

/// A message that some session sent with `NOTIFY`.
public struct PostgresNotification: Sendable, Hashable {
    /// The channel.
    public let channel: String
    /// The text of the message; empty when it has none.
    public let payload: String
    /// The process number of the backend that sent it.
    public let processID: Int
}

extension Session {
    func addListener(_ listener: Listener) -> UInt64 {
        withLock {
            guard phase == .open else {
                listener.continuation.finish(throwing: closeReason)
                return 0
            }
            lastListener += 1
            listeners[lastListener] = listener
            return lastListener
        }
    }

    /// Removes a listener; the channels that nobody listens to any more.
    func removeListener(_ id: UInt64) -> Set<String> {
        withLock {
            guard let listener = listeners.removeValue(forKey: id) else { return [] }
            return listener.channels.filter { channel in
                !listeners.values.contains { $0.channels.contains(channel) }
            }
        }
    }

    func lockedTakeNotifications() {
        while let raw = unsafe PQnotifies(pg) {
            let notification = unsafe PostgresNotification(
                channel: String(cString: raw.pointee.relname), payload: String(cString: raw.pointee.extra),
                processID: Int(raw.pointee.be_pid))
            unsafe PQfreemem(raw)
            for (id, listener) in listeners where listener.channels.contains(notification.channel) {
                if case .dropped = listener.continuation.yield(notification) {
                    listener.continuation.finish(
                        throwing: PostgresError(
                            .notificationsLost,
                            "more than \(PostgresConnection.notificationLimit) notifications were waiting to be taken; "
                                + "take them faster, or look at the tables again"))
                    listeners.removeValue(forKey: id)
                }
            }
        }
    }
}
