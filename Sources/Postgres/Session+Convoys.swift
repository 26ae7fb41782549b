import CLibPQ
import Glibc

// Statements of several callers that travel together (`Convoy`), in libpq's pipeline mode: each ends in a synchronisation
// point of its own, so each is a transaction of its own, unless they share one (`Session+SharedTransactions.swift`).
extension Session {
    /// Sends the statements of several callers, who wait in their continuations.
    ///
    /// - Parameter ended: Called without the lock when all are answered; the connection is free then, or closed.
    func carry(_ members: [Operation], ended: @escaping @Sendable () -> Void) {
        withLock {
            // Some may have been cancelled meanwhile.
            let left = members.filter { !$0.isComplete }
            let convoy = Convoy(left, mayShareTransaction: true, ended: ended)
            if convoy.members.isEmpty { return resumptions.append(.convoyEnded(convoy)) }
            _ = lockedSubmit(Operation(.convoy(convoy), answersSoon: false))
        }
    }

    /// Sends a statement back to its caller as one that was not sent; false when it was cancelled meanwhile.
    func decline(_ operation: Operation) -> Bool {
        withLock {
            guard let continuation = operation.memberContinuation else { return false }
            operation.memberContinuation = nil
            resumptions.append(.member(nil, continuation))
            return true
        }
    }

    func lockedWrite(_ convoy: Convoy) throws(PostgresError) {
        // Not before: one that had to wait may find that the connection has dropped its statements meanwhile.
        convoy.isOneTransaction = convoy.mayShareTransaction && lockedMayShare(convoy.members)
        if convoy.isOneTransaction { return try lockedWriteTransaction(convoy) }
        guard unsafe PQenterPipelineMode(pg) == 1 else { throw lockedSendError() }
        // libpq sends at each synchronisation point; so the system waits for the last one.
        let isHeld = convoy.members.count > 1
        if isHeld { hold(true) }
        defer { if isHeld { hold(false) } }
        for member in convoy.members {
            guard lockedWriteMember(member) == 1, unsafe PQpipelineSync(pg) == 1 else {
                throw lockedSendError()
            }
            lockedLimitTime(of: member)
        }
    }

    func lockedWriteMember(_ operation: Operation) -> Int32 {
        guard let member = operation.member else { preconditionFailure("a convoy has members only") }
        let statement = member.statement
        var name = kept[statement]?.name
        if name == nil, kept.count < PostgresConnection.keptStatementLimit {
            let new = lockedMakeStatementName()
            let isSent = unsafe statement.types.withUnsafeBufferPointer { types in
                unsafe PQsendPrepare(pg, new, statement.sql, Int32(types.count), types.baseAddress)
            }
            guard isSent == 1 else { return isSent }
            kept[statement] = PostgresPreparedStatement(name: new, sql: statement.sql, sessionID: id)
            operation.member?.isBeingPrepared = true
            name = new
        }
        return unsafe member.block.forEach([0..<statement.types.count]) { _, arrays in
            if let name {
                unsafe PQsendQueryPrepared(
                    pg, name, arrays.count, arrays.values, arrays.lengths, arrays.formats,
                    member.resultFormat.rawValue)
            } else {
                unsafe PQsendQueryParams(
                    pg, statement.sql, arrays.count, arrays.types, arrays.values, arrays.lengths,
                    arrays.formats, member.resultFormat.rawValue)
            }
        }
    }

