import Glibc
import Migrate
import Synchronization

/// What interrupts and requests to end do (`specs/migrate.md` 1.7).
///
/// Until a run is possible they end the process. Then both signals are blocked and taken by one thread with `sigwait`: most
/// commands are over before that, and need no such thread.
final class SignalWatch: Sendable {
    private struct State: Sendable {
        var isArmed = false
        var output = Output()
        var terminations = 0
        var force: (@Sendable () -> Void)?
    }

    /// Set by the first signal.
    let stop = MigrationStop()
    private let state = Mutex(State())

    /// Call it before anything else.
    init() {
        // A reader of our output that went away must not end a migration.
        signal(SIGPIPE, SIG_IGN)
        // For process 1 of a container the kernel drops signals that nobody handles.
        guard getpid() == 1 else { return }
        for number in [SIGINT, SIGTERM] { signal(number) { _exit(128 + $0) } }
    }

    /// From now on signals stop gracefully. Call it on the first thread, before a thread is started that has no mask of its
    /// own.
    func arm(_ output: Output) {
        let isFirst = state.withLock { state in
            defer { state.isArmed = true }
            state.output = output
            return !state.isArmed
        }
        guard isFirst else { return }
        var signals = Self.signals
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        var thread = pthread_t()
        let status = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let watch = unsafe Unmanaged<SignalWatch>.fromOpaque(argument).takeRetainedValue()
                while true { watch.take() }
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(status == 0, "the system has room for a thread when a run begins (errno \(status))")
        pthread_detach(thread)
    }

    /// Ends the statement under way; called at the second SIGTERM.
    func onForce(_ force: @escaping @Sendable () -> Void) { state.withLock { $0.force = force } }

    private static var signals: sigset_t {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe sigaddset(&signals, SIGINT)
        unsafe sigaddset(&signals, SIGTERM)
        return signals
    }

    private func take() {
        var signals = Self.signals
        var number: Int32 = 0
        guard unsafe sigwait(&signals, &number) == 0 else { return }
        let isFirst = !stop.isRequested
        let (output, force) = state.withLock { state -> (Output, (@Sendable () -> Void)?) in
            stop.request()
            if number == SIGTERM { state.terminations += 1 }
            return (state.output, state.terminations > 1 ? state.force : nil)
        }
        force?()
        // Last, and without the lock: whoever reads standard error may keep us waiting.
        if isFirst { output.line("Stopping after this running migration ...") }
    }
}
