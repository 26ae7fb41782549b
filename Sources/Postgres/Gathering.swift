import Glibc

/// Decides when a statement waits for the convoys that are under way although a connection is free.
///
/// A few connections keep this process busy with quick statements; more of them make smaller convoys, and so more wake-ups,
/// here and at the server. One that waits is taken along by the next convoy that ends; where none ends soon, it goes out
/// after `patience`.
struct Gathering: Sendable {
    /// A statement of a convoy takes no longer than this, on average, where statements are gathered, in nanoseconds.
    static let quickTime: UInt64 = 500_000
    /// How long a statement waits while a connection is free, in milliseconds; twice as long where it came just after another.
    static let patience = 10
    /// That many convoys are enough to keep this machine busy.
    static let enough = max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 2)

    /// When the convoys were sent that are not answered to their ends, in nanoseconds of `MonotonicClock`.
    private var underWay: [UInt64] = []
    /// Convoys sent so far.
    private(set) var sent: UInt64 = 0
    /// Somebody looks whether the line moves.
    var isWatched = false
    /// What the last convoys took, and how many statements they had; older ones count less and less.
    private var time = 0.0
    private var statements = 0.0

    /// Whether a statement joins a line of so many, which the convoys under way can take along as they end: those that were
    /// sent long ago may not end soon.
    func shouldWait(behind waiting: Int, at now: UInt64) -> Bool {
        guard underWay.count >= Self.enough, time < statements * Double(Self.quickTime) else { return false }
        let patience = UInt64(Self.patience) * 1_000_000
        let soonEnded = underWay.count { now < $0 &+ patience }
        return soonEnded >= Self.enough && waiting < soonEnded * PostgresPool.convoyLimit
    }

    mutating func begin(at now: UInt64) {
        underWay.append(now)
        sent += 1
    }

    /// One that began then could not be sent.
    mutating func takeBack(begun: UInt64) {
        if let index = underWay.firstIndex(of: begun) { underWay.remove(at: index) }
    }

    mutating func end(of count: Int, begun: UInt64, at now: UInt64) {
        takeBack(begun: begun)
        time = time * 0.875 + Double(now &- begun)
        statements = statements * 0.875 + Double(count)
    }
}

extension PostgresPool {
    /// Looks after a while whether the line has moved.
    func watchLine() {
        let sent = state.withLock { state -> UInt64? in
            guard !state.gathering.isWatched else { return nil }
            state.gathering.isWatched = true
            return state.gathering.sent
        }
        guard let sent else { return }
        _ = Poller.shared.schedule(at: MonotonicClock.after(.milliseconds(Gathering.patience))) {
            [weak self] in
            self?.moveLine(unlessSentMoreThan: sent)
        }
    }

    /// Sends those that wait on the connections that are free, if nothing was sent meanwhile.
    func moveLine(unlessSentMoreThan sent: UInt64) {
        let isStuck = state.withLock { state in
            state.gathering.isWatched = false
            return state.gathering.sent == sent
        }
        if isStuck { while moveFront() {} }
        let isLineLeft = state.withLock { !$0.waiters.isEmpty && $0.lent < options.maximumConnections }
        if isLineLeft { watchLine() }
    }

    /// Sends as many of those that wait as travel together; false when none do or no connection is free.
    private func moveFront() -> Bool {
        let (isLent, entry) = state.withLock { state -> (Bool, Idle?) in
            guard !state.waiters.isEmpty, state.lent < options.maximumConnections else { return (false, nil) }
            state.lent += 1
            return (true, takeFresh(&state))
        }
        guard isLent else { return false }
        // As one does that comes back; without one the first in the line gets the leave to open one.
        if let entry, !entry.connection.session.probe() {
            entry.connection.close()
            giveBack(nil)
        } else {
            giveBack(entry)
        }
        return true
    }
}
