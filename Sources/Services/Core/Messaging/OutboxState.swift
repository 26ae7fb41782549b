import Synchronization

/// What the relay knows of the outbox, for readiness and the log.
final class OutboxState: Sendable {
    private struct State {
        var depth = 0
        var lag = 0.0
        var lastError: String?
        var warned: Duration?
    }

    private let state = Mutex(State())

    /// Age of the oldest event that is not published, in seconds.
    var lagSeconds: Double { state.withLock { $0.lag } }
    /// Events that are not published.
    var depth: Int { state.withLock { $0.depth } }

    func measured(depth: Int, lag: Double) {
        state.withLock {
            $0.depth = depth
            $0.lag = lag
            if depth == 0 { $0.warned = nil }
        }
    }

    func failed(_ error: String) { state.withLock { $0.lastError = error } }

    /// Whether it is time for another warning: one a minute.
    func shouldWarn(at now: Duration) -> Bool {
        state.withLock { state in
            if let warned = state.warned, now - warned < .seconds(60) { return false }
            state.warned = now
            return true
        }
    }
}
