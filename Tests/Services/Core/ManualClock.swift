import Synchronization

@testable import ServicesCore

/// A clock that stands until it is told to go on.
final class ManualClock: Sendable {
    private let offset = Mutex(Duration.zero)
    private let start: Timestamp

    init(start: Timestamp = ServiceClock.system.now()) { self.start = start }

    func advance(by duration: Duration) { offset.withLock { $0 += duration } }

    /// Nothing that is tested on it sleeps.
    var clock: ServiceClock {
        ServiceClock(
            now: { [self] in start + offset.withLock { $0 } },
            monotonic: { [self] in .seconds(1_000) + offset.withLock { $0 } },
            sleep: { _ in throw CancellationError() })
    }
}
