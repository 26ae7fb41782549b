import CLibPQ
import Glibc

extension Session {
    /// Statements of a pipeline that are sent together.
    private static let flushedStatements = 32

    /// Sends the operation, or queues it behind the one under way, and waits for its end.
    ///
    /// - Parameter isShielded: A cancelled task still carries it out: a rollback must not be left undone.
    nonisolated(nonsending)
        func run(_ operation: Operation, isShielded: Bool = false) async throws -> [PostgresResult]
    {
        if isShielded { return try await carryOut(operation).get() }
        return try await withTaskCancellationHandler {
            try await carryOut(operation).get()
        } onCancel: {
            cancel(operation, .task)
        }
    }

    nonisolated(nonsending)
        private func carryOut(_ operation: Operation) async -> Operation.Outcome
    {
        AnswerWatch.enter()
        defer { AnswerWatch.leave() }
        let isOnPool = !poller.isOnOwner && AnswerWatch.isOnPool
        // On another executor only a wait gives a turn to what else its thread does; a thread loop waits for the answer itself.
        if operation.answersSoon, !poller.isOnOwner, isOnPool || !isTurnOver(), AnswerWatch.begin() {
            let outcome =
                withLock { lockedSubmit(operation, mayWatch: true, isOnPool: isOnPool) }
                ? await lookForAnswer(to: operation, isOnPool: isOnPool) : nil
            AnswerWatch.end()
            if let outcome {
                if isOnPool, isTurnOver() { await Task.yield() }
                return outcome
            }
            return await withContinuation { wait(for: operation, $0) }
        }
        return await withContinuation { continuation in
            withLock {
                operation.continuation = continuation
                _ = lockedSubmit(operation)
            }
        }
    }

    /// Gives a stream to the session; its consumer waits for rows.
    func submit(_ operation: Operation) {
        withLock { _ = lockedSubmit(operation) }
    }

    /// Sends the operation or queues it. True: it was sent, and its caller watches for the answer itself.
    func lockedSubmit(_ operation: Operation, mayWatch: Bool = false, isOnPool: Bool = false) -> Bool {
        if operation.cancelReason != nil {
            // Cancelled before it was given to the session.
            operation.isCancelledEarly = true
            lockedComplete(operation)
            return false
        }
        guard phase == .open else {
            operation.failure = closeReason
            lockedComplete(operation)
            return false
        }
        guard current == nil else {
            queue.append(operation)
            return false
        }
        let watches = mayWatch && isQuickAnswerLikely(isOnPool: isOnPool)
        if watches {
            isWatchedByCaller = true
            lockedWatch(reading: false, writing: false)
        }
        lockedSend(operation)
        // What could not be sent is complete already.
        if current !== operation { lockedLeaveToPoller() }
        return watches
    }

    /// Sends the next operations of the queue, as long as they end at once.
    func lockedSendNext() {
        while current == nil, phase == .open, !queue.isEmpty { lockedSend(queue.removeFirst()) }
    }

    private func lockedSend(_ operation: Operation) {
        if let begin, !operation.isFitBehindBegin {
            // By itself. Nobody waits for it: when it fails, the connection ends (`lockedEnd`).
            self.begin = nil
            queue.insert(operation, at: 0)
            let opening = Operation(.simple(Array(begin.utf8) + [0]), timeout: configuration.queryTimeout)
            opening.isBegin = true
            return lockedSend(opening)
        }
        let isFirst = begin != nil
        guard let request = operation.takeRequest() else {
            preconditionFailure("an operation is sent once")
        }
        do {
            try lockedWrite(request)
        } catch {
            operation.failure = error
            // A pipeline that could not be written to its end has no synchronisation point, so no end.
            if unsafe PQpipelineStatus(pg) != PQ_PIPELINE_OFF || PQstatus(pg) == CONNECTION_BAD {
                current = operation
                return lockedClose(error)
            }
            return lockedComplete(operation)
        }
        operation.isBehindBegin = isFirst && begin == nil
        if operation.mode == .stream { unsafe PQsetSingleRowMode(pg) }
        current = operation
        operation.sentAt = MonotonicClock.now
        if operation.sentAt &- answeredAt > Self.turnTime { turnBegan = operation.sentAt }
        lockedLimitTime(of: operation)
        lockedFlush()
    }

    /// From now on the operation may take as long as it says, or the rest of that when it is sent once more.
    func lockedLimitTime(of operation: Operation) {
        guard let timeout = operation.timeout else { return }
        // Called off when the operation ends, which it does at the latest with the session: so this keeps nobody.
        let deadline = operation.deadline ?? MonotonicClock.after(timeout)
        operation.deadline = deadline
        operation.timer = poller.schedule(at: deadline) { [self] in
            cancel(operation, .timeout)
        }
    }

