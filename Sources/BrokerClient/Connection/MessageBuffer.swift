import NIOCore
import Synchronization

/// What a subscription received and its consumer has not taken yet.
///
/// The connection's event loop appends, one task takes. It never refuses a message (the loop has read it already), but
/// says when `limit` is reached: the loop then stops reading the socket until `whenDrained` was called, which happens at
/// half of it.
final class MessageBuffer<Element: Sendable, Failure: Error & Sendable>: Sendable {
    typealias Next = Result<Element?, Failure>

    private struct State {
        var elements = CircularBuffer<(element: Element, cost: Int)>()
        var cost = 0
        var isFull = false
        var end: Next?
        var waiting: CheckedContinuation<Next, Never>?
    }
    private let state = Mutex(State())
    private let limit: Int
    private let whenDrained: @Sendable () -> Void

    /// - Parameters:
    ///   - limit: Bytes from which the buffer is full.
    ///   - whenDrained: Called by the consumer's task when a full buffer is half empty again.
    init(limit: Int, whenDrained: @escaping @Sendable () -> Void) {
        self.limit = limit
        self.whenDrained = whenDrained
    }

    /// Adds an element that counts for `cost` bytes; true when the buffer became full by it.
    func append(_ element: Element, cost: Int) -> Bool {
        let (waiting, becameFull) = state.withLock { state -> (CheckedContinuation<Next, Never>?, Bool) in
            guard state.end == nil else { return (nil, false) }
            if let waiting = state.waiting {
                state.waiting = nil
                return (waiting, false)
            }
            state.elements.append((element, cost))
            state.cost += cost
            let becomesFull = !state.isFull && state.cost >= limit
            if becomesFull { state.isFull = true }
            return (nil, becomesFull)
        }
        waiting?.resume(returning: .success(element))
        return becameFull
    }

    /// Ends the sequence behind what is buffered; with a failure, that comes last.
    func finish(_ failure: Failure? = nil) {
        let end: Next = failure.map { .failure($0) } ?? .success(nil)
        let waiting = state.withLock { state -> CheckedContinuation<Next, Never>? in
            guard state.end == nil else { return nil }
            state.end = end
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume(returning: end)
    }

    /// Whether everything was taken.
    var isEmpty: Bool { state.withLock { $0.elements.isEmpty } }

    /// Whether one of the elements waiting satisfies `predicate`.
    func contains(where predicate: (Element) -> Bool) -> Bool {
        state.withLock { $0.elements.contains { predicate($0.element) } }
    }

    /// The next element; nil at the end, and when the task is cancelled. One task at a time.
    func next() async -> Next {
        if let ready = take(orWaitWith: nil) { return ready }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let ready = take(orWaitWith: continuation) { continuation.resume(returning: ready) }
            }
        } onCancel: {
            let waiting = state.withLock { state -> CheckedContinuation<Next, Never>? in
                defer { state.waiting = nil }
                return state.waiting
            }
            waiting?.resume(returning: .success(nil))
        }
    }

    /// What is there now; otherwise nil, and `continuation` gets the next element.
    private func take(orWaitWith continuation: CheckedContinuation<Next, Never>?) -> Next? {
        let (taken, isDrained) = state.withLock { state -> (Next?, Bool) in
            guard let first = state.elements.popFirst() else {
                if let end = state.end { return (end, false) }
                if let continuation {
                    // Checked under the lock: a cancellation before it is seen here, one after it finds `waiting`.
                    if Task.isCancelled { return (.success(nil), false) }
                    precondition(
                        state.waiting == nil,
                        "a subscription has one consumer: two tasks would share its messages")
                    state.waiting = continuation
                }
                return (nil, false)
            }
            state.cost -= first.cost
            let isDrained = state.isFull && state.cost <= limit / 2
            if isDrained { state.isFull = false }
            return (.success(first.element), isDrained)
        }
        if isDrained { whenDrained() }
        return taken
    }
}
