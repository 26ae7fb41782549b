import Synchronization

/// Hands a client's events to whoever listens.
final class EventHub: Sendable {
    private struct State {
        var listeners: [Int: AsyncStream<ClientEvent>.Continuation] = [:]
        var nextID = 0
        /// The loss of the session, for those who come too late to hear it.
        var loss: ClientEvent?
        var isFinished = false
    }
    private let state = Mutex(State())

    /// Every event from now on; first that the session is lost, when it is. The oldest are dropped when a listener is 256
    /// behind.
    func stream() -> AsyncStream<ClientEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ClientEvent.self, bufferingPolicy: .bufferingNewest(256))
        let id = state.withLock { state -> Int? in
            if let loss = state.loss { continuation.yield(loss) }
            guard !state.isFinished else { return nil }
            state.nextID += 1
            state.listeners[state.nextID] = continuation
            return state.nextID
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.listeners.removeValue(forKey: id) }
        }
        return stream
    }

    func send(_ event: ClientEvent) {
        let listeners = state.withLock { state in
            if case .sessionLost = event { state.loss = event }
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.yield(event) }
    }

    /// A session begins: what became of one before is no news of this one.
    func sessionBegins() { state.withLock { $0.loss = nil } }

    /// Ends every stream.
    func finish() {
        let listeners = state.withLock { state in
            state.isFinished = true
            defer { state.listeners = [:] }
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.finish() }
    }
}
