import CLibPQ
import Glibc
import Synchronization

// A caller that watches for its answer itself.
//
// An answer that comes within some microseconds costs less than the two threads that have to wake up for it (the
// poller's, then the caller's: 60 µs on a virtual machine, where the answer itself takes 25). So a caller whose
// connection answered quickly the last time looks at the socket itself for a moment, without blocking, before it leaves
// that to the poller. It gives its thread back between the looks, it does so only while no other caller of the process
// waits for an answer (with several, the poller is awake anyway, and the server needs the processor), and one that waited
// in vain does not do it again until an answer has been quick.
extension Session {
    /// How long the caller of one statement watches, in nanoseconds.
    static let watchTime: UInt64 = 500_000
    /// How much longer for each further statement of a pipeline.
    static let watchTimeOfNext: UInt64 = 10_000
    /// How long at most.
    static let longestWatchTime: UInt64 = 2_000_000
    /// How long it does so before other tasks have their turn, in nanoseconds.
    private static let sliceTime: UInt64 = 50_000

    /// The outcome, if the answer comes in time.
    nonisolated(nonsending)
        func lookForAnswer(to operation: Operation) async -> Operation.Outcome?
    {
        let deadline = MonotonicClock.now + operation.watchTime
        while true {
            let sliceEnd = MonotonicClock.now + Self.sliceTime
            while MonotonicClock.now < sliceEnd {
                if let outcome = look(at: operation) { return outcome }
                // The server may need this processor.
                sched_yield()
            }
            if MonotonicClock.now >= deadline || !AnswerWatch.isAlone { return nil }
            await Task.yield()
        }
    }

    private func look(at operation: Operation) -> Operation.Outcome? {
        withLock {
            if !operation.isComplete, phase == .open { lockedReceive() }
            return operation.isComplete ? operation.outcome : nil
        }
    }

    /// Resumes the caller when the operation is complete; the poller watches from now on.
    func wait(for operation: Operation, _ continuation: CheckedContinuation<Operation.Outcome, Never>) {
        withLock {
            if operation.isComplete { return continuation.resume(returning: operation.outcome) }
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

/// Counts the callers of this process that wait for an answer.
enum AnswerWatch {
    private static let callers = Atomic<Int>(0)

    static func enter() { callers.add(1, ordering: .relaxed) }
    static func leave() { callers.subtract(1, ordering: .relaxed) }

    /// The only caller is the one that asks.
    static var isAlone: Bool { callers.load(ordering: .relaxed) == 1 }
}
