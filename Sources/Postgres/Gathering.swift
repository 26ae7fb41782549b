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

    /// Convoys that were sent and are not answered to their ends.
    private(set) var underWay = 0
    /// Convoys sent so far.
    private(set) var sent: UInt64 = 0
    /// Somebody looks whether the line moves.
    var isWatched = false
    /// What the last convoys took, and how many statements they had; older ones count less and less.
    private var time = 0.0
    private var statements = 0.0

    /// Whether a statement joins a line of so many, which the convoys under way can take along as they end.
    func shouldWait(behind waiting: Int) -> Bool {
        underWay >= Self.enough && waiting < underWay * PostgresPool.convoyLimit
            && time < statements * Double(Self.quickTime)
    }

    mutating func begin() {
        underWay += 1
        sent += 1
    }

    /// One could not be sent.
    mutating func takeBack() { underWay -= 1 }

    mutating func end(of count: Int, took nanoseconds: UInt64) {
        underWay -= 1
        time = time * 0.875 + Double(nanoseconds)
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

    /// Sends those that wait on a connection that is free, if there is one and nothing was sent meanwhile.
    private func moveLine(unlessSentMoreThan sent: UInt64) {
        let (entry, isStuck, isLineLeft) = state.withLock { state -> (Idle?, Bool, Bool) in
            state.gathering.isWatched = false
            guard !state.waiters.isEmpty, state.lent < options.maximumConnections else {
                return (nil, false, false)
            }
            guard state.gathering.sent == sent else { return (nil, false, true) }
            state.lent += 1
            return (takeFresh(&state), true, true)
        }
        if isStuck {
            // As one does that comes back; without one the first in the line gets the leave to open one.
            if let entry, !entry.connection.session.probe() {
                entry.connection.close()
                giveBack(nil)
            } else {
                giveBack(entry)
            }
        }
        if isLineLeft { watchLine() }
    }
}
