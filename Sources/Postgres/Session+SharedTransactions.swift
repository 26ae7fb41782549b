import CLibPQ

// Convoys whose statements are one transaction, with one synchronisation point behind all of them. The server begins and
// ends one transaction in the place of many, and sends answers as its buffer (8 KiB) fills, not each by itself: a third of
// its time for a small read, and half of ours.
//
// The transaction can only read, so an error in it undoes nothing but what PostgreSQL allows there all the same (see
// `PostgresPool.queryKept`). None of it may take longer than `statementTime`, for an answer waits in the server's buffer for
// some of those behind it: for no more than `flushedMembers - 1`. Whatever fails in it for whatever reason is
// sent once more, with all that was behind it, each in a transaction of its own.
extension Session {
    /// A convoy that took no longer lets the next one be one transaction, in nanoseconds.
    private static let quickConvoyTime: UInt64 = 25_000_000
    /// How long a statement of a shared transaction may take on the server, in milliseconds.
    private static let statementTime = 50
    private static let opening = """
        SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', '\(statementTime)', true)
        """
    private static let openingName = "shared"
    /// After how many statements the server sends what it has.
    private static let flushedMembers = 8
    /// After how many failures at the opening, one after the other, a connection no longer tries.
    private static let openingFailureLimit = 2
    /// After how many breaks a statement goes by itself.
    private static let breakLimit = 3
    /// How many statements that broke a transaction are remembered.
    private static let breakMemory = 256

    /// Whether these may be one transaction: the last ones did well, and each has succeeded on this connection before.
    func lockedMayShare(_ members: [Operation]) -> Bool {
        isConvoyQuick && openingFailures < Self.openingFailureLimit && members.count > 1
            && members.allSatisfy { $0.member.map(lockedMayShare) ?? false }
    }

    private func lockedMayShare(_ member: ConvoyMember) -> Bool {
        member.isRead && kept[member.statement] != nil
            && (breaks.isEmpty || breaks[member.statement, default: 0] < Self.breakLimit)
    }

    /// A convoy has been answered in so many nanoseconds.
    func lockedLearn(from convoy: Convoy, took time: UInt64) {
        isConvoyQuick = !convoy.isBroken && convoy.again.isEmpty && time < Self.quickConvoyTime
    }

    func lockedWriteTransaction(_ convoy: Convoy) throws(PostgresError) {
        guard unsafe PQenterPipelineMode(pg) == 1 else { throw lockedSendError() }
        if !isOpeningPrepared {
            guard unsafe PQsendPrepare(pg, Self.openingName, Self.opening, 0, nil) == 1 else {
                throw lockedSendError()
            }
            isOpeningPrepared = true
            convoy.openingsLeft += 1
        }
        guard unsafe PQsendQueryPrepared(pg, Self.openingName, 0, nil, nil, nil, 0) == 1 else {
            throw lockedSendError()
        }
        convoy.openingsLeft += 1
        for (index, member) in convoy.members.enumerated() {
            if index > 0, index.isMultiple(of: Self.flushedMembers) {
                guard unsafe PQsendFlushRequest(pg) == 1 else { throw lockedSendError() }
            }
            guard lockedWriteMember(member) == 1 else { throw lockedSendError() }
            lockedLimitTime(of: member)
        }
        guard unsafe PQpipelineSync(pg) == 1 else { throw lockedSendError() }
    }

    func lockedTakeOfTransaction(_ result: ResultStorage, _ operation: Operation, _ convoy: Convoy) {
        switch unsafe PQresultStatus(result.pointer) {
        case PGRES_PIPELINE_SYNC:
            lockedSplit(convoy)
            unsafe PQexitPipelineMode(pg)
            lockedEnd(operation)
        case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY, PGRES_TUPLES_OK:
            guard convoy.openingsLeft == 0, let member = convoy.members.first, !member.isComplete else {
                return
            }
            lockedTakeOwn(result, member)
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
            if let member = convoy.members.first { lockedRefuseCopy(result, member) }
        // The error that ended it, and a statement behind it.
        default:
            if !convoy.isBroken { convoy.breakingState = result.makeServerError()?.sqlState }
            convoy.isBroken = true
        }
    }

    /// The server has said all about the first statement that is left.
    func lockedEndStatement(of convoy: Convoy) {
        if convoy.isBroken { return }
        if convoy.openingsLeft > 0 {
            convoy.openingsLeft -= 1
            if convoy.openingsLeft == 0 { openingFailures = 0 }
        } else if let member = convoy.members.first {
            convoy.members.removeFirst()
            if !breaks.isEmpty, let statement = member.member?.statement { breaks[statement] = nil }
            if !member.isComplete { lockedComplete(member) }
        }
    }

    /// What the transaction did not carry goes by itself.
    private func lockedSplit(_ convoy: Convoy) {
        if convoy.isBroken { lockedLearnFromBreak(of: convoy) }
        for member in convoy.members where !member.isComplete {
            member.results = []
            if let timer = member.timer { poller.callOff(timer) }
            convoy.again.append(member)
        }
        convoy.members = []
    }

    private func lockedLearnFromBreak(of convoy: Convoy) {
        if convoy.openingsLeft > 0 {
            // Somebody may have dropped what was prepared. After any other failure it may still be there, and its name taken;
            // where it is not, the next opening fails with 26000.
            if convoy.breakingState == "26000" { isOpeningPrepared = false }
            // A cancellation says nothing about the next one.
            if convoy.breakingState != "57014" { openingFailures += 1 }
        } else if let statement = convoy.members.first?.member?.statement,
            breaks[statement] != nil || breaks.count < Self.breakMemory
        {
            // Other errors may come from the values of the parameters, or from a machine that is busy. What writes always does.
            breaks[statement, default: 0] += convoy.breakingState == "25006" ? Self.breakLimit : 1
        }
    }

    /// A caller no longer waits for a statement of the transaction under way, if it is one. The server cannot be far from the
    /// end of it, so it is asked to cancel only after a second, and a connection that does not come back is given up.
    func lockedLimitTransaction(with member: Operation) {
        guard let current, let convoy = current.convoy, convoy.isOneTransaction, graceTimer == nil,
            convoy.members.contains(where: { $0 === member })
        else { return }
        lockedBeginGrace(current)
    }
}
