import CLibPQ
import Glibc

extension Session {
    /// Rows that a stream holds before the socket is left alone; reading goes on when the consumer took them.
    static let streamRows = 512

    /// libpq has given the connection up: the peer is gone, or talks nonsense, which shows only as it is parsed.
    private var isLost: Bool { unsafe phase == .open && PQstatus(pg) == CONNECTION_BAD }

    func lockedReceive() {
        guard unsafe PQconsumeInput(pg) == 1 else { return lockedLose() }
        lockedTakeNotifications()
        lockedFlush()
        lockedPump()
        if isLost { lockedLose() }
    }

    /// Takes every result that has arrived in full. A stream's consumer gets the rows together: waking it up for each
    /// one costs more than reading them.
    func lockedPump() {
        defer { if let current, current.mode == .stream { lockedOfferRows(current) } }
        while phase == .open, let operation = current, !operation.hasEnded, !operation.isPaused {
            if isLost { return lockedLose() }
            if operation.isCopyingOut, !lockedDropCopiedRows(operation) { return }
            if unsafe PQisBusy(pg) == 1 { return }
            if let result = unsafe PQgetResult(pg) {
                lockedTake(unsafe ResultStorage(result), operation)
            } else if unsafe PQpipelineStatus(pg) == PQ_PIPELINE_OFF {
                lockedEnd(operation)
            } else if let convoy = operation.convoy, convoy.isOneTransaction {
                lockedEndStatement(of: convoy)
            }
            // In a pipeline the end of one statement's results; the last of all is the synchronisation point.
        }
    }

    private func lockedTake(_ result: ResultStorage, _ operation: Operation) {
        if let convoy = operation.convoy { return lockedTake(result, operation, convoy) }
        lockedTakeOwn(result, operation)
    }

    /// Takes a result of an operation that is none of several.
    func lockedTakeOwn(_ result: ResultStorage, _ operation: Operation) {
        switch unsafe PQresultStatus(result.pointer) {
        case PGRES_COMMAND_OK where operation.isBehindBegin: operation.isBehindBegin = false
        case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY, PGRES_TUPLES_OK:
            operation.completedStatements += 1
            if operation.mode != .discard { operation.results.append(PostgresResult(result)) }
        case PGRES_SINGLE_TUPLE:
            let columns = operation.columns ?? result.makeColumns()
            operation.columns = columns
            // A stream that was abandoned only waits for its end.
            guard operation.cancelReason != .abandoned else { return }
            operation.rows.append(PostgresRow(storage: result, columns: columns, row: 0))
            if operation.rows.count >= Self.streamRows {
                operation.isPaused = true
                // Level-triggered readiness and hang-ups cannot be masked, so the descriptor leaves the poller.
                lockedUnwatch()
            }
        case PGRES_PIPELINE_SYNC:
            unsafe PQexitPipelineMode(pg)
            lockedEnd(operation)
        case PGRES_PIPELINE_ABORTED:
            // A statement behind the one that failed.
            break
        case PGRES_COPY_IN:
            operation.failure = copyRefusal(.fromClient, operation)
            unsafe PQputCopyEnd(pg, "COPY FROM STDIN has no data here")
            lockedFlush()
        case PGRES_COPY_OUT, PGRES_COPY_BOTH:
            operation.failure = copyRefusal(.toClient, operation)
            operation.isCopyingOut = true
        default:
            guard operation.failure == nil else { break }
            if let report = result.makeServerError() {
                operation.failure = PostgresError(
                    .server, report.message, server: report,
                    completedStatements: operation.completedStatements)
            } else {
                // An error of libpq itself: the connection is gone, or the peer talks nonsense.
                let text = unsafe String(cString: PQresultErrorMessage(result.pointer))
                operation.failure = PostgresError(
                    .connectionLost, firstLine(text), completedStatements: operation.completedStatements)
            }
        }
    }

    func copyRefusal(_ direction: PostgresError.CopyDirection, _ operation: Operation)
        -> PostgresError
    {
        PostgresError(
            .copyNotSupported(direction),
            direction == .fromClient
                ? "COPY FROM STDIN needs data from the client, which this library does not send: use INSERT"
                : "COPY TO STDOUT sends data to the client, which this library does not take: use SELECT",
            completedStatements: operation.completedStatements)
    }

    /// Reads past the rows of a COPY that nobody asked for; `true` when it is over.
    private func lockedDropCopiedRows(_ operation: Operation) -> Bool {
        while true {
            var row: UnsafeMutablePointer<CChar>?
            let length = unsafe PQgetCopyData(pg, &row, 1)
            unsafe PQfreemem(row)
            if length == 0 { return false }
            if length < 0 {
                operation.isCopyingOut = false
                return true
            }
        }
    }

