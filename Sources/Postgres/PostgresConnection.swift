import CLibPQ
import Glibc

/// A connection to a PostgreSQL server.
///
/// ```swift
/// let connection = try await PostgresConnection.open(configuration)
/// defer { connection.close() }
/// for row in try await connection.query("SELECT id, name FROM users WHERE active = \(true)") {
///     let (id, name) = try row.decode(Int.self, String.self)
/// }
/// ```
///
/// Safe to use from any task. It does one thing at a time: what several tasks ask for is done in turn. Cancelling a
/// task cancels its statement on the server. Dropping the last reference closes the connection.
public final class PostgresConnection: Sendable {
    let session: Session

    private init(_ session: Session) { self.session = session }

    deinit { session.close() }

    /// Opens a connection.
    ///
    /// - Throws: `PostgresError` with the code `.connectionFailed`, or `CancellationError`.
    public static func open(_ configuration: PostgresConfiguration) async throws -> PostgresConnection {
        PostgresConnection(try await Session.open(configuration))
    }

    /// Runs a statement and waits for all of its rows.
    ///
    /// - Parameters:
    ///   - query: The statement.
    ///   - timeout: How long it may take; `nil` takes the configuration's.
    /// - Throws: `PostgresError`, or `CancellationError` after the statement was cancelled on the server.
    @discardableResult
    nonisolated(nonsending)
        public func query(_ query: PostgresQuery, timeout: Duration? = nil) async throws -> PostgresResult
    {
        try await run(query, timeout: timeout, isShielded: false)
    }

    /// Runs a prepared statement.
    ///
    /// - Throws: `PostgresError`, or `CancellationError` after the statement was cancelled on the server.
    @discardableResult
    nonisolated(nonsending)
        public func query(
            _ statement: PostgresPreparedStatement, _ parameters: any PostgresEncodable...,
            timeout: Duration? = nil
        ) async throws -> PostgresResult
    {
        let operation = Operation(
            .statement(PostgresStatement(statement, parameters)),
            timeout: timeout ?? session.configuration.queryTimeout)
        return try await last(session.run(operation))
    }

    nonisolated(nonsending)
        func pipelineOfOne(_ statement: PostgresStatement, timeout: Duration?) async throws
        -> [PostgresResult]
    {
        try await session.run(
            Operation(.statement(statement), timeout: timeout ?? session.configuration.queryTimeout))
    }

    /// Runs SQL that may hold many statements, and drops their rows.
    ///
    /// The server carries them out in one transaction unless the text has its own `BEGIN` and `COMMIT`.
    ///
    /// - Parameters:
    ///   - script: The bytes go out as they are; they must hold no NUL.
    ///   - timeout: How long all of it may take; `nil` takes the configuration's.
    /// - Returns: How many statements were carried out.
    /// - Throws: `PostgresError`, whose `completedStatements` counts those before the one that failed; or
    ///   `CancellationError`.
    @discardableResult
    nonisolated(nonsending)
        public func execute(script: some Collection<UInt8>, timeout: Duration? = nil) async throws -> Int
    {
        try await execute(script: script, timeout: timeout, isShielded: false)
    }

    /// Runs SQL that may hold many statements, and drops their rows.
    ///
    /// - Throws: As for bytes.
    @discardableResult
    nonisolated(nonsending)
        public func execute(script: String, timeout: Duration? = nil) async throws -> Int
    {
        try await execute(script: script.utf8, timeout: timeout, isShielded: false)
    }

    /// Lets the server parse a statement once, to be run many times on this connection.
    ///
    /// - Throws: `PostgresError`, or `CancellationError`.
    nonisolated(nonsending)
        public func prepare(_ sql: String) async throws -> PostgresPreparedStatement
    {
        try await prepare(sql, types: [])
    }

    nonisolated(nonsending)
        func prepare(_ sql: String, types: [UInt32]) async throws -> PostgresPreparedStatement
    {
        let name = session.withLock { session.lockedMakeStatementName() }
        _ = try await session.run(
            Operation(
                .prepare(name: name, sql: sql, types: types), timeout: session.configuration.queryTimeout))
        return PostgresPreparedStatement(name: name, sql: sql, sessionID: session.id)
    }

    /// Forgets a prepared statement on the server.
    ///
    /// - Throws: `PostgresError`, or `CancellationError`.
    nonisolated(nonsending)
        public func deallocate(_ statement: PostgresPreparedStatement) async throws
    {
        try await query("DEALLOCATE \(identifier: statement.name)")
    }

    /// Sends many statements at once and waits for all: one round trip instead of one each.
    ///
    /// They are one transaction, unless one is open already: when a statement fails, none of them has an effect.
    ///
    /// - Returns: A result for each.
    /// - Throws: `PostgresError`, whose `completedStatements` is the index of the one that failed; or
    ///   `CancellationError`.
    @discardableResult
    nonisolated(nonsending)
        public func pipeline(_ statements: [PostgresStatement], timeout: Duration? = nil) async throws
        -> [PostgresResult]
    {
        if statements.isEmpty { return [] }
        return try await session.run(
            Operation(.pipeline(statements), timeout: timeout ?? session.configuration.queryTimeout))
    }

    /// Asks the server for a sign of life.
    ///
    /// - Throws: `PostgresError` when there is none.
    nonisolated(nonsending)
        public func ping(timeout: Duration = .seconds(5)) async throws
    {
        _ = try await run("", timeout: timeout, isShielded: false)
    }