    private func lockedWrite(_ request: Operation.Request) throws(PostgresError) {
        let isSent: Int32
        switch request {
        case .simple(let sql):
            isSent = unsafe sql.withUnsafeBytes { bytes in
                unsafe PQsendQuery(pg, bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
            }
        case .statement(let statement):
            try check(statement)
            var block = ParameterBlock()
            let places = try block.append(statement.parameters)
            if begin != nil { try lockedWriteBegin() }
            let isWritten = unsafe block.forEach([places]) { _, arrays in
                unsafe lockedWrite(statement, arrays)
            }
            let isBehindBegin = unsafe PQpipelineStatus(pg) != PQ_PIPELINE_OFF
            isSent = isWritten == 1 && isBehindBegin ? unsafe PQpipelineSync(pg) : isWritten
        case .prepare(let name, let sql, let types):
            try refuseNUL(sql)
            isSent = unsafe types.withUnsafeBufferPointer { types in
                unsafe PQsendPrepare(pg, name, sql, Int32(types.count), types.baseAddress)
            }
        case .pipeline(let statements):
            // Checked before anything is sent: half a pipeline cannot be taken back.
            var block = ParameterBlock()
            var places: [Range<Int>] = []
            places.reserveCapacity(statements.count)
            for statement in statements {
                try check(statement)
                places.append(try block.append(statement.parameters))
            }
            guard unsafe PQenterPipelineMode(pg) == 1 else { throw lockedSendError() }
            let isWritten = unsafe block.forEach(places) { index, arrays in
                // The server begins while the rest is being written.
                if index > 0, index.isMultiple(of: Self.flushedStatements) { unsafe PQflush(pg) }
                return unsafe lockedWrite(statements[index], arrays)
            }
            guard isWritten == 1 else { throw lockedSendError() }
            isSent = unsafe PQpipelineSync(pg)
        case .convoy(let convoy): return try lockedWrite(convoy)
        }
        guard isSent == 1 else { throw lockedSendError() }
    }

    /// Opens the transaction in front of its first statement.
    private func lockedWriteBegin() throws(PostgresError) {
        guard let begin, unsafe PQenterPipelineMode(pg) == 1,
            unsafe PQsendQueryParams(pg, begin, 0, nil, nil, nil, nil, 0) == 1
        else { throw lockedSendError() }
        self.begin = nil
    }

    private func lockedWrite(_ statement: PostgresStatement, _ arrays: ParameterBlock.Arrays) -> Int32 {
        switch statement.text {
        case .sql(let sql):
            unsafe PQsendQueryParams(
                pg, sql, arrays.count, arrays.types, arrays.values, arrays.lengths, arrays.formats,
                statement.resultFormat.rawValue)
        case .prepared(let prepared):
            unsafe PQsendQueryPrepared(
                pg, prepared.name, arrays.count, arrays.values, arrays.lengths, arrays.formats,
                statement.resultFormat.rawValue)
        }
    }

    private func check(_ statement: PostgresStatement) throws(PostgresError) {
        switch statement.text {
        case .sql(let sql): try refuseNUL(sql)
        case .prepared(let prepared):
            guard prepared.sessionID == id else {
                throw PostgresError(
                    .misuse,
                    "the statement was prepared on another connection: prepare it on the one that runs it")
            }
        }
    }

    func lockedSendError() -> PostgresError {
        let text = unsafe String(cString: PQerrorMessage(pg))
        let isLost = unsafe PQstatus(pg) == CONNECTION_BAD
        return PostgresError(isLost ? .connectionLost : .misuse, firstLine(text))
    }

    /// Writes what libpq holds back; asks the poller for a call when the socket takes no more.
    func lockedFlush() {
        guard phase == .open else { return }
        switch unsafe PQflush(pg) {
        case 0:
            if isWriteWanted {
                isWriteWanted = false
                if !isWatchedByCaller { lockedWatch(reading: true, writing: false) }
            }
        case 1:
            if !isWriteWanted {
                isWriteWanted = true
                if !isWatchedByCaller { lockedWatch(reading: true, writing: true) }
            }
        default: lockedLose()
        }
    }

    /// The first line of a message of libpq, without its indentation and line end.
    func firstLine(_ text: String) -> String {
        text.split(separator: "\n").first.map(String.init)
            ?? "the connection ended and libpq does not say why"
    }
}

/// The server would take a NUL for the end of the statement.
func refuseNUL(_ sql: String) throws(PostgresError) {
    let isClean = unsafe sql.utf8.withContiguousStorageIfAvailable { bytes in
        guard let start = bytes.baseAddress else { return true }
        return unsafe memchr(start, 0, bytes.count) == nil
    }
    if isClean != true, let index = sql.utf8.firstIndex(of: 0) {
        let offset = sql.utf8.distance(from: sql.startIndex, to: index)
        throw PostgresError(
            .misuse, "the statement holds a NUL character at byte \(offset); the server would stop there")
    }
}
