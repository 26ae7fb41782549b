// Statements by themselves. They need no connection to themselves either: when all are in use, or enough of them are under
// way with others (`Gathering`), those that wait travel together on the next one that is free.
extension PostgresPool {
    /// How many statements travel together at most.
    static let convoyLimit = 16

    /// Runs one statement, which is prepared at its first use on a connection and kept there; see
    /// `PostgresConnection.queryKept`.
    ///
    /// Where no connection is free, or enough of them are under way, statements of several callers share one. An error of one
    /// does not touch the others: each is a transaction of its own, or those of several are one that only reads, and what
    /// that cannot carry is sent again by itself (docs/decisions/0032). One that takes long delays those behind it while their
    /// time runs, and they fail with it when the connection is lost, or closed because the server does not end what it was
    /// asked to cancel.
    ///
    /// This is for reads. One must not call what has an effect that a transaction allows which only reads (`pg_notify`, large
    /// objects, a function that calls another server): the error of another one could undo it after its caller has its answer,
    /// or have it done twice. Only statements that begin with `SELECT`, `WITH`, `VALUES` or `TABLE` share a transaction.
    /// A caller may be told that it was cancelled or out of time though the server carries its statement
    /// out, and a statement that is hit by the cancellation of another one is sent again. It must need nothing of its
    /// connection: no settings, locks or temporary tables of the session, no control of transactions.
    ///
    /// - Throws: As `query(_:timeout:)`.
    @discardableResult
    nonisolated(nonsending)
        public func queryKept(_ query: PostgresQuery, timeout: Duration? = nil) async throws -> PostgresResult
    {
        let operation = Operation(
            try ConvoyMember(query), timeout: timeout ?? configuration.queryTimeout)
        let id = makeID()
        var timer: UInt64?
        defer { if let timer { Poller.shared.callOff(timer) } }
        let outcome = await withTaskCancellationHandler {
            await withContinuation { continuation in
                operation.memberContinuation = continuation
                if submit(operation, id) { timer = limitWait(of: id) }
            }
        } onCancel: {
            cancel(operation, id)
        }
        guard let results = try outcome?.get() else {
            // There is no connection, but leave to open one.
            return try await withPermit { try await $0.queryKept(query, timeout: timeout) }
        }
        guard let result = results.last else {
            throw PostgresError(.connectionLost, "the server ended a statement without a result")
        }
        return result
    }

    /// Sends a statement on a connection that is free; true when it has to wait for one.
    private func submit(_ operation: Operation, _ id: UInt64) -> Bool {
        enum Course {
            case refused(any Error)
            case waiting
            /// Waiting, and a connection is free.
            case gathering
            case opening
            case sent(Idle, at: UInt64)
        }
        let course: Course = state.withLock { state in
            if let refusal = refusal(state) { return .refused(refusal) }
            let now = MonotonicClock.now
            let isFull = state.lent >= options.maximumConnections
            if isFull || state.gathering.shouldWait(behind: state.waiters.count, at: now) {
                state.waiters.append(Waiter(id: id, wish: .statement(operation)))
                return isFull || state.gathering.isWatched ? .waiting : .gathering
            }
            state.lent += 1
            guard let last = takeFresh(&state) else { return .opening }
            state.gathering.begin(at: now)
            operation.carrier = last.connection.session
            return .sent(last, at: now)
        }
        switch course {
        case .refused(let error): operation.memberContinuation?.resume(returning: .failure(error))
        case .waiting: return true
        case .gathering:
            watchLine()
            return true
        case .opening: operation.memberContinuation?.resume(returning: nil)
        case .sent(let entry, let begun):
            if entry.connection.session.probe() {
                carry([operation], on: entry, begun: begun)
            } else {
                entry.connection.close()
                state.withLock { $0.gathering.takeBack(begun: begun) }
                // One that was cancelled has no more use for the leave.
                if !entry.connection.session.decline(operation) { giveBack(nil) }
            }
        }
        return false
    }

    /// A connection that is free. One that was not used for long is asked for a sign of life first, which a caller does.
    func takeFresh(_ state: inout State) -> Idle? {
        guard let last = state.idle.last,
            MonotonicClock.now <= last.since &+ Self.nanoseconds(options.checkAfter)
        else { return nil }
        return state.idle.removeLast()
    }

    /// The first statement in the line, and those behind it that travel with it on a connection.
    func takeStatements(_ state: inout State, for entry: Idle, at now: UInt64) -> [Operation] {
        var operations: [Operation] = []
        state.gathering.begin(at: now)
        state.waiters.removeAll { waiter in
            guard case .statement(let operation) = waiter.wish, operations.count < Self.convoyLimit else {
                return false
            }
            operation.carrier = entry.connection.session
            operations.append(operation)
            return true
        }
        return operations
    }

    func carry(_ operations: [Operation], on entry: Idle, begun: UInt64) {
        let count = operations.count
        entry.connection.session.carry(operations) { [self] in
            state.withLock { $0.gathering.end(of: count, begun: begun, at: MonotonicClock.now) }
            // A statement that began a transaction has left it open.
            if entry.connection.transactionStatus != .idle { entry.connection.close() }
            keep(entry.connection, entry.opened)
        }
    }

    private func cancel(_ operation: Operation, _ id: UInt64) {
        giveUp(id, isTimeout: false)
        if let session = state.withLock({ _ in operation.carrier }) { session.cancel(operation, .task) }
    }
}
