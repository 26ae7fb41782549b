/// What a transaction sees of others.
public enum PostgresIsolation: String, Sendable {
    /// As the server is set up.
    case serverDefault = ""
    /// Each statement sees what was committed before it.
    case readCommitted = " ISOLATION LEVEL READ COMMITTED"
    /// All statements see what was committed before the first.
    case repeatableRead = " ISOLATION LEVEL REPEATABLE READ"
    /// As if transactions ran one after the other; some are refused with a serialization failure.
    case serializable = " ISOLATION LEVEL SERIALIZABLE"
}

extension PostgresConnection {
    /// Runs `body` in a transaction: `COMMIT` when it returns, `ROLLBACK` when it throws or its task is cancelled.
    ///
    /// While it runs, no other task should use this connection: its statements would be part of the transaction.
    ///
    /// - Parameters:
    ///   - isolation: What the transaction sees of others.
    ///   - isReadOnly: Whether writing is refused.
    ///   - attempts: How often the whole body is run when the server reports a serialization failure or a deadlock
    ///     (SQLSTATE 40001, 40P01), or that a kept statement is outdated. With more than 1 the body must be fit to run again.
    /// - Throws: What `body` throws; `PostgresError` when the commit fails, with the code `.transactionRolledBack`
    ///   when a failed statement was passed over in silence.
    @discardableResult
    nonisolated(nonsending)
        public func withTransaction<Value>(
            isolation: PostgresIsolation = .serverDefault, isReadOnly: Bool = false, attempts: Int = 1,
            _ body: nonisolated(nonsending) (PostgresConnection) async throws -> Value
        ) async throws -> Value
    {
        var attempt = 1
        while true {
            do {
                return try await runTransaction(isolation: isolation, isReadOnly: isReadOnly, body)
            } catch let error as PostgresError where error.isRetryable && attempt < attempts {
                // Up to 2, 4, 8… ms, by chance, so that two transactions do not meet again in step.
                let pause = Duration.microseconds(Int64.random(in: 0...1_000 << min(attempt, 8)))
                attempt += 1
                try await Task.sleep(for: pause)
            }
        }
    }

    nonisolated(nonsending)
        private func runTransaction<Value>(
            isolation: PostgresIsolation, isReadOnly: Bool,
            _ body: nonisolated(nonsending) (PostgresConnection) async throws -> Value
        ) async throws -> Value
    {
        guard transactionStatus != .inTransaction, transactionStatus != .failed else {
            throw PostgresError(
                .misuse, "a transaction is open on this connection already; use SAVEPOINT inside it")
        }
        // It goes out with the first statement: a round trip less.
        session.withLock {
            session.begin = "BEGIN" + isolation.rawValue + (isReadOnly ? " READ ONLY" : "")
        }
        let value: Value
        do {
            value = try await body(self)
            try Task.checkCancellation()
        } catch {
            await rollBack()
            throw error
        }
        if session.dropBegin() { return value }
        do {
            // A cancelled COMMIT would leave open which way it went: it is carried out.
            let result = try await run("COMMIT", isShielded: true)
            guard result.commandTag != "ROLLBACK" else {
                throw PostgresError(
                    .transactionRolledBack,
                    "the transaction was rolled back, because a statement in it had failed before COMMIT")
            }
        } catch {
            await rollBack()
            throw error
        }
        return value
    }

    /// Rolls back even when the task is cancelled; a connection that cannot is closed, which does the same.
    nonisolated(nonsending)
        private func rollBack() async
    {
        guard !session.dropBegin(), transactionStatus != .idle, isOpen else { return }
        do {
            _ = try await run("ROLLBACK", timeout: .seconds(10), isShielded: true)
        } catch {
            close()
        }
    }
}
