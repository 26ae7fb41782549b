import Logging
import ServicesCore

/// Keeps the mail worker going: at once when this replica has new mails, and every second for mails that are due again
/// or that another replica left behind.
struct MailDelivery: Sendable {
    let worker: MailWorker
    let clock: ServiceClock
    let logger: Logger
    private let wake = WakeUp()

    init(worker: MailWorker, clock: ServiceClock, logger: Logger) {
        self.worker = worker
        self.clock = clock
        self.logger = logger
    }

    /// Says that there are new mails.
    func mailIsWaiting() { wake.signal() }

    /// Runs until the task is cancelled; a step that was begun is finished and recorded first.
    func run() async {
        while !Task.isCancelled {
            do {
                try await workOff()
            } catch {
                logger.warning("invitation mails wait for the database", metadata: ["error": "\(error)"])
            }
            await pause()
        }
    }

    private func workOff() async throws {
        let isStopping = Latch()
        // In a task of its own: cancellation stops it between two steps, never within one.
        let work = Task { try await worker.workOff(isStopping: { isStopping.isSet }) }
        try await withTaskCancellationHandler {
            try await work.value
        } onCancel: {
            isStopping.set()
        }
    }

    private func pause() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await wake.wait() }
            // Cancellation ends the pause, which is all that the error says.
            group.addTask { try? await clock.sleep(.seconds(1)) }
            await group.next()
            group.cancelAll()
        }
    }
}
