import Synchronization

// The rest of a task that waits. In debug builds, which the tests run, it is Swift's `CheckedContinuation`, which also tells of
// one that is never resumed. That one has a layout which only its library knows, so that the runtime has to work out every
// type that holds one, and a program that is over in milliseconds spends some of them on that (docs/decisions/0028): in
// release builds it is one of our own, which stops the process at a second resumption and does no more.

#if DEBUG
    typealias Continuation = CheckedContinuation
#else
    typealias Continuation = SingleContinuation
#endif

/// The rest of a task that waits: to be resumed once.
// Invariant: `base` is resumed by whoever finds `isResumed` unset, so once at most.
@safe struct SingleContinuation<Value, Failure: Error>: Sendable {
    private let base: UnsafeContinuation<Value, Failure>
    private let isResumed = Once()

    init(_ base: UnsafeContinuation<Value, Failure>) { unsafe self.base = unsafe base }

    func resume(returning value: sending Value) {
        isResumed.set()
        unsafe base.resume(returning: value)
    }

    func resume(throwing error: Failure) {
        isResumed.set()
        unsafe base.resume(throwing: error)
    }

    func resume(with result: sending Result<Value, Failure>) {
        isResumed.set()
        unsafe base.resume(with: result)
    }
}

extension SingleContinuation where Value == Void {
    func resume() { resume(returning: ()) }
}

private final class Once: Sendable {
    private let isDone = Atomic<Bool>(false)

    func set() {
        let wasDone = isDone.exchange(true, ordering: .relaxed)
        precondition(
            !wasDone, "a task is resumed once: it goes on when its operation ends, which it does once")
    }
}

/// Waits until what `body` is given is resumed.
nonisolated(nonsending)
    func withContinuation<Value>(_ body: (Continuation<Value, Never>) -> Void) async -> sending Value
{
    #if DEBUG
        await withCheckedContinuation { body($0) }
    #else
        unsafe await withUnsafeContinuation { unsafe body(Continuation($0)) }
    #endif
}

/// As `withContinuation`, where there may be an error.
nonisolated(nonsending)
    func withThrowingContinuation<Value>(
        _ body: (Continuation<Value, any Error>) -> Void
    ) async throws -> sending Value
{
    #if DEBUG
        try await withCheckedThrowingContinuation { body($0) }
    #else
        unsafe try await withUnsafeThrowingContinuation { unsafe body(Continuation($0)) }
    #endif
}
