import Glibc
import Synchronization

/// Runs tasks, and all that this library waits for, on one thread: the one that a small program began with. A tool of one task
/// needs no other threads, each of which costs time to start, to wake and to end, and memory of its own
/// (docs/decisions/0028).
package final class ThreadLoop: TaskExecutor {
    /// Nanoseconds.
    private static let watchTime: UInt64 = 500_000

    private let jobs = Mutex<[UnownedJob]>([])
    private let poller: Poller

    /// A loop of the calling thread, which has to call `run`. Comes before every other use of the library.
    package init() { poller = Poller.takeOver() }

    /// Takes a job, from whatever thread.
    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
        if !poller.isOnOwner { poller.ring() }
    }

    /// Runs tasks and serves connections until the process ends.
    package func run() -> Never {
        while true {
            let job = jobs.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            if let job { unsafe job.runSynchronously(on: asUnownedTaskExecutor()) }
            // What a job began with a connection goes on before the next job.
            if !poller.turn(mayWait: false), job == nil { wait() }
        }
    }

    /// Looks for an answer for a moment, because to sleep and to be woken up takes a virtual machine as long as a short answer;
    /// then sleeps.
    private func wait() {
        let end = MonotonicClock.now + Self.watchTime
        while MonotonicClock.now < end {
            // The server may need this processor.
            sched_yield()
            if poller.turn(mayWait: false) { return }
        }
        poller.turn()
    }
}
