import ServicesTesting
import Synchronization
import Testing

@testable import ServicesCore

@Suite("the link with the broker", .timeLimit(.minutes(10)))
struct BrokerLinkTests {
    /// Runs the steps of a task, each between two of its suspensions, one by one as a test says; then all of them.
    private final class Steps: TaskExecutor {
        private struct State {
            var waiting: [UnownedJob] = []
            var isFree = false
        }
        private let state = Mutex(State())

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            let runsNow = state.withLock { state in
                if !state.isFree { state.waiting.append(job) }
                return state.isFree
            }
            if runsNow { run(job) }
        }

        /// Runs the next step as soon as it is due.
        func runNext() async {
            while true {
                let next = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
                if let next { return run(next) }
                await Task.yield()
            }
        }

        /// Runs what waits, and from now on everything at once.
        func runAll() {
            let waiting = state.withLock { state in
                state.isFree = true
                defer { state.waiting = [] }
                return state.waiting
            }
            for job in waiting { run(job) }
        }

        private func run(_ job: UnownedJob) { job.runSynchronously(on: asUnownedTaskExecutor()) }
    }

    @Test("wherever it is in its connecting when the service ends, it leaves no connection behind")
    func endsAtEachStep() async throws {
        let broker = try await TestBroker()
        let settings = try Settings(
            CoreSettings.all,
            environment: ["API_NATS_URL": broker.url, "API_NATS_CLUSTER_ID": TestBroker.clusterID],
            arguments: [])
        // Connecting waits six times: for the connection, the inbox, the request, its answer, the session's begin and news.
        // Two steps are one when what the first waits for is there at once, so each number is tried several times.
        for round in 0..<70 {
            let link = BrokerLink(
                BrokerConfiguration(settings), clock: .system, logger: TestLog().logger)
            let steps = Steps()
            let run = Task(executorPreference: steps) { await link.run() }
            for _ in 0..<round % 7 where link.client == nil { await steps.runNext() }
            let end = Task { await link.end(run) }
            while !run.isCancelled { await Task.yield() }
            // Time enough to go wrong.
            for _ in 0..<1_000 { await Task.yield() }
            steps.runAll()
            await end.value
            while try await broker.connections() > 0 { await Task.yield() }
        }
        try await broker.stop()
    }
}
