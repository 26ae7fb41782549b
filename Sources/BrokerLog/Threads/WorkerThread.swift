import CBroker
import Glibc

/// A thread that runs one function to its end.
final class WorkerThread: @unchecked Sendable {
    // Sendable: `handle` is written before the thread is known to anyone and read by `join` alone.
    private var handle: pthread_t = 0

    /// Starts a thread called `name` (15 bytes at most).
    init(name: String, _ body: @escaping @Sendable () -> Void) {
        let start = unsafe Unmanaged.passRetained(Start(name: name, body: body)).toOpaque()
        let result = unsafe pthread_create(
            &handle, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
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
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}
