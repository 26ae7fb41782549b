/// SQL text that stands in the program and goes into several queries: a list of columns, an expression.
///
/// ```swift
/// static let columns: PostgresFragment = "user_id, email, created_at"
/// try await connection.query("SELECT \(sql: columns) FROM users WHERE user_id = \(id)")
/// ```
///
/// It is made of literals, so no value that a user typed can get into it by mistake.
public struct PostgresFragment: Sendable, Hashable, ExpressibleByStringLiteral {
    /// The text.
    public let sql: String

    /// A text that stands in the program.
    public init(stringLiteral value: StaticString) { sql = value.description }

    /// A text that the program has put together: never let it hold what a user typed.
    public init(unsafeSQL sql: String) { self.sql = sql }
}

extension PostgresQuery.StringInterpolation {
    /// Takes over SQL text as it is.
    public mutating func appendInterpolation(sql fragment: PostgresFragment) { sql += fragment.sql }
}
