import Postgres

/// Why a command of `migrate` ended without doing what it should.
///
/// `message` is golang-migrate's text to the byte (`specs/migrate.md`), because scripts match it. What helps beyond
/// that is in `hints`.
public struct MigrationError: Error, Sendable {
    /// What kind of failure it was; programs decide by it.
    public enum Code: Sendable, Hashable {
        /// The directory of migrations cannot be used, or a file in it cannot be read.
        case source
        /// The database URL is wrong.
        case databaseURL
        /// The database cannot be reached or refuses the session.
        case connection
        /// Another run holds the lock, and the time to wait for it passed.
        case lockTimeout
        /// The migrations table says that a migration began and did not end; the version.
        case dirty(Int64)
        /// The version is not among the files; the version.
        case notFound(Int64)
        /// There is no migration to apply or to undo.
        case nothingThere
        /// The last `n` of the steps asked for do not exist.
        case shortLimit(Int)
        /// The server refused a migration, or the connection was lost in it; the database is dirty unless the run
        /// was transactional.
        case migrationFailed
        /// A statement of the bookkeeping failed.
        case bookkeeping
        /// The files are not those that were applied.
        case verification
        /// A command cannot be carried out in this state.
        case refused
    }

    /// The kind of failure.
    public var code: Code
    /// The text without the prefix `error: `. Bytes, because it holds the migration's text as it is.
    public var messageBytes: [UInt8]
    /// Lines that help the person who must act.
    public var hints: [String]
    /// What the connection reported, where it did.
    public var cause: PostgresError?

    init(_ code: Code, _ message: String, hints: [String] = [], cause: PostgresError? = nil) {
        self.code = code
        self.cause = cause
        messageBytes = Array(message.utf8)
        self.hints = hints
    }

    init(_ code: Code, bytes: [UInt8], hints: [String] = [], cause: PostgresError? = nil) {
        self.code = code
        self.cause = cause
        messageBytes = bytes
        self.hints = hints
    }

    /// The text without the prefix `error: `.
    public var message: String { String(decoding: messageBytes, as: UTF8.self) }

    mutating func append(line: String) { messageBytes += Array("\n\(line)".utf8) }
}

extension MigrationError: CustomStringConvertible {
    /// The text without the prefix `error: `.
    public var description: String { message }
}

extension MigrationError {
    static func notFound(_ version: Int64) -> MigrationError {
        MigrationError(
            .notFound(version),
            "no migration found for version \(version): read down for version \(version) .: file does not exist",
            hints: [
                "The database is at a version that these files do not have: an older image than the one that migrated it?"
            ])
    }

    static func dirty(_ version: Int64) -> MigrationError {
        MigrationError(
            .dirty(version), "Dirty database version \(version). Fix and force version.",
            hints: [
                "A migration to version \(version) began and did not end. `migrate … repair` says what can have happened;",
                "`repair -retry` goes back to the version before it, `repair -applied` takes it for done.",
            ])
    }
}
