import Synchronization

/// A bounded set of connections that tasks borrow.
///
/// ```swift
/// let pool = PostgresPool(configuration)
/// let count = try await pool.query("SELECT count(*) FROM users").first?.decode(0, as: Int.self)
/// try await pool.withTransaction { transaction in
///     try await transaction.query("UPDATE accounts SET balance = balance - \(10) WHERE id = \(from)")
///     try await transaction.query("UPDATE accounts SET balance = balance + \(10) WHERE id = \(to)")
/// }
/// await pool.shutdown()
/// ```
///
/// Connections are opened when they are needed, up to `maximumConnections`; then callers wait in order. The connection
/// used last is lent first, so that those not needed grow old and are closed. One that ended (the server restarted)
/// is noticed and replaced.
public final class PostgresPool: Sendable {
    /// The limits of a pool.
    public struct Options: Sendable {
        /// Connections open at once, those lent included; at least 1.
        public var maximumConnections = 10
        /// Callers that may wait; one more is refused at once.
        public var maximumWaiters = 1_000
        /// How long a caller waits for a connection to become free.
        public var acquireTimeout = Duration.seconds(10)
        /// A connection not used for so long is asked for a sign of life before it is lent.
        public var checkAfter = Duration.seconds(30)
        /// A connection not used for so long is closed.
        public var idleTimeout = Duration.seconds(600)
        /// A connection this old is closed when it comes back.
        public var maximumLifetime = Duration.seconds(3_600)

        /// The defaults.
        public init() {}
    }

    /// What a pool is doing.
    public struct Statistics: Sendable, Hashable {
        /// Connections that wait to be lent.
        public var idle: Int
        /// Connections that are lent, or are being opened for a caller.
        public var lent: Int
        /// Callers that wait.
        public var waiting: Int
        /// Connections opened since the start.
        public var opened: Int
    }

    private struct Idle: Sendable {
        let connection: PostgresConnection
        let opened: UInt64
        let since: UInt64
    }

    private struct Waiter: Sendable {
        let id: UInt64
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State: Sendable {
        /// The one used last at the end.
        var idle: [Idle] = []
        /// Permits given out: a permit allows to hold one connection.
        var lent = 0
        var waiters: [Waiter] = []
        var lastID: UInt64 = 0
        var opened = 0
        var isClosed = false
        var isPruning = false
        var closing: [CheckedContinuation<Void, Never>] = []
    }

    /// What the connections are opened with.
    public let configuration: PostgresConfiguration
    /// The limits.
    public let options: Options
    private let state = Mutex(State())

    /// A pool; it opens nothing before the first use.
    public init(_ configuration: PostgresConfiguration, options: Options = Options()) {
        precondition(options.maximumConnections > 0, "a pool without connections could serve nobody")
        self.configuration = configuration
        self.options = options
    }

    /// What the pool is doing now.
    public var statistics: Statistics {
        state.withLock {
            Statistics(idle: $0.idle.count, lent: $0.lent, waiting: $0.waiters.count, opened: $0.opened)
        }
    }

    /// Lends a connection while `body` runs. A transaction that it leaves open is rolled back.
    ///
    /// - Throws: What `body` throws; `PostgresError` with `.poolExhausted`, `.poolClosed` or `.connectionFailed`;
    ///   `CancellationError`.
    @discardableResult
    nonisolated(nonsending)
        public func withConnection<Value>(
            _ body: nonisolated(nonsending) (PostgresConnection) async throws -> Value
        ) async throws -> Value
    {
        try await takePermit()
        let (connection, opened): (PostgresConnection, UInt64)
        do {
            (connection, opened) = try await obtain()
        } catch {
            giveBack(nil)
            throw error
        }
        do {
            let value = try await body(connection)
            await giveBack(connection, opened)
            return value
        } catch {
            await giveBack(connection, opened)
            throw error
        }
    }

    /// Runs one statement on some connection.
    ///
    /// - Throws: As `withConnection` and `PostgresConnection.query`.
    @discardableResult
    nonisolated(nonsending)
        public func query(_ query: PostgresQuery, timeout: Duration? = nil) async throws -> PostgresResult
    {
        try await withConnection { try await $0.query(query, timeout: timeout) }
    }

    /// Runs `body` in a transaction on some connection; see `PostgresConnection.withTransaction`.
    ///
    /// - Throws: As `withConnection` and `PostgresConnection.withTransaction`.
    @discardableResult
    nonisolated(nonsending)
        public func withTransaction<Value>(
            isolation: PostgresIsolation = .serverDefault, isReadOnly: Bool = false, attempts: Int = 1,
            _ body: nonisolated(nonsending) (PostgresConnection) async throws -> Value
        ) async throws -> Value
    {
        try await withConnection {
            try await $0.withTransaction(
                isolation: isolation, isReadOnly: isReadOnly, attempts: attempts, body)
        }
    }

