import Glibc

/// The times that a service lives by; tests hand in their own.
public struct ServiceClock: Sendable {
    /// The wall clock: what is stored, and what tokens are held against.
    public var now: @Sendable () -> Timestamp
    /// Time since some point, which never steps: what intervals are measured by.
    public var monotonic: @Sendable () -> Duration
    /// Waits; throws `CancellationError` when the task is cancelled.
    public var sleep: @Sendable (Duration) async throws -> Void

    /// A clock made of its three parts.
    public init(
        now: @escaping @Sendable () -> Timestamp, monotonic: @escaping @Sendable () -> Duration,
        sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.now = now
        self.monotonic = monotonic
        self.sleep = sleep
    }

    /// The machine's clocks.
    public static let system = ServiceClock(
        now: {
            let time = read(CLOCK_REALTIME)
            return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
        },
        monotonic: {
            let time = read(CLOCK_MONOTONIC)
            return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
        },
        sleep: { try await Task.sleep(for: $0) })

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return time
    }
}

extension Duration {
    /// In seconds, as metrics and `make_interval` have them.
    public var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// A delay that doubles from failure to failure: 0.1 s to 5 s, for the database, the broker and the relay (services.md
/// 5.6 and 6.5).
struct Backoff {
    private static let first = Duration.milliseconds(100)
    private static let longest = Duration.seconds(5)
    private var next = Self.first

    /// The delay before the next attempt.
    mutating func delay() -> Duration {
        defer { next = min(next * 2, Self.longest) }
        return next
    }

    /// After a success.
    mutating func reset() { next = Self.first }
}
