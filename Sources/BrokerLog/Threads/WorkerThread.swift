import CBroker
import Glibc

/// A thread that runs one function to its end.
final class WorkerThread: @unchecked Sendable {
    // Sendable: `handle` is written before the thread is known to anyone and read by `join` alone.
    private var handle: pthread_t = 0

    /// Starts a thread called `name` (15 bytes at most).
    ///
    /// - Parameter yields: how far its nice value lies above that of the thread that starts it, so that others come first.
    init(name: String, yields: Int32 = 0, _ body: @escaping @Sendable () -> Void) {
        let start = unsafe Unmanaged.passRetained(Start(name: name, yields: yields, body: body)).toOpaque()
        let result = unsafe pthread_create(
            &handle, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.lowerPriority()
                unsafe cbroker_name_thread(start.name)
                start.body()
                return nil
            }, start)
        precondition(result == 0, "a process that cannot start its few threads cannot work")
    }

    /// Waits for the function to return.
    func join() { pthread_join(handle, nil) }

    private final class Start {
        let name: String
        let yields: Int32
        let body: @Sendable () -> Void
        init(name: String, yields: Int32, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.yields = yields
            self.body = body
        }

        /// Of the calling thread, which needs no privilege for that. Where it cannot be done, the thread is as good as others.
        func lowerPriority() {
            guard yields > 0 else { return }
            let process = __priority_which_t(PRIO_PROCESS.rawValue)
            // Process 0 is the calling thread, on Linux. -1 is a value too, so the error is told by `errno`.
            errno = 0
            let value = getpriority(process, 0)
            if errno == 0 { setpriority(process, 0, min(19, value + yields)) }
        }
    }
}