    /// Lets the system gather what is sent, or sends it; a socket that cannot, because it is none of TCP, sends each by
    /// itself.
    private func hold(_ isHeld: Bool) {
        var value: Int32 = isHeld ? 1 : 0
        _ = unsafe setsockopt(
            PQsocket(pg), Int32(IPPROTO_TCP), TCP_CORK, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    func lockedMakeStatementName() -> String {
        lastListener += 1
        return "s\(lastListener)"
    }

    // MARK: Answers

    func lockedTake(_ result: ResultStorage, _ operation: Operation, _ convoy: Convoy) {
        if convoy.isOneTransaction { return lockedTakeOfTransaction(result, operation, convoy) }
        guard let member = convoy.members.first else { preconditionFailure("no answer without a statement") }
        switch unsafe PQresultStatus(result.pointer) {
        case PGRES_COMMAND_OK where member.member?.isBeingPrepared == true:
            member.member?.isBeingPrepared = false
        case PGRES_PIPELINE_SYNC:
            convoy.members.removeFirst()
            lockedEndMember(member, convoy)
            if let next = convoy.members.first {
                // Nobody waits for it any more.
                if next.isComplete { lockedCancel(next, of: convoy) }
            } else {
                unsafe PQexitPipelineMode(pg)
                // A request to cancel one of them that does not return must not hold up the next statement for ever.
                if cancelsInFlight > 0 { lockedBeginGrace(operation) }
                lockedEnd(operation)
            }
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH: lockedRefuseCopy(result, member)
        default: lockedTakeOwn(result, member)
        }
    }

    /// What follows a COPY in the pipeline is lost, its synchronisation points too.
    func lockedRefuseCopy(_ result: ResultStorage, _ member: Operation) {
        let isFromClient = unsafe PQresultStatus(result.pointer) == PGRES_COPY_IN
        member.failure = copyRefusal(isFromClient ? .fromClient : .toClient, member)
        lockedClose(
            PostgresError(.connectionLost, "another statement was a COPY, which ended the connection"))
    }

    private func lockedEndMember(_ operation: Operation, _ convoy: Convoy) {
        lockedEndGrace()
        guard let member = operation.member else { return }
        if member.isBeingPrepared {
            // It was not. Those behind it that count on it have done nothing.
            kept[member.statement] = nil
            convoy.unprepared.insert(member.statement)
        }
        guard !operation.isComplete else { return }
        if let failure = operation.failure {
            let isHitByMistake =
                convoy.isCancelled && operation.cancelReason == nil && failure.sqlState == "57014"
            let isUnprepared =
                failure.sqlState == "26000" && convoy.unprepared.contains(member.statement)
                && !member.isBeingPrepared && operation.cancelReason == nil
            let isOutdated = !isUnprepared && failure.isOfOutdatedStatement
            if isOutdated {
                // The others are as old as this one. The server keeps its side of them until the connection ends.
                kept.removeAll()
                operation.failure?.code = .statementOutdated
            }
            if isHitByMistake || isUnprepared
                || isOutdated && !member.isSecondAttempt && operation.cancelReason == nil
            {
                operation.member?.isSecondAttempt = isOutdated || member.isSecondAttempt
                operation.member?.isBeingPrepared = false
                operation.failure = nil
                operation.results = []
                if let timer = operation.timer { poller.callOff(timer) }
                return convoy.again.append(operation)
            }
        }
        lockedComplete(operation)
    }

    /// Sends those that need it once more, before the connection is given to others; false when there are none.
    func lockedSendAgain(_ convoy: Convoy) -> Bool {
        let again = convoy.again.filter { !$0.isComplete }
        if again.isEmpty || phase != .open { return false }
        current = nil
        queue.insert(Operation(.convoy(Convoy(again, ended: convoy.ended)), answersSoon: false), at: 0)
        lockedSendNext()
        return true
    }

    /// Tells the members that are left how it ended, and whoever gave the convoy to the session.
    func lockedComplete(_ operation: Operation, _ convoy: Convoy) {
        operation.hasEnded = true
        operation.isComplete = true
        for member in convoy.members + convoy.again {
            if member.failure == nil { member.failure = operation.failure ?? closeReason }
            lockedComplete(member)
        }
        (convoy.members, convoy.again) = ([], [])
        // Before the members that ended with it go on: who has its answer may rely on the connection being given back, and the
        // server gets its next statements at once.
        resumptions.insert(.convoyEnded(convoy), at: 0)
    }

    // MARK: Cancelling

    /// Ends one member early. The one that the server is at is cancelled there; for the others their callers wait no longer,
    /// and what the server says to them is dropped.
    func lockedCancelMember(_ operation: Operation) {
        if let convoy = current?.convoy, !convoy.isOneTransaction, convoy.members.first === operation {
            if !operation.isComplete { lockedCancel(operation, of: convoy) }
        } else if !operation.isComplete {
            lockedLimitTransaction(with: operation)
            operation.failure = .cancelled("cancelled before its turn came")
            lockedComplete(operation)
            // The server may come to it yet.
            operation.hasEnded = false
        }
    }

    private func lockedCancel(_ member: Operation, of convoy: Convoy) {
        convoy.isCancelled = true
        lockedRequestCancel(member)
    }
}
