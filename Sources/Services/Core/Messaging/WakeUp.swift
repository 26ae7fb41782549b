import Synchronization

/// Wakes one waiting task; a signal that nobody waits for is kept, several are one.
public final class WakeUp: Sendable {
    private struct State {
        var isSignalled = false
        var waiter: CheckedContinuation<Bool, Never>?
    }

    private let state = Mutex(State())

    /// Nothing signalled yet.
    public init() {}

    /// Wakes the task that waits, or the next one that will.
    public func signal() {
        let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            state.isSignalled = state.waiter == nil
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: true)
    }

    /// Returns true at the next signal, false when the task is cancelled. One task may wait at a time.
    @discardableResult
    public func wait() async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let result = state.withLock { state -> Bool? in
                    // A signal is kept for the next who waits when this one is cancelled.
                    if Task.isCancelled { return false }
                    if state.isSignalled {
                        state.isSignalled = false
                        return true
                    }
                    precondition(state.waiter == nil, "one task waits: a second would never be woken")
                    state.waiter = continuation
                    return nil
                }
                if let result { continuation.resume(returning: result) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume(returning: false)
        }
    }
}

/// Collects the acknowledgements of a batch.
final class Acknowledgements: Sendable {
    private struct State {
        var results: [String??]
        var missing: Int
        var waiter: CheckedContinuation<[String?], Never>?
    }

    private let state: Mutex<State>

    init(count: Int) {
        state = Mutex(State(results: Array(repeating: nil, count: count), missing: count))
    }

    /// Notes the outcome of one publish: nil for stored, else why not. The first outcome counts.
    func complete(_ index: Int, _ failure: String?) {
        let (waiter, results) = state.withLock {
            state -> (CheckedContinuation<[String?], Never>?, [String?]) in
            guard state.results[index] == nil else { return (nil, []) }
            state.results[index] = .some(failure)
            state.missing -= 1
            guard state.missing == 0 else { return (nil, []) }
            defer { state.waiter = nil }
            return (state.waiter, state.results.map { $0 ?? nil })
        }
        waiter?.resume(returning: results)
    }

    /// Returns when every outcome is known.
    func all() async -> [String?] {
        await withCheckedContinuation { continuation in
            let results = state.withLock { state -> [String?]? in
                if state.missing == 0 { return state.results.map { $0 ?? nil } }
                state.waiter = continuation
                return nil
            }
            if let results { continuation.resume(returning: results) }
        }
    }
}
