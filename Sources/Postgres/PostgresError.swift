/// What went wrong between this process and PostgreSQL.
///
/// `description` is one line for the person who must act. No field ever holds a password.
public struct PostgresError: Error, Sendable {
    /// What kind of failure it was; programs decide by it.
    public enum Code: Sendable, Hashable {
        /// The server refused a statement; `server` has its report.
        case server
        /// A connection could not be opened; `reason` says which way.
        case connectionFailed(ConnectionFailure)
        /// An open connection ended, or was closed, while it was in use. Whether the statement under way was
        /// carried out is unknown.
        case connectionLost
        /// The statement did not end within its time and was cancelled on the server.
        case timedOut
        /// A statement that the connection keeps prepared is no longer valid, because tables have changed; the next use
        /// prepares it anew.
        case statementOutdated
        /// No connection of the pool became free in time, or too many callers wait already.
        case poolExhausted
        /// The pool was shut down.
        case poolClosed
        /// A value of a result is not what the caller asked for.
        case decoding
        /// A connection string or option is wrong.
        case invalidConfiguration
        /// The library was used in a way that it does not allow.
        case misuse
        /// A COPY to or from the client, which this library does not carry.
        case copyNotSupported(CopyDirection)
        /// `COMMIT` ended in a rollback, because a statement of the transaction had failed before.
        case transactionRolledBack
        /// Notifications arrived faster than they were taken, and some are lost.
        case notificationsLost
    }

    /// Why a connection could not be opened.
    public enum ConnectionFailure: Sendable, Hashable {
        /// Nobody listens at the address.
        case refused
        /// The name has no address.
        case hostNotFound
        /// It took longer than the connect timeout.
        case timedOut
        /// The server answered and refused; `server` has its report.
        case refusedByServer
        /// TLS was asked for and the server has none.
        case tlsNotSupported
        /// Anything else; the message has libpq's words.
        case other
    }

    /// Which way a COPY would have gone.
    public enum CopyDirection: Sendable, Hashable {
        /// `COPY … FROM STDIN`.
        case fromClient
        /// `COPY … TO STDOUT`.
        case toClient
    }

    /// The kind of failure.
    public var code: Code
    /// One line that says what was wrong.
    public var message: String
    /// The server's own report, when it made one.
    public var server: PostgresServerError?
    /// In a script or a pipeline: how many statements were done before the one that failed.
    public var completedStatements: Int

    /// An error.
    public init(
        _ code: Code, _ message: String, server: PostgresServerError? = nil, completedStatements: Int = 0
    ) {
        self.code = code
        self.message = message
        self.server = server
        self.completedStatements = completedStatements
    }

    /// The SQLSTATE of the server's report, for instance `23505`.
    public var sqlState: String? { server?.sqlState }

    /// Whether running the whole transaction again may succeed: a serialization failure, a deadlock, or a kept statement
    /// that is no longer valid.
    public var isRetryable: Bool {
        sqlState == "40001" || sqlState == "40P01" || code == .statementOutdated
    }

    /// A prepared statement no longer fits: the type of its rows has changed ("cached plan must not change result type",
    /// which shares its SQLSTATE with whatever else the server cannot do), or somebody has dropped it.
    var isOfOutdatedStatement: Bool {
        sqlState == "26000" || sqlState == "0A000" && server?.routine == "RevalidateCachedQuery"
    }
}

extension PostgresError: CustomStringConvertible {
    /// The message, and of the server's report the SQLSTATE, detail and hint.
    public var description: String {
        guard let server else { return message }
        var text = "\(message) (SQLSTATE \(server.sqlState))"
        if let detail = server.detail { text += "; \(detail)" }
        if let hint = server.hint { text += "; hint: \(hint)" }
        return text
    }
}

/// The report of an error or a notice by the server.
///
/// Source: PostgreSQL 15 documentation, 55.8 "Error and Notice Message Fields".
public struct PostgresServerError: Sendable, Hashable {
    /// `ERROR`, `FATAL`, `WARNING`, `NOTICE`… in English, whatever the server's language.
    public var severity: String
    /// Five letters and digits, for instance `23505`.
    public var sqlState: String
    /// The primary message.
    public var message: String
    /// What else is known, for instance the key that is there twice.
    public var detail: String?
    /// What could be done.
    public var hint: String?
    /// Where in the statement, in characters from 1.
    public var position: Int?
    /// The call stack of functions, a line each.
    public var context: String?
    /// The schema of the object concerned.
    public var schema: String?
    /// The table concerned.
    public var table: String?
    /// The column concerned.
    public var column: String?
    /// The data type concerned.
    public var dataType: String?
    /// The constraint that was broken.
    public var constraint: String?
    /// The function of the server's source that made the report.
    public var routine: String?

    /// A report with its two mandatory parts.
    public init(severity: String, sqlState: String, message: String) {
        self.severity = severity
        self.sqlState = sqlState
        self.message = message
    }
}
