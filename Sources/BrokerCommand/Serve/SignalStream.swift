import Glibc

/// The signals of the process as an asynchronous sequence.
///
/// They are blocked for every thread (`block`, before there is a second one) and taken by one of our own with `sigwait`:
/// nothing runs inside a signal handler.
struct SignalStream {
    /// The signals as they come.
    let signals: AsyncStream<Int32>

    /// Blocks signals for this thread and those that it will start: they wait for a stream.
    static func block(_ numbers: [Int32]) {
        var set = Self.set(of: numbers)
        unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    private static func set(of numbers: [Int32]) -> sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in numbers { unsafe sigaddset(&set, number) }
        return set
    }

    /// Takes signals that are blocked.
    init(_ numbers: [Int32]) {
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self)
        signals = stream
        let context = Waiter(set: Self.set(of: numbers), continuation: continuation)
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let waiter = unsafe Unmanaged<Waiter>.fromOpaque(argument).takeRetainedValue()
                waiter.run()
                return nil
            }, Unmanaged.passRetained(context).toOpaque())
        precondition(result == 0, "a process that has just started can start a thread")
        pthread_detach(thread)
    }

    /// What the thread owns. It is handed over once, before the thread starts.
    private final class Waiter {
        private var set: sigset_t
        private let continuation: AsyncStream<Int32>.Continuation

        init(set: sigset_t, continuation: AsyncStream<Int32>.Continuation) {
            self.set = set
            self.continuation = continuation
        }

        func run() {
            while true {
                var number: Int32 = 0
                guard unsafe sigwait(&set, &number) == 0 else { continue }
                continuation.yield(number)
            }
        }
    }
}
