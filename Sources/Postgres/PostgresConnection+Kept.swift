/// What a statement that a connection keeps is found by.
struct KeptStatement: Hashable {
    let sql: String
    /// Of each parameter, as it says itself; 0 lets the server infer it.
    let types: [UInt32]

    static func == (one: KeptStatement, other: KeptStatement) -> Bool {
        one.types == other.types && one.sql.hasSameBytes(as: other.sql)
    }

    /// By its length: few statements of a program have the same, and the text of one is long to hash for each use.
    func hash(into hasher: inout Hasher) {
        hasher.combine(sql.utf8.count)
        hasher.combine(types.count)
    }
}

extension PostgresConnection {
    /// How many statements a connection keeps prepared for itself.
    public static let keptStatementLimit = 256

    /// Runs a statement that is prepared at its first use on this connection and kept: the server parses and plans it
    /// once. For statements whose text does not vary; with the text of each value in it, the limit would soon be used up,
    /// and further ones run as `query` runs them.
    ///
    /// When tables have changed under the statements that are kept, all of them are prepared anew: outside of a transaction
    /// at once; in one, which the server has given up by then, when it is run again (`withTransaction`, `attempts`).
    ///
    /// - Throws: As `query(_:timeout:)`; `.statementOutdated` in a transaction.
    @discardableResult
    nonisolated(nonsending)
        public func queryKept(_ query: PostgresQuery, timeout: Duration? = nil) async throws -> PostgresResult
    {
        do {
            return try await queryKeptOnce(query, timeout: timeout)
        } catch let error as PostgresError where error.code == .statementOutdated {
            // The others are as old as this one. The server keeps its side of them until the connection ends.
            session.withLock { session.kept.removeAll() }
            guard transactionStatus == .idle else { throw error }
            return try await queryKeptOnce(query, timeout: timeout)
        }
    }

    nonisolated(nonsending)
        private func queryKeptOnce(_ query: PostgresQuery, timeout: Duration?) async throws -> PostgresResult
    {
        let key = KeptStatement(sql: query.sql, types: query.parameters.map(\.typeOID))
        let (known, isFull) = session.withLock {
            (session.kept[key], session.kept.count >= Self.keptStatementLimit)
        }
        if known == nil, isFull { return try await self.query(query, timeout: timeout) }
        guard let known else {
            let statement = try await prepare(query.sql, types: key.types)
            session.withLock { session.kept[key] = statement }
            return try await run(statement, for: query, timeout: timeout)
        }
        do {
            return try await run(known, for: query, timeout: timeout)
        } catch var error as PostgresError where error.isOfOutdatedStatement {
            error.code = .statementOutdated
            throw error
        }
    }

    nonisolated(nonsending)
        private func run(
            _ statement: PostgresPreparedStatement, for query: PostgresQuery, timeout: Duration?
        ) async throws -> PostgresResult
    {
        let results = try await pipelineOfOne(
            PostgresStatement(statement, query.parameters, query.resultFormat), timeout: timeout)
        guard let result = results.last else {
            throw PostgresError(.connectionLost, "the server ended a statement without a result")
        }
        return result
    }
}
