/// Statements of several callers on their way together over one connection: sent at once, answered one after the other.
/// An error of one does not touch the others: each is a transaction of its own, or all are one that only reads, and what
/// that cannot carry is sent once more, by itself (`Session+SharedTransactions.swift`).
// @unchecked: every variable is guarded by the lock of the session that carries it.
final class Convoy: @unchecked Sendable {
    /// Those that the server has not answered to their ends. It is at the first one.
    var members: [Operation]
    /// Those that have to be sent once more: a request to cancel another one has hit them, or their statement is outdated.
    var again: [Operation] = []
    /// Statements whose preparation in this convoy has failed.
    var unprepared: Set<KeptStatement> = []
    /// The server was asked to cancel a member.
    var isCancelled = false
    /// Whether they may be one transaction, which only reads: not what is sent once more.
    let mayShareTransaction: Bool
    /// They are; known when they are written.
    var isOneTransaction = false
    /// Of one transaction: what opens it and is not answered yet.
    var openingsLeft = 0
    /// Of one transaction: an error has ended it, and those that are left have done nothing.
    var isBroken = false
    /// The SQLSTATE of that error.
    var breakingState: String?
    /// Called without the session's lock when the connection is free again or closed.
    let ended: @Sendable () -> Void

    init(
        _ members: [Operation], mayShareTransaction: Bool = false, ended: @escaping @Sendable () -> Void
    ) {
        self.members = members
        self.mayShareTransaction = mayShareTransaction
        self.ended = ended
    }
}

/// A statement of a convoy, and where it stands.
struct ConvoyMember {
    /// The statement, which its connection keeps prepared.
    let statement: KeptStatement
    /// Its parameters.
    let block: ParameterBlock
    /// The form of its result.
    let resultFormat: PostgresResultFormat
    /// Its first word is that of a read. What others do (`CALL`, `COMMIT`, `LISTEN`, `ANALYZE`) may be allowed in a
    /// transaction that only reads, and would be undone with it after their callers have their answers.
    let isRead: Bool
    /// It was sent once more already, as it was outdated.
    var isSecondAttempt = false
    /// Its own preparation goes before it, and is not answered yet.
    var isBeingPrepared = false

    /// - Throws: `PostgresError` with the code `.misuse` for what cannot be sent.
    init(_ query: PostgresQuery) throws(PostgresError) {
        try refuseNUL(query.sql)
        isRead = Self.isRead(query.sql)
        resultFormat = query.resultFormat
        statement = KeptStatement(sql: query.sql, types: query.parameters.map(\.typeOID))
        var block = ParameterBlock()
        _ = try block.append(query.parameters)
        self.block = block
    }

    private static func isRead(_ sql: String) -> Bool {
        let word = sql.utf8.drop { $0 == 0x20 || 0x09...0x0d ~= $0 }.prefix { 0x41...0x5a ~= $0 & 0xdf }
        return readWords.contains { word.elementsEqual($0.utf8) { $0 & 0xdf == $1 } }
    }

    private static let readWords: [String] = ["SELECT", "WITH", "VALUES", "TABLE"]
}
