/// An SQL statement with its parameters.
///
/// Written as a string literal; what is interpolated becomes a parameter (`$1`, `$2`, …) and never SQL text:
///
/// ```swift
/// let name = "O'Hara"
/// try await connection.query("SELECT id FROM users WHERE name = \(name)")
/// ```
///
/// A query without parameters, whose result is text, travels by the simple protocol and may hold several statements; the
/// result is then that of the last one.
public struct PostgresQuery: Sendable, Hashable {
    /// The text, with `$1`… where the parameters go.
    public var sql: String
    /// The parameters in their order.
    public var parameters: [PostgresParameter]
    /// How the server writes the values of the result.
    public var resultFormat = PostgresResultFormat.text

    /// A query whose text was put together by the program.
    ///
    /// - Parameters:
    ///   - sql: SQL. It goes to the server as it is: never let it hold what a user typed.
    ///   - parameters: The values of `$1`, `$2`, ….
    public init(unsafeSQL sql: String, parameters: [any PostgresEncodable] = []) {
        self.sql = sql
        self.parameters = parameters.map(\.postgresParameter)
    }
}

extension PostgresQuery: ExpressibleByStringInterpolation {
    /// A query without parameters.
    public init(stringLiteral value: String) { self.init(unsafeSQL: value) }

    /// A query whose interpolated values are parameters.
    public init(stringInterpolation: StringInterpolation) {
        sql = stringInterpolation.sql
        parameters = stringInterpolation.parameters
    }

    /// Collects the text and the parameters of a literal.
    public struct StringInterpolation: StringInterpolationProtocol {
        var sql = ""
        var parameters: [PostgresParameter] = []

        /// An empty literal.
        public init(literalCapacity: Int, interpolationCount: Int) {
            sql.reserveCapacity(literalCapacity + interpolationCount * 3)
        }

        /// Takes over SQL text.
        public mutating func appendLiteral(_ literal: String) { sql += literal }

        /// Takes over a value as the next parameter.
        public mutating func appendInterpolation(_ value: some PostgresEncodable) {
            parameters.append(value.postgresParameter)
            sql += "$\(parameters.count)"
        }

        /// Takes over a value, or NULL, as the next parameter.
        public mutating func appendInterpolation(_ value: (some PostgresEncodable)?) {
            parameters.append(value?.postgresParameter ?? .null)
            sql += "$\(parameters.count)"
        }

        /// Takes over a name of a table, column, channel… in double quotes.
        public mutating func appendInterpolation(identifier name: String) {
            sql += PostgresQuery.quotedIdentifier(name)
        }
    }

    /// The name in double quotes, as SQL wants identifiers that keep their case and may hold any character.
    public static func quotedIdentifier(_ name: String) -> String {
        var quoted = "\""
        for scalar in name.unicodeScalars {
            if scalar == "\"" { quoted += "\"" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }
}

/// The form of a result's values (PostgreSQL 15 documentation, 55.1.3): of all of its columns, as libpq asks for one.
public enum PostgresResultFormat: Int32, Sendable, Hashable {
    /// As `psql` shows them: what rows and cells read.
    case text = 0
    /// As the server's send functions write them, for `PostgresResult.forEachValue` alone: integers and times in big-endian
    /// order, text as it is. The server has less work with arrays and times.
    case binary = 1
}

/// A statement that the server has parsed and keeps under a name, for one connection.
public struct PostgresPreparedStatement: Sendable, Hashable {
    /// The name on the server.
    public let name: String
    /// Its text.
    public let sql: String
    /// The connection that it belongs to.
    let sessionID: UInt64
}

/// One statement of a pipeline.
public struct PostgresStatement: Sendable {
    enum Text: Sendable {
        case sql(String)
        case prepared(PostgresPreparedStatement)
    }

    let text: Text
    let parameters: [PostgresParameter]
    let resultFormat: PostgresResultFormat

    init(
        _ statement: PostgresPreparedStatement, _ parameters: [PostgresParameter],
        _ resultFormat: PostgresResultFormat
    ) {
        text = .prepared(statement)
        self.parameters = parameters
        self.resultFormat = resultFormat
    }

    /// A query as a statement of a pipeline; it holds one statement only.
    public init(_ query: PostgresQuery) {
        text = .sql(query.sql)
        parameters = query.parameters
        resultFormat = query.resultFormat
    }

    /// A prepared statement with its parameters.
    public init(_ statement: PostgresPreparedStatement, _ parameters: [any PostgresEncodable] = []) {
        text = .prepared(statement)
        self.parameters = parameters.map(\.postgresParameter)
        resultFormat = .text
    }
}

extension PostgresStatement: ExpressibleByStringInterpolation {
    /// A statement without parameters.
    public init(stringLiteral value: String) { self.init(PostgresQuery(stringLiteral: value)) }

    /// A statement whose interpolated values are parameters.
    public init(stringInterpolation: PostgresQuery.StringInterpolation) {
        self.init(PostgresQuery(stringInterpolation: stringInterpolation))
    }
}
