import CLibPQ
import Glibc
import Synchronization

// A caller that watches for its answer itself.
//
// An answer that comes within some microseconds costs less than the two threads that have to wake up for it (the
// poller's, then the caller's: 60 µs on a virtual machine, where the answer itself takes 25). So a caller whose
// connection answered quickly the last time looks at the socket itself for a moment, without blocking, before it leaves
// that to the poller. Between two looks it gives its processor away (the server may need it). At most two callers of the
// process watch at a time, for a shorter while than one that is alone, so that other tasks get at the threads; one that
// waited in vain does not do it again until an answer has been quick. What the server answers later, or when it has no
// processor to itself, comes from the poller, many answers at a time.
//
// A task that prefers another executor than the pool may be on an event loop, which looks at its sockets only when it has no
// task left: `Task.yield` gives them no turn there, only a wait does. Such a caller watches as one among others, and after a
// turn of answers without a wait it leaves one to the poller.
extension Session {
    /// How long the caller of one statement watches, in nanoseconds.
    static let watchTime: UInt64 = 500_000
    /// How much longer for each further statement of a pipeline.
    static let watchTimeOfNext: UInt64 = 10_000
    /// How long at most.
    static let longestWatchTime: UInt64 = 2_000_000
    /// How long a caller watches while others wait for answers too, whose tasks need its thread, or on an executor that is
    /// not the pool.
    static let watchTimeAmongOthers: UInt64 = 125_000
    /// How long it does so before other tasks have their turn, in nanoseconds.
    private static let sliceTime: UInt64 = 50_000
    /// After how long callers that never had to wait give their thread to other tasks, in nanoseconds.
    static let turnTime: UInt64 = 1_000_000

    /// The last answer came while a caller would have watched for it.
    func isQuickAnswerLikely(isOnPool: Bool) -> Bool {
        isOnPool && AnswerWatch.isAlone ? answersSoon : answersAtOnce
    }

    /// The outcome, if the answer comes in time.
    nonisolated(nonsending)
        func lookForAnswer(to operation: Operation, isOnPool: Bool) async -> Operation.Outcome?
    {
        let start = MonotonicClock.now
        while true {
            let isAlone = isOnPool && AnswerWatch.isAlone
            let sliceEnd = MonotonicClock.now + (isAlone ? Self.sliceTime : Self.watchTimeAmongOthers)
            while MonotonicClock.now < sliceEnd {
                if let outcome = look(at: operation) { return outcome }
                // The server may need this processor.
                sched_yield()
            }
            guard isAlone, MonotonicClock.now - start < operation.watchTime else { return nil }
            await Task.yield()
        }
    }

    /// Whether callers of this connection have had their thread for so long that other tasks should have a turn.
    func isTurnOver() -> Bool {
        withLock {
            guard answeredAt &- turnBegan > Self.turnTime else { return false }
            turnBegan = answeredAt
            return true
        }
    }

    private func look(at operation: Operation) -> Operation.Outcome? {
        withLock {
            if !operation.isComplete, phase == .open { lockedReceive() }
            return operation.isComplete ? operation.outcome : nil
        }
    }

    /// Resumes the caller when the operation is complete; the poller watches from now on.
    func wait(for operation: Operation, _ continuation: Continuation<Operation.Outcome, Never>) {
        withLock {
            if operation.isComplete { return resumptions.append(.outcome(operation.outcome, continuation)) }
            operation.continuation = continuation
            if operation === current { lockedLeaveToPoller() }
        }
    }

    /// The poller watches the socket again.
    func lockedLeaveToPoller() {
        guard isWatchedByCaller else { return }
        isWatchedByCaller = false
        lockedWatch(reading: true, writing: isWriteWanted)
    }
}

/// Counts the callers of this process that wait for an answer, and those among them that watch for it themselves.
enum AnswerWatch {
    /// How many may watch at a time: while one looks, nothing else runs on its thread, which is one of the cooperative pool or
    /// of the executor that its task prefers (of an event loop in the services).
    private static let limit = 2
    private static let callers = Atomic<Int>(0)
    private static let watchers = Atomic<Int>(0)

    static func enter() { callers.add(1, ordering: .relaxed) }
    static func leave() { callers.subtract(1, ordering: .relaxed) }

    /// Whether the caller may watch; then `end` must follow.
    static func begin() -> Bool {
        if watchers.add(1, ordering: .relaxed).oldValue < limit { return true }
        end()
        return false
    }

    static func end() { watchers.subtract(1, ordering: .relaxed) }

    /// The task that asks runs on the cooperative pool, so far as preferences of tasks decide it.
    static var isOnPool: Bool { unsafe withUnsafeCurrentTask { unsafe $0?.unownedTaskExecutor == nil } }

    /// The only caller is the one that asks.
    static var isAlone: Bool { callers.load(ordering: .relaxed) == 1 }
}