    /// The server has said all about the operation.
    func lockedEnd(_ operation: Operation) {
        operation.hasEnded = true
        // Without its BEGIN the rest of a transaction would be carried out by itself.
        if operation.isBegin || operation.isBehindBegin, let failure = operation.failure {
            return lockedClose(failure)
        }
        lockedCompleteCurrent()
    }

    /// Completes the operation under way, once no request to cancel it can hit the next one.
    func lockedCompleteCurrent() {
        guard let operation = current, operation.hasEnded, cancelsInFlight == 0 else { return }
        lockedEndGrace()
        answeredAt = MonotonicClock.now
        if let convoy = operation.convoy {
            lockedLearn(from: convoy, took: answeredAt &- operation.sentAt)
            if lockedSendAgain(convoy) { return }
        }
        if operation.answersSoon {
            answersSoon = answeredAt &- operation.sentAt < operation.watchTime
            answersAtOnce = answeredAt &- operation.sentAt < Self.watchTimeAmongOthers
        }
        lockedLeaveToPoller()
        current = nil
        lockedComplete(operation)
        lockedSendNext()
    }

    /// The server has ended what it was asked to cancel.
    func lockedEndGrace() {
        if let graceTimer { poller.callOff(graceTimer) }
        graceTimer = nil
    }

    /// Tells the caller how the operation ended.
    func lockedComplete(_ operation: Operation) {
        if let convoy = operation.convoy { return lockedComplete(operation, convoy) }
        operation.hasEnded = true
        operation.isComplete = true
        if let timer = operation.timer { poller.callOff(timer) }
        operation.timer = nil
        if operation.mode == .stream {
            operation.streamEnd = operation.outcome
            lockedOfferRows(operation)
        } else if let continuation = operation.memberContinuation {
            operation.memberContinuation = nil
            resumptions.append(.member(operation.outcome, continuation))
        } else if let continuation = operation.continuation {
            operation.continuation = nil
            resumptions.append(.outcome(operation.outcome, continuation))
        }
    }

    /// The connection ended. What the server said last still lies in libpq's buffer.
    func lockedLose() {
        let text = unsafe String(cString: PQerrorMessage(pg))
        if let operation = current, !operation.hasEnded {
            // Bounded: at most one result for each statement and its end, and the error of libpq.
            var left = 100_000
            while left > 0, current === operation, !operation.isCopyingOut,
                let result = unsafe PQgetResult(pg)
            {
                lockedTake(unsafe ResultStorage(result), operation)
                left -= 1
            }
        }
        reports.append(.lost(firstLine(text)))
        lockedClose(PostgresError(.connectionLost, firstLine(text)))
    }

    // MARK: Streams

    /// Rows that have arrived, `nil` at the end.
    nonisolated(nonsending)
        func nextRows(_ operation: Operation, isShielded: Bool = false) async throws -> [PostgresRow]?
    {
        if isShielded { return try await withContinuation { awaitRows(operation, $0) }.get() }
        return try await withTaskCancellationHandler {
            try await withContinuation { awaitRows(operation, $0) }.get()
        } onCancel: {
            cancel(operation, .task)
        }
    }

    private func awaitRows(
        _ operation: Operation, _ waiter: Continuation<Operation.Rows, Never>
    ) {
        withLock {
            precondition(operation.rowWaiter == nil, "one task at a time iterates over a stream of rows")
            operation.rowWaiter = waiter
            lockedOfferRows(operation)
            lockedResume(operation)
        }
    }

    private func lockedOfferRows(_ operation: Operation) {
        guard let waiter = operation.rowWaiter else { return }
        if !operation.rows.isEmpty {
            operation.rowWaiter = nil
            resumptions.append(.rows(.success(operation.rows), waiter))
            operation.rows = []
        } else if let end = operation.streamEnd {
            operation.rowWaiter = nil
            resumptions.append(.rows(end.map { _ in nil }, waiter))
        }
    }

    /// Reads on after the consumer has caught up.
    func lockedResume(_ operation: Operation) {
        guard operation.isPaused, operation.rows.isEmpty, phase == .open else { return }
        operation.isPaused = false
        // What libpq has comes first: each reading moves all that it holds to the front of its buffer, and a buffer that
        // is read into faster than it is emptied grows.
        lockedPump()
        // Ended or not, the socket has an owner again, unless the consumer has to catch up once more.
        guard phase == .open, !operation.isPaused else { return }
        lockedWatch(reading: true, writing: isWriteWanted)
        // libpq, or TLS below it, may hold what the socket will not announce again.
        lockedReceive()
    }
}
