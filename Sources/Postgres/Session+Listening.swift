import CLibPQ

/// Somebody who waits for notifications; belongs to its session and is touched under its lock alone.
final class Listener {
    typealias Next = Result<PostgresNotification?, any Error>

    let channels: Set<String>
    /// What has arrived and was not taken: from `taken` on.
    private var arrived: [PostgresNotification] = []
    private var taken = 0
    /// Why nothing comes any more.
    private var end: Next?
    /// Who waits for the next one.
    private var waiter: Continuation<Next, Never>?

    init(channels: Set<String>) { self.channels = channels }

    /// What is to be had now; `nil`: the caller has to wait.
    private func take() -> Next? {
        guard taken < arrived.count else { return end }
        defer {
            taken += 1
            // Now and then, so that taking one does not move all others.
            if taken == arrived.count || taken >= 1_024 {
                arrived.removeFirst(taken)
                taken = 0
            }
        }
        return .success(arrived[taken])
    }

    /// A notification has come.
    ///
    /// - Returns: A caller that can go on.
    func append(_ notification: PostgresNotification) -> Operation.Resumption? {
        guard end == nil else { return nil }
        guard arrived.count - taken < PostgresConnection.notificationLimit else {
            return finish(
                .failure(
                    PostgresError(
                        .notificationsLost,
                        "more than \(PostgresConnection.notificationLimit) notifications were waiting to be taken; "
                            + "take them faster, or look at the tables again")))
        }
        arrived.append(notification)
        return resumption()
    }

    /// Nothing more comes, once what has arrived is taken.
    ///
    /// - Returns: A caller that can go on.
    func finish(_ end: Next) -> Operation.Resumption? {
        if self.end == nil { self.end = end }
        return resumption()
    }

    /// The caller waits for the next one.
    ///
    /// - Returns: The caller, if it can go on at once.
    func wait(_ continuation: Continuation<Next, Never>) -> Operation.Resumption? {
        precondition(waiter == nil, "one task at a time iterates over notifications")
        waiter = continuation
        return resumption()
    }

    private func resumption() -> Operation.Resumption? {
        guard let waiter, let next = take() else { return nil }
        self.waiter = nil
        return .notification(next, waiter)
    }
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
    /// A number for somebody who listens from now on.
    func addListener(to channels: Set<String>) -> UInt64 {
        withLock {
            let listener = Listener(channels: channels)
            if phase != .open { resume(listener.finish(.failure(closeReason))) }
            lastListener += 1
            listeners[lastListener] = listener
            return lastListener
        }
    }

    /// Removes a listener; the channels that nobody listens to any more.
    func removeListener(_ id: UInt64) -> Set<String> {
        withLock {
            guard let listener = listeners.removeValue(forKey: id) else { return [] }
            resume(listener.finish(.success(nil)))
            return listener.channels.filter { channel in
                !listeners.values.contains { $0.channels.contains(channel) }
            }
        }
    }

    /// The next notification for a listener, `nil` when it was removed or its task is cancelled.
    func nextNotification(_ id: UInt64) async throws -> PostgresNotification? {
        try await withTaskCancellationHandler {
            await withContinuation { continuation in
                withLock {
                    guard let listener = listeners[id] else {
                        return resumptions.append(.notification(.success(nil), continuation))
                    }
                    resume(listener.wait(continuation))
                    // A cancellation after this finds the waiter.
                    if Task.isCancelled { resume(listener.finish(.success(nil))) }
                }
            }
        } onCancel: {
            withLock { resume(listeners[id]?.finish(.success(nil))) }
        }.get()
    }

    func lockedTakeNotifications() {
        while let raw = unsafe PQnotifies(pg) {
            let notification = unsafe PostgresNotification(
                channel: String(cString: raw.pointee.relname), payload: String(cString: raw.pointee.extra),
                processID: Int(raw.pointee.be_pid))
            unsafe PQfreemem(raw)
            for listener in listeners.values where listener.channels.contains(notification.channel) {
                resume(listener.append(notification))
            }
        }
    }

    private func resume(_ resumption: Operation.Resumption?) {
        if let resumption { resumptions.append(resumption) }
    }
}