    /// Closes the connection. What is under way fails with `.connectionLost`; closing twice does nothing.
    public func close() { session.close() }

    /// Whether the connection can take statements. A server that went away is noticed when its end arrives.
    public var isOpen: Bool { session.isOpen }

    /// Where the connection stands between `BEGIN` and `COMMIT`.
    public var transactionStatus: PostgresTransactionStatus { session.transactionStatus }

    /// A setting that the server reports by itself, for instance `server_version`.
    public func serverParameter(_ name: String) -> String? { session.serverParameter(name) }

    /// The process number of the server's process for this connection, as `pg_stat_activity` shows it.
    public var backendProcessID: Int { session.backendProcessID }
}

/// Where a connection stands between `BEGIN` and `COMMIT`.
public enum PostgresTransactionStatus: Sendable, Hashable {
    /// No transaction is open.
    case idle
    /// A statement is under way.
    case active
    /// A transaction is open.
    case inTransaction
    /// A transaction is open and a statement of it failed: it can only be rolled back.
    case failed
    /// The connection is closed.
    case closed
}

extension PostgresConnection {
    nonisolated(nonsending)
        func run(_ query: PostgresQuery, timeout: Duration? = nil, isShielded: Bool) async throws
        -> PostgresResult
    {
        let request =
            query.parameters.isEmpty && query.resultFormat == .text
            ? Operation.Request.simple(try Self.terminated(query.sql.utf8))
            : .statement(PostgresStatement(query))
        // What must be carried out is the end of something, a commit above all: it waits for the server's disk.
        let operation = Operation(
            request, timeout: timeout ?? session.configuration.queryTimeout, answersSoon: !isShielded)
        return try await last(session.run(operation, isShielded: isShielded))
    }

    /// Runs statements without parameters in one message, for all of their results.
    ///
    /// - Throws: `PostgresError`, or `CancellationError`.
    nonisolated(nonsending)
        package func queryEach(unsafeSQL: String) async throws -> [PostgresResult]
    {
        try await session.run(
            Operation(
                .simple(try Self.terminated(unsafeSQL.utf8)), timeout: session.configuration.queryTimeout))
    }

    @discardableResult
    nonisolated(nonsending)
        func execute(script: some Collection<UInt8>, timeout: Duration?, isShielded: Bool) async throws -> Int
    {
        let operation = Operation(
            .simple(try Self.terminated(script)), mode: .discard,
            timeout: timeout ?? session.configuration.queryTimeout)
        _ = try await session.run(operation, isShielded: isShielded)
        return session.withLock { operation.completedStatements }
    }

    private func last(_ results: [PostgresResult]) throws -> PostgresResult {
        guard let result = results.last else {
            throw PostgresError(.connectionLost, "the server ended a statement without a result")
        }
        return result
    }

    /// The bytes with the NUL that C wants at the end.
    static func terminated(_ bytes: some Collection<UInt8>) throws(PostgresError) -> [UInt8] {
        var terminated: [UInt8] = []
        terminated.reserveCapacity(bytes.count + 1)
        terminated.append(contentsOf: bytes)
        terminated.append(0)
        try refuseNUL(terminated)
        return terminated
    }

    /// The NUL at the end must be the only one.
    private static func refuseNUL(_ terminated: [UInt8]) throws(PostgresError) {
        guard let offset = terminated.firstIndex(of: 0), offset == terminated.count - 1 else {
            let offset = terminated.firstIndex(of: 0) ?? terminated.count
            throw PostgresError(
                .misuse, "the statement holds a NUL character at byte \(offset); the server would stop there")
        }
    }

    /// Runs a large script without another copy of it: as `execute(script:)`, for bytes that end in a NUL.
    ///
    /// - Throws: As `execute(script:)`; with `.misuse` when the NUL is missing or not the only one.
    @discardableResult
    nonisolated(nonsending)
        public func execute(terminatedScript: [UInt8], timeout: Duration? = nil) async throws -> Int
    {
        try Self.refuseNUL(terminatedScript)
        let operation = Operation(
            .simple(terminatedScript), mode: .discard, timeout: timeout ?? session.configuration.queryTimeout)
        _ = try await session.run(operation)
        return session.withLock { operation.completedStatements }
    }
}

extension Session {
    var transactionStatus: PostgresTransactionStatus {
        withLock {
            guard phase == .open else { return .closed }
            return switch unsafe PQtransactionStatus(pg) {
            case PQTRANS_IDLE: begin == nil ? .idle : .inTransaction
            case PQTRANS_ACTIVE: .active
            case PQTRANS_INTRANS: .inTransaction
            case PQTRANS_INERROR: .failed
            default: .closed
            }
        }
    }

    /// Ends a transaction that had no statement; false when there is none such.
    func dropBegin() -> Bool {
        withLock {
            defer { begin = nil }
            return begin != nil
        }
    }

    func serverParameter(_ name: String) -> String? {
        withLock { unsafe PQparameterStatus(pg, name).map { unsafe String(cString: $0) } }
    }

    var backendProcessID: Int { withLock { unsafe Int(PQbackendPID(pg)) } }

    /// Whether an idle connection is alive as far as this side can know without asking: its end has not arrived.
    func probe() -> Bool {
        withLock {
            guard phase == .open, current == nil else { return false }
            var byte: UInt8 = 0
            let count = unsafe recv(PQsocket(pg), &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
            if count < 0 { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR }
            lockedReceive()
            return phase == .open
        }
    }
}
