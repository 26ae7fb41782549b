import Dispatch
import Glibc
import Postgres
import Synchronization
import Testing

@Suite struct WatchingTests {
    private final class Answered: Sendable {
        let numbers = Mutex<Set<Int>>([])
    }

    @Test(
        "more tasks than there are threads, which query without a pause, all come to their answers",
        .timeLimit(.minutes(2))
    )
    func allAreAnswered() async throws {
        // Each task goes on until all have had answers. (That they hand over their threads after a millisecond is not seen
        // here: now and then an answer is slow and has to be waited for, which hands over as well.)
        let count = 2 * sysconf(Int32(_SC_NPROCESSORS_ONLN)) + 2
        let answered = Answered()
        try await withThrowingTaskGroup { group in
            for number in 0..<count {
                group.addTask {
                    try await withConnection { connection in
                        while answered.numbers.withLock({ $0.count < count }) {
                            let row = try await connection.query("SELECT \(number)::int")[0]
                            let answer = try row.decode(0, as: Int.self)
                            _ = answered.numbers.withLock { $0.insert(answer) }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test(
        "a caller on an event loop waits now and then, so that the loop comes to its sockets, and does not yield",
        .timeLimit(.minutes(2)))
    func eventLoop() async throws {
        let loop = LoopExecutor()
        // How many in a row had their answers without a turn for the loop.
        var mostStatements = 0
        try await withConnection { connection in
            try await withTaskExecutorPreference(loop) {
                loop.counts.withLock { $0 = .init(thread: $0.thread) }
                var (turns, statements) = (0, 0)
                for _ in 0..<5_000 {
                    try await connection.query("SELECT 1")
                    let now = loop.counts.withLock { $0.turns }
                    statements = now == turns ? statements + 1 : 0
                    turns = now
                    mostStatements = max(mostStatements, statements)
                }
            }
        }
        #expect(loop.counts.withLock { $0.yields } == 0)
        // A turn is a millisecond, and none takes less than a microsecond.
        #expect(mostStatements < 1_000)
    }
}

/// Runs tasks as an event loop does, and counts how often a task handed it back, to wait. (Whether another is there by then is up to who
/// answers: one that is quick may always be before the count.)
private final class LoopExecutor: TaskExecutor {
    struct Counts {
        /// The thread that runs a task now.
        var thread: pthread_t?
        var turns = 0
        /// Tasks that stood in line again at once.
        var yields = 0
    }

    let counts = Mutex(Counts())
    private let queue = DispatchQueue(label: "loop")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        counts.withLock {
            if $0.thread == pthread_self() { $0.yields += 1 }
        }
        queue.async { [self] in
            counts.withLock { $0.thread = pthread_self() }
            unsafe job.runSynchronously(on: asUnownedTaskExecutor())
            counts.withLock {
                $0.thread = nil
                $0.turns += 1
            }
        }
    }
}
