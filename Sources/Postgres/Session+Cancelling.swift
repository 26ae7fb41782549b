import CLibPQ

/// What libpq needs to cancel a statement of a connection, apart from the connection itself.
// @unchecked: PQcancel may be called from any thread, and the pointer is freed in `deinit` alone.
@safe final class CancelHandle: @unchecked Sendable {
    private let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    deinit { unsafe PQfreeCancel(pointer) }

    /// Asks the server to cancel; blocks until the server has taken the request.
    func cancel() {
        var text = [CChar](repeating: 0, count: 256)
        // Refused or not, the statement ends by itself or by the grace timer.
        _ = unsafe PQcancel(pointer, &text, Int32(text.count))
    }
}

extension Session {
    /// How long the server has to end a statement after it was told to. Then the connection is closed.
    static let cancelGrace = Duration.seconds(5)
    /// When it is told once more: a server that is told before it has begun with a statement, which on a busy machine may
    /// lie there for a while, forgets it.
    private static let cancelInterval = Duration.seconds(1)

    /// Ends an operation early: out of the queue, or by a request to the server.
    func cancel(_ operation: Operation, _ reason: Operation.CancelReason) {
        withLock {
            guard !operation.hasEnded, operation.cancelReason == nil || reason == .abandoned else { return }
            let isAlreadyCancelled = operation.cancelReason != nil
            operation.cancelReason = reason
            if operation.member != nil {
                lockedCancelMember(operation)
            } else if operation === current {
                if !isAlreadyCancelled { lockedRequestCancel(operation) }
                if reason == .abandoned { operation.rows = [] }
                lockedResume(operation)
            } else if let index = queue.firstIndex(where: { $0 === operation }) {
                queue.remove(at: index)
                operation.failure = .cancelled("cancelled before it was sent")
                lockedComplete(operation)
            }
        }
    }

    func lockedRequestCancel(_ operation: Operation) {
        guard let cancelHandle else { return }
        lockedSendCancel(operation, cancelHandle)
        lockedBeginGrace(operation)
    }

    private func lockedSendCancel(_ operation: Operation, _ cancelHandle: CancelHandle) {
        cancelsInFlight += 1
        BlockingCalls.cancellations.run {
            if self.isUnderWay(operation) { cancelHandle.cancel() }
            self.cancelReturned()
        }
    }

    /// Closes the session unless the server is past the operation in time.
    func lockedBeginGrace(_ operation: Operation) {
        lockedContinueGrace(operation, until: MonotonicClock.after(Self.cancelGrace))
    }

    private func lockedContinueGrace(_ operation: Operation, until end: UInt64) {
        lockedEndGrace()
        graceTimer = poller.schedule(at: min(end, MonotonicClock.after(Self.cancelInterval))) {
            [weak self, weak operation] in
            guard let operation else { return }
            self?.insist(operation, until: end)
        }
    }

    private func isUnderWay(_ operation: Operation) -> Bool {
        lock.withLock { _ in phase == .open && lockedIsServed(operation) && !operation.hasEnded }
    }

    /// The server is at this operation, or at this member of a convoy.
    private func lockedIsServed(_ operation: Operation) -> Bool {
        operation === current || operation === current?.convoy?.members.first
    }

    /// Asks the server to cancel once more, or closes the session.
    private func insist(_ operation: Operation, until end: UInt64) {
        withLock {
            // The next statement must not pay for one that ended as its time did.
            guard lockedIsServed(operation) else { return }
            guard MonotonicClock.now < end else {
                return lockedClose(
                    PostgresError(
                        .connectionLost,
                        "the server did not end a cancelled statement within \(Self.cancelGrace)"
                    ))
            }
            // The next statement waits for this request as it does for the first.
            if !operation.hasEnded, cancelsInFlight == 0, let cancelHandle {
                lockedSendCancel(operation, cancelHandle)
            }
            lockedContinueGrace(operation, until: end)
        }
    }

    private func cancelReturned() {
        withLock {
            cancelsInFlight -= 1
            lockedCompleteCurrent()
        }
    }
}

extension PostgresError {
    /// As the server would say it.
    static func cancelled(_ message: String) -> PostgresError {
        PostgresError(
            .server, message,
            server: PostgresServerError(severity: "ERROR", sqlState: "57014", message: message))
    }
}
