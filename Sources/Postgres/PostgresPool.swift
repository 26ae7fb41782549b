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

    struct Idle: Sendable {
        let connection: PostgresConnection
        let opened: UInt64
        let since: UInt64
    }

    /// A caller in the line.
    struct Waiter: Sendable {
        enum Wish: Sendable {
            /// A connection of its own.
            case connection(Continuation<Void, any Error>)
            /// The answer to a statement that may travel with others (`PostgresPool+Statements.swift`).
            case statement(Operation)
        }

        let id: UInt64
        let wish: Wish

        /// Tells the caller that it will have nothing.
        func refuse(_ error: any Error) {
            switch wish {
            case .connection(let continuation): continuation.resume(throwing: error)
            case .statement(let operation): operation.memberContinuation?.resume(returning: .failure(error))
            }
        }
    }

    struct State: Sendable {
        /// The one used last at the end.
        var idle: [Idle] = []
        /// Permits given out: a permit allows to hold one connection.
        var lent = 0
        var waiters: [Waiter] = []
        var lastID: UInt64 = 0
        var opened = 0
        var isClosed = false
        var isPruning = false
        var closing: [Continuation<Void, Never>] = []
        var gathering = Gathering()
    }

    /// What the connections are opened with.
    public let configuration: PostgresConfiguration
    /// The limits.
    public let options: Options
    let state = Mutex(State())

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
        return try await withPermit(body)
    }

    /// Lends a connection to a caller that has a permit, and gives both back.
    nonisolated(nonsending)
        func withPermit<Value>(
            _ body: nonisolated(nonsending) (PostgresConnection) async throws -> Value
        ) async throws -> Value
    {
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
        for waiter in waiters { waiter.refuse(Self.closed) }
        await withContinuation { continuation in
            let isDone = state.withLock { state in
                if state.lent > 0 { state.closing.append(continuation) }
                return state.lent == 0
            }
            if isDone { continuation.resume() }
        }
    }

    static let closed = PostgresError(.poolClosed, "the pool of connections was shut down")

    // MARK: Permits

    nonisolated(nonsending)
        private func takePermit() async throws
    {
        let id = makeID()
        var timer: UInt64?
        defer { if let timer { Poller.shared.callOff(timer) } }
        try await withTaskCancellationHandler {
            try await withThrowingContinuation { continuation in
                let isInLine: Result<Bool, any Error> = state.withLock { state in
                    if let refusal = refusal(state) { return .failure(refusal) }
                    if state.lent < options.maximumConnections {
                        state.lent += 1
                        return .success(false)
                    }
                    state.waiters.append(Waiter(id: id, wish: .connection(continuation)))
                    return .success(true)
                }
                switch isInLine {
                case .failure(let refusal): continuation.resume(throwing: refusal)
                case .success(false): continuation.resume()
                case .success(true): timer = limitWait(of: id)
                }
            }
        } onCancel: {
            giveUp(id, isTimeout: false)
        }
    }

    func makeID() -> UInt64 {
        state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
    }

    /// Why a caller may not even wait.
    func refusal(_ state: borrowing State) -> (any Error)? {
        if state.isClosed { return Self.closed }
        // Under the lock: a cancellation after this finds the waiter.
        if Task.isCancelled { return CancellationError() }
        guard state.lent >= options.maximumConnections, state.waiters.count >= options.maximumWaiters else {
            return nil
        }
        return PostgresError(
            .poolExhausted,
            "all \(options.maximumConnections) connections are lent and \(state.waiters.count) "
                + "callers wait already, which is the limit")
    }

    /// From now on the caller waits as long as it may.
    func limitWait(of id: UInt64) -> UInt64 {
        Poller.shared.schedule(at: MonotonicClock.after(options.acquireTimeout)) { [weak self] in
            self?.giveUp(id, isTimeout: true)
        }
    }

    /// Takes a caller out of the line.
    func giveUp(_ id: UInt64, isTimeout: Bool) {
        let (waiter, waiting) = state.withLock { state -> (Waiter?, Int) in
            guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return (nil, 0) }
            return (state.waiters.remove(at: index), state.waiters.count)
        }
        waiter?.refuse(
            isTimeout
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
        keep(connection, opened)
    }

    /// Ends a loan: the connection waits for the next one, unless it is too old.
    func keep(_ connection: PostgresConnection, _ opened: UInt64) {
        let now = MonotonicClock.now
        guard connection.isOpen, now < opened &+ Self.nanoseconds(options.maximumLifetime) else {
            connection.close()
            return giveBack(nil)
        }
        giveBack(Idle(connection: connection, opened: opened, since: now))
    }

    private enum Next {
        case nobody
        /// The pool was shut down when the connection came back.
        case closing
        case connection(Continuation<Void, any Error>)
        /// The caller of a statement, who has to open a connection for it.
        case opening(Operation)
        case statements([Operation], Idle, at: UInt64)
    }

    /// Ends a loan: the permit goes to the next in line.
    func giveBack(_ entry: Idle?) {
        let (next, finished, isPruneNeeded) = state.withLock {
            state -> (Next, [Continuation<Void, Never>], Bool) in
            if let first = state.waiters.first {
                if case .statement = first.wish, let entry {
                    let now = MonotonicClock.now
                    let statements = takeStatements(&state, for: entry, at: now)
                    return (.statements(statements, entry, at: now), [], false)
                }
                if let entry { state.idle.append(entry) }
                state.waiters.removeFirst()
                switch first.wish {
                case .connection(let continuation): return (.connection(continuation), [], false)
                case .statement(let operation): return (.opening(operation), [], false)
                }
            }
            if let entry, !state.isClosed { state.idle.append(entry) }
            state.lent -= 1
            let isPruneNeeded = !state.isPruning && !state.idle.isEmpty
            if isPruneNeeded { state.isPruning = true }
            guard state.isClosed else { return (.nobody, [], isPruneNeeded) }
            guard state.lent == 0 else { return (.closing, [], isPruneNeeded) }
            defer { state.closing = [] }
            return (.closing, state.closing, isPruneNeeded)
        }
        switch next {
        // One that was kept may be lent again by now.
        case .nobody: break
        case .closing: entry?.connection.close()
        case .connection(let continuation): continuation.resume()
        case .opening(let operation): operation.memberContinuation?.resume(returning: nil)
        case .statements(let operations, let entry, let begun): carry(operations, on: entry, begun: begun)
        }
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

    static func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        return UInt64(max(0, min(seconds, 3_000_000_000))) * 1_000_000_000
            + UInt64(max(0, attoseconds) / 1_000_000_000)
    }
}
