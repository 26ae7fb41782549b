import CLibPQ
import Glibc
import Synchronization

/// Starts threads of our own: what blocks must not sit on a cooperative thread.
enum WorkerThread {
    private final class Work {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Runs `body` on a new detached thread with all signals blocked: they belong to the program.
    static func start(named name: String, _ body: @escaping @Sendable () -> Void) {
        let work = unsafe Unmanaged.passRetained(Work(name: name, body: body))
        var everything = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&everything)
        unsafe pthread_sigmask(SIG_SETMASK, &everything, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let status = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let work = unsafe Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
                _ = unsafe pthread_setname_np(pthread_self(), work.name)
                work.body()
                return nil
            }, unsafe work.toOpaque())
        precondition(status == 0, "the system has no room for another thread (errno \(status))")
        pthread_detach(thread)
    }
}

/// The threads for the calls of libpq that block whatever one does: name look-up, reading certificates and password
/// files, and sending a request to cancel.
///
/// Started on demand, at most four of each kind: look-ups that hang must not hold up a cancellation.
final class BlockingCalls: Sendable {
    /// Look-ups and the begin of connecting.
    static let openings = BlockingCalls()
    /// Requests to cancel.
    static let cancellations = BlockingCalls()

    private struct State: Sendable {
        var queue: [@Sendable () -> Void] = []
        var threads = 0
        var idle = 0
    }

    private static let limit = 4
    private let state = Mutex(State())
    /// Counts the calls in the queue.
    private let queued = Semaphore()

    /// Runs `call` on one of the threads, in order as far as there are threads.
    func run(_ call: @escaping @Sendable () -> Void) {
        let needsThread = state.withLock { state in
            state.queue.append(call)
            guard state.idle < state.queue.count, state.threads < Self.limit else { return false }
            state.threads += 1
            state.idle += 1
            return true
        }
        if needsThread { WorkerThread.start(named: "postgres-block") { self.work() } }
        queued.signal()
    }

    private func work() {
        while true {
            queued.wait()
            let call = state.withLock { state in
                state.idle -= 1
                // One signal was sent for each call in the queue.
                return state.queue.removeFirst()
            }
            call()
            state.withLock { $0.idle += 1 }
        }
    }
}
