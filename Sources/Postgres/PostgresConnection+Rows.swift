/// The rows of a query as they arrive: an asynchronous sequence to be gone over once.
///
/// Memory is bounded: some hundred rows are held, then the socket is not read until the consumer took them.
public struct PostgresRows: AsyncSequence, Sendable {
    /// A row at a time.
    public typealias Element = PostgresRow

    let session: Session
    let operation: Operation

    /// Begins to go over the rows.
    public func makeAsyncIterator() -> Iterator { Iterator(session: session, operation: operation) }

    /// Goes over the rows.
    public struct Iterator: AsyncIteratorProtocol {
        let session: Session
        let operation: Operation
        private var batch: ArraySlice<PostgresRow> = []

        init(session: Session, operation: Operation) {
            self.session = session
            self.operation = operation
        }

        /// The next row, `nil` after the last.
        ///
        /// - Throws: `PostgresError`, or `CancellationError` after the query was cancelled on the server.
        public mutating func next() async throws -> PostgresRow? {
            if let row = batch.popFirst() { return row }
            guard let rows = try await session.nextRows(operation) else { return nil }
            batch = rows[...]
            return batch.popFirst()
        }
    }
}

extension PostgresConnection {
    /// Runs a query and hands its rows over as they arrive; for results that do not fit into memory.
    ///
    /// ```swift
    /// try await connection.withRows(of: "SELECT payload FROM events") { rows in
    ///     for try await row in rows { try consume(row.decode(0, as: [UInt8].self)) }
    /// }
    /// ```
    ///
    /// A body that returns or throws before the last row cancels the query on the server.
    ///
    /// - Throws: What `body` throws.
    nonisolated(nonsending)
        public func withRows<Value>(
            of query: PostgresQuery, timeout: Duration? = nil,
            _ body: nonisolated(nonsending) (PostgresRows) async throws -> Value
        ) async throws -> Value
    {
        // The extended protocol also without parameters: one statement, so one sequence of rows.
        let operation = Operation(
            .statement(PostgresStatement(query)), mode: .stream,
            timeout: timeout ?? session.configuration.queryTimeout)
        session.submit(operation)
        do {
            let value = try await body(PostgresRows(session: session, operation: operation))
            await drain(operation)
            return value
        } catch {
            await drain(operation)
            throw error
        }
    }

    nonisolated(nonsending)
        private func drain(_ operation: Operation) async
    {
        session.cancel(operation, .abandoned)
        do {
            while try await session.nextRows(operation, isShielded: true) != nil {}
        } catch {
            // The end of an abandoned query is its cancellation; a lost connection shows at the next statement.
        }
    }
}
