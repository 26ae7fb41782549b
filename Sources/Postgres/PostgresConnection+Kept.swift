/// What a statement that a connection keeps is found by.
struct KeptStatement: Hashable {
    let sql: String
    /// Of each parameter, as it says itself; 0 lets the server infer it.
    let types: [UInt32]
}

extension PostgresConnection {
    /// How many statements a connection keeps prepared for itself.
    public static let keptStatementLimit = 256

    /// Runs a statement that is prepared at its first use on this connection and kept: the server parses and plans it
    /// once. For statements whose text does not vary; with the text of each value in it, the limit would soon be used up,
    /// and further ones run as `query` runs them.
    ///
    /// - Throws: As `query(_:timeout:)`.
    @discardableResult
    nonisolated(nonsending)
        public func queryKept(_ query: PostgresQuery, timeout: Duration? = nil) async throws -> PostgresResult
    {
        let key = KeptStatement(sql: query.sql, types: query.parameters.map(\.typeOID))
        let (known, isFull) = session.withLock {
            (session.kept[key], session.kept.count >= Self.keptStatementLimit)
        }
        if known == nil, isFull { return try await self.query(query, timeout: timeout) }
        let statement: PostgresPreparedStatement
        if let known {
            statement = known
        } else {
            statement = try await prepare(query.sql, types: key.types)
            session.withLock { session.kept[key] = statement }
        }
        do {
            return try await self.query(statement, query.parameters, timeout: timeout)
        } catch let error as PostgresError where error.sqlState == "0A000" || error.sqlState == "26000" {
            // The tables have changed under it, or somebody has dropped it: the next use prepares it anew.
            session.withLock { session.kept[key] = nil }
            throw error
        }
    }

    nonisolated(nonsending)
        private func query(
            _ statement: PostgresPreparedStatement, _ parameters: [PostgresParameter], timeout: Duration?
        ) async throws -> PostgresResult
    {
        let results = try await pipelineOfOne(PostgresStatement(statement, parameters), timeout: timeout)
        guard let result = results.last else {
            throw PostgresError(.connectionLost, "the server ended a statement without a result")
        }
        return result
    }
}