    /// Refuses new callers, closes what is idle, and returns when the last lent connection is back and closed.
    public func shutdown() async {
        let (idle, waiters) = state.withLock { state in
            state.isClosed = true
            defer { (state.idle, state.waiters) = ([], []) }
            return (state.idle, state.waiters)
        }
        for entry in idle { entry.connection.close() }
        for waiter in waiters { waiter.continuation.resume(throwing: Self.closed) }
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.lent > 0 { state.closing.append(continuation) }
                return state.lent == 0
            }
            if isDone { continuation.resume() }
        }
    }

    private static let closed = PostgresError(.poolClosed, "the pool of connections was shut down")

    // MARK: Permits

    nonisolated(nonsending)
        private func takePermit() async throws
    {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        var timer: UInt64?
        defer { if let timer { Poller.shared.callOff(timer) } }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let refusal: (any Error)? = state.withLock { state in
                    if state.isClosed { return Self.closed }
                    // Under the lock: a cancellation after this finds the waiter.
                    if Task.isCancelled { return CancellationError() }
                    if state.lent < options.maximumConnections {
                        state.lent += 1
                        continuation.resume()
                        return nil
                    }
                    guard state.waiters.count < options.maximumWaiters else {
                        return PostgresError(
                            .poolExhausted,
                            "all \(options.maximumConnections) connections are lent and \(state.waiters.count) "
                                + "callers wait already, which is the limit")
                    }
                    state.waiters.append(Waiter(id: id, continuation: continuation))
                    return nil
                }
                if let refusal { return continuation.resume(throwing: refusal) }
                timer = Poller.shared.schedule(at: MonotonicClock.after(options.acquireTimeout)) {
                    [weak self] in
                    self?.giveUp(id, isTimeout: true)
                }
            }
        } onCancel: {
            giveUp(id, isTimeout: false)
        }
    }

    /// Takes a caller out of the line.
    private func giveUp(_ id: UInt64, isTimeout: Bool) {
        let (waiter, waiting) = state.withLock { state -> (Waiter?, Int) in
            guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return (nil, 0) }
            return (state.waiters.remove(at: index), state.waiters.count)
        }
        waiter?.continuation.resume(
            throwing: isTimeout
                ? PostgresError(
                    .poolExhausted,
                    "no connection became free within \(options.acquireTimeout): all "
                        + "\(options.maximumConnections) are lent, and \(waiting) more callers wait")
                : CancellationError())
    }

    // MARK: Connections

    nonisolated(nonsending)
        private func obtain() async throws -> (PostgresConnection, UInt64)
    {
        while let entry = state.withLock({ $0.idle.popLast() }) {
            guard entry.connection.session.probe() else {
                entry.connection.close()
                continue
            }
            if MonotonicClock.now > entry.since &+ Self.nanoseconds(options.checkAfter) {
                do {
                    try await entry.connection.ping()
                } catch {
                    entry.connection.close()
                    try Task.checkCancellation()
                    continue
                }
            }
            return (entry.connection, entry.opened)
        }
        let connection = try await PostgresConnection.open(configuration)
        state.withLock { $0.opened += 1 }
        return (connection, MonotonicClock.now)
    }

    nonisolated(nonsending)
        private func giveBack(_ connection: PostgresConnection, _ opened: UInt64) async
    {
        switch connection.transactionStatus {
        case .idle: break
        case .inTransaction, .failed:
            configuration.logger?.warning(
                "a transaction was left open on a borrowed connection; rolling back")
            do {
                _ = try await connection.run("ROLLBACK", timeout: .seconds(10), isShielded: true)
            } catch {
                connection.close()
            }
        case .active, .closed: connection.close()
        }
        let now = MonotonicClock.now
        guard connection.isOpen, now < opened &+ Self.nanoseconds(options.maximumLifetime) else {
            connection.close()
            return giveBack(nil)
        }
        giveBack(Idle(connection: connection, opened: opened, since: now))
    }

    /// Ends a loan: the permit goes to the next in line.
    private func giveBack(_ entry: Idle?) {
        let (next, finished, isPruneNeeded, isClosed) = state.withLock {
            state -> (Waiter?, [CheckedContinuation<Void, Never>], Bool, Bool) in
            if let entry, !state.isClosed { state.idle.append(entry) }
            if !state.waiters.isEmpty { return (state.waiters.removeFirst(), [], false, state.isClosed) }
            state.lent -= 1
            let isPruneNeeded = !state.isPruning && !state.idle.isEmpty
            if isPruneNeeded { state.isPruning = true }
            guard state.isClosed, state.lent == 0 else { return (nil, [], isPruneNeeded, state.isClosed) }
            defer { state.closing = [] }
            return (nil, state.closing, isPruneNeeded, true)
        }
        // As it was when the entry came back: one that was kept may be lent again by now.
        if isClosed { entry?.connection.close() }
        next?.continuation.resume()
        for continuation in finished { continuation.resume() }
        if isPruneNeeded { schedulePruning() }
    }

    private func schedulePruning() {
        _ = Poller.shared.schedule(at: MonotonicClock.after(options.idleTimeout)) { [weak self] in
            self?.prune()
        }
    }

    /// Closes the connections that nobody needed for `idleTimeout`.
    private func prune() {
        let limit = Self.nanoseconds(options.idleTimeout)
        let now = MonotonicClock.now
        let (old, isMoreLeft) = state.withLock { state in
            let old = state.idle.filter { $0.since &+ limit <= now }
            state.idle.removeAll { $0.since &+ limit <= now }
            state.isPruning = !state.idle.isEmpty
            return (old, state.isPruning)
        }
        for entry in old { entry.connection.close() }
        if isMoreLeft { schedulePruning() }
    }

    private static func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        return UInt64(max(0, min(seconds, 3_000_000_000))) * 1_000_000_000
            + UInt64(max(0, attoseconds) / 1_000_000_000)
    }
}
