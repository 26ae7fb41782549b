import Glibc
import Migrate
import Synchronization

/// What interrupts and requests to end do (`specs/migrate.md` 1.7).
///
/// Both signals are blocked in every thread from the start and taken by one thread with `sigwait`: blocked signals
/// reach process 1 of a container too, for which the kernel drops those without a handler.
final class SignalWatch: Sendable {
    private struct State: Sendable {
        /// A migration run is possible; before that, a signal ends the process.
        var isArmed = false
        var output = Output()
        var terminations = 0
        var force: (@Sendable () -> Void)?
    }

    /// Set by the first signal.
    let stop = MigrationStop()
    private let state = Mutex(State())

    /// Blocks the signals in this thread and those that it starts later. Call it before anything else.
    init() {
        var signals = Self.signals
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        // A reader of our output that went away must not end a migration.
        signal(SIGPIPE, SIG_IGN)
        var thread = pthread_t()
        let status = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let watch = unsafe Unmanaged<SignalWatch>.fromOpaque(argument).takeRetainedValue()
                while true { watch.take() }
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(status == 0, "the system has room for a thread when a process starts (errno \(status))")
        pthread_detach(thread)
    }

    /// From now on signals stop gracefully.
    func arm(_ output: Output) {
        state.withLock {
            $0.isArmed = true
            $0.output = output
        }
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
            guard state.isArmed else { Self.die(number) }
            stop.request()
            if number == SIGTERM { state.terminations += 1 }
            return (state.output, state.terminations > 1 ? state.force : nil)
        }
        force?()
        // Last, and without the lock: whoever reads standard error may keep us waiting.
        if isFirst { output.line("Stopping after this running migration ...") }
    }

    /// Ends the process as the signal would have, had it not been blocked.
    private static func die(_ number: Int32) -> Never {
        signal(number, SIG_DFL)
        var signals = self.signals
        unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        raise(number)
        // Only process 1 lives on here.
        _exit(128 + number)
    }
}
