import CLibPQ
import Logging

/// How to reach a server, and what a connection does on its own.
///
/// Whatever libpq takes can be said (PostgreSQL 15 documentation, 34.1.2): TLS, certificates, keepalives, several
/// hosts. What is not said comes from the `PG…` environment variables and from `~/.pgpass`, as in psql.
public struct PostgresConfiguration: Sendable {
    /// Parameters of libpq by keyword: `host`, `port`, `dbname`, `user`, `password`, `sslmode`, ….
    public var parameters: [String: String]
    /// How long opening a connection may take, name look-up included; `nil` for no limit.
    public var connectTimeout: Duration? = .seconds(10)
    /// How long a statement may take before it is cancelled; `nil` for no limit.
    public var queryTimeout: Duration?
    /// Takes the server's notices; without it they go to `logger`. Called on a thread of the library: it must
    /// not block.
    public var onNotice: (@Sendable (PostgresServerError) -> Void)?
    /// Where notices and lost connections are written.
    public var logger: Logger?

    /// For a program whose thread is its own: what opening reads from files is read on the thread that asks. Names are
    /// looked up elsewhere all the same.
    package var startsOnCallersThread = false

    /// A configuration from libpq's parameters.
    public init(parameters: [String: String]) { self.parameters = parameters }

    /// The usual five.
    ///
    /// - Parameters:
    ///   - host: A name, an address, or the directory of a socket (it begins with `/`).
    ///   - port: The port.
    ///   - database: The name of the database.
    ///   - user: The role.
    ///   - password: Its password; `nil` leaves it to `~/.pgpass` and the server's rules.
    public init(
        host: String, port: Int = 5432, database: String, user: String, password: String? = nil
    ) {
        parameters = ["host": host, "port": String(port), "dbname": database, "user": user]
        parameters["password"] = password
    }

    /// Reads a connection string of libpq: `postgres://user:password@host:5432/database?sslmode=require` or
    /// `host=… dbname=…`.
    ///
    /// - Throws: `PostgresError` with the code `.invalidConfiguration`; it says what is wrong, without the string.
    public init(connectionString: String) throws(PostgresError) {
        var failure: UnsafeMutablePointer<CChar>?
        let options = unsafe PQconninfoParse(connectionString, &failure)
        guard let options = unsafe options else {
            unsafe PQfreemem(failure)
            // libpq's message may quote the string, and with it the password.
            throw PostgresError(
                .invalidConfiguration,
                "the connection string is not one: write postgres://user:password@host:port/database "
                    + "(special characters percent-encoded), or host=… dbname=… user=…")
        }
        defer { unsafe PQconninfoFree(options) }
        parameters = [:]
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            if let value = unsafe option.pointee.val {
                unsafe parameters[String(cString: keyword)] = unsafe String(cString: value)
            }
            unsafe option += 1
        }
    }

    /// Lets both sides notice, within 25 s, that the other one's machine or network is gone: without that a server keeps
    /// the session of a lost node, and the advisory locks that it holds, for hours.
    ///
    /// Sockets that are idle are probed after 10 s, three times; what was sent must be acknowledged in 25 s. It adds to
    /// `options`, and does nothing to connections over a Unix socket.
    ///
    /// Source: PostgreSQL 15 documentation, 34.1.2 (`keepalives_idle`, `tcp_user_timeout`) and 20.3.1.
    public mutating func noticeLostPeers() {
        let (idle, interval, count, timeout) = (10, 5, 3, 25_000)
        parameters["keepalives"] = "1"
        parameters["keepalives_idle"] = "\(idle)"
        parameters["keepalives_interval"] = "\(interval)"
        parameters["keepalives_count"] = "\(count)"
        parameters["tcp_user_timeout"] = "\(timeout)"
        let server = [
            "tcp_keepalives_idle=\(idle)", "tcp_keepalives_interval=\(interval)",
            "tcp_keepalives_count=\(count)",
            "tcp_user_timeout=\(timeout)",
        ].map { "-c \($0)" }
        parameters["options"] = ([parameters["options"]].compactMap { $0 } + server).joined(separator: " ")
    }

    /// The keywords that this libpq knows.
    public static let knownKeywords: Set<String> = {
        guard let options = unsafe PQconndefaults() else { return [] }
        defer { unsafe PQconninfoFree(options) }
        var keywords: Set<String> = []
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            keywords.insert(unsafe String(cString: keyword))
            unsafe option += 1
        }
        return keywords
    }()
}

extension PostgresConfiguration: CustomStringConvertible {
    /// User, host, port and database; never the password.
    public var description: String {
        let part = { (key: String) in parameters[key] ?? "" }
        return "postgres://\(part("user"))@\(part("host")):\(part("port"))/\(part("dbname"))"
    }
}

extension PostgresConfiguration: CustomReflectable {
    /// Hides the parameters from `dump`.
    public var customMirror: Mirror { Mirror(self, children: ["address": description]) }
}
