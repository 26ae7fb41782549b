import Postgres
import Synchronization

/// The service's own database. Every statement goes through here, so that it is counted.
public struct Database: Sendable {
    /// The connections.
    public let pool: PostgresPool
    /// Signalled after each commit of this process that has written events: the relay waits for it.
    let commits = WakeUp()

    /// A database over a pool.
    public init(_ pool: PostgresPool) { self.pool = pool }

    /// Runs one statement by itself.
    ///
    /// - Throws: `PostgresError`, `CancellationError`.
    @discardableResult
    nonisolated(nonsending)
        public func query(_ query: PostgresQuery) async throws -> PostgresResult
    {
        try await pool.withConnection { try await Transaction($0).query(query) }
    }

    /// Runs one statement that reads and waits for no lock, by itself. Several of them share a connection (docs/decisions/0026,
    /// 0032, 0033), so one that takes long delays others.
    ///
    /// - Throws: `PostgresError`, `CancellationError`.
    nonisolated(nonsending)
        public func read(_ query: PostgresQuery) async throws -> PostgresResult
    {
        StatementCount.current?.add(1)
        return try await pool.queryKept(query)
    }

    /// Runs `body` in a transaction, again after a serialization failure or a deadlock: it must be fit to run twice.
    ///
    /// - Throws: What `body` throws, after a rollback; `PostgresError`.
    @discardableResult
    nonisolated(nonsending)
        public func transaction<Value>(
            _ body: nonisolated(nonsending) (Transaction) async throws -> Value
        ) async throws -> Value
    {
        let hasPublished = Latch()
        let value = try await pool.withTransaction(attempts: 3) { connection in
            // BEGIN and COMMIT are statements too.
            StatementCount.current?.add(2)
            return try await body(Transaction(connection, hasPublished))
        }
        // Not by NOTIFY within the transaction: for that the server lets transactions commit one after the other only.
        if hasPublished.isSet { commits.signal() }
        return value
    }

    /// Asks for a sign of life: `SELECT true`.
    ///
    /// - Throws: When there is none.
    nonisolated(nonsending)
        public func check() async throws
    {
        try await query("SELECT true")
    }
}

/// A connection as handlers see it, in a transaction or for one statement.
public struct Transaction: Sendable {
    let connection: PostgresConnection
    /// Set when events are written; nil for one statement alone, which writes none.
    let hasPublished: Latch?

    init(_ connection: PostgresConnection, _ hasPublished: Latch? = nil) {
        self.connection = connection
        self.hasPublished = hasPublished
    }

    /// Runs a statement.
    ///
    /// - Throws: `PostgresError`, `CancellationError`.
    @discardableResult
    nonisolated(nonsending)
        public func query(_ query: PostgresQuery) async throws -> PostgresResult
    {
        StatementCount.current?.add(1)
        // Each connection prepares what it runs once; a statement without parameters is not worth that.
        return query.parameters.isEmpty
            ? try await connection.query(query) : try await connection.queryKept(query)
    }
}

/// Counts the statements of one request.
public final class StatementCount: Sendable {
    /// The counter of the request under way.
    @TaskLocal public static var current: StatementCount?

    private let count = Atomic(0)

    /// Nothing counted yet.
    public init() {}

    /// The statements so far.
    public var value: Int { count.load(ordering: .relaxed) }

    func add(_ number: Int) { count.add(number, ordering: .relaxed) }
}

extension PostgresError {
    /// Whether the database cannot be used now: it is away, or too slow for what was asked.
    public var isUnavailable: Bool { isAway || code == .timedOut || code == .poolExhausted }

    /// Whether the database cannot be used now, whatever is asked: it is gone, starting or stopping.
    public var isAway: Bool {
        switch code {
        case .connectionFailed, .connectionLost, .poolClosed: true
        // 57P01–57P03: stopping, crashed, starting; 53300: too many connections; 25006: a standby.
        case .server: ["57P01", "57P02", "57P03", "53300", "25006"].contains(sqlState)
        default: false
        }
    }

    /// Whether the same statement with the same values will always fail: a value does not fit (class 22), is missing, or
    /// breaks a check. Unique and foreign keys are not among them: what they collide with may be gone, or come.
    public var isPermanent: Bool {
        guard let sqlState else { return code == .misuse }
        return sqlState.hasPrefix("22") || sqlState == "23502" || sqlState == "23514"
    }
}

extension Database {
    /// Lends one connection for several statements that need no transaction.
    ///
    /// - Throws: What `body` throws; `PostgresError`.
    @discardableResult
    nonisolated(nonsending)
        public func session<Value>(
            _ body: nonisolated(nonsending) (Transaction) async throws -> Value
        ) async throws -> Value
    {
        try await pool.withConnection { try await body(Transaction($0)) }
    }
}
