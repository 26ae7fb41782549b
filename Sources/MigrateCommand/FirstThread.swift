import Postgres
import Synchronization

/// Runs tasks on the thread that the program began with: a tool of one task needs no pool of threads, each of which costs
/// time to start and memory of its own.
final class FirstThread: TaskExecutor {
    private let jobs = Mutex<[UnownedJob]>([])
    private let arrived = Semaphore()

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
        arrived.signal()
    }

    /// Runs tasks until the process ends.
    func run() -> Never {
        while true {
            arrived.wait()
            // One signal was sent for each job.
            let job = jobs.withLock { $0.removeFirst() }
            unsafe job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}
