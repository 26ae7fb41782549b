/// When a client is pinged and when it counts as gone (nats-core.md 4.4). Times are monotonic nanoseconds.
struct KeepAlive {
    enum Action: Equatable {
        case nothing
        case sendPing
        /// Too many pings without an answer.
        case stale
    }

    private static let second: UInt64 = 1_000_000_000
    /// The first ping after CONNECT comes this early, to measure the round trip.
    private static let firstPing = 2 * second
    /// No ping before the first PONG of ours, unless this much has passed since the connection began.
    private static let graceBeforeFirstPong = 2 * second
    /// A round trip is measured again after this time.
    private static let measurementAge = 3_600 * second

    private let interval: UInt64
    private let maximumOut: Int
    private let acceptedAt: UInt64
    private var pingSentAt: UInt64?
    private var measuredAt: UInt64?
    private(set) var pingsOut = 0
    /// The last data or PING of the client.
    var lastActivity: UInt64
    /// The client's first PING was answered.
    var hasSentFirstPong = false
    /// When to look again.
    private(set) var nextCheck: UInt64

    init(interval: UInt64, maximumOut: Int, now: UInt64) {
        self.interval = max(interval, 1_000_000)
        self.maximumOut = maximumOut
        acceptedAt = now
        lastActivity = now
        nextCheck = now + self.interval
    }

    /// CONNECT came. `jitter` in 0..<1 spreads the first ping over a fifth more.
    mutating func connected(now: UInt64, jitter: Double) {
        let first = min(interval, Self.firstPing)
        nextCheck = now + first + UInt64(Double(first) * 0.2 * jitter)
    }

    mutating func receivedPong(now: UInt64) {
        pingsOut = 0
        if pingSentAt != nil { measuredAt = now }
    }

    /// Call at `nextCheck`, which it moves.
    mutating func timeReached(_ now: UInt64) -> Action {
        if !hasSentFirstPong, now < acceptedAt + Self.graceBeforeFirstPong {
            nextCheck = min(now + interval, acceptedAt + Self.graceBeforeFirstPong)
            return .nothing
        }
        nextCheck = now + interval
        let isMeasured = measuredAt.map { now - $0 < Self.measurementAge } ?? false
        if isMeasured, now - min(lastActivity, now) < interval { return .nothing }
        if pingsOut + 1 > maximumOut { return .stale }
        pingsOut += 1
        pingSentAt = now
        return .sendPing
    }
}
