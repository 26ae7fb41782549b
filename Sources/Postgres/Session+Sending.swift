import CLibPQ
import Glibc

extension Session {
    /// Sends the operation, or queues it behind the one under way, and waits for its end.
    ///
    /// - Parameter isShielded: A cancelled task still carries it out: a rollback must not be left undone.
    nonisolated(nonsending)
        func run(_ operation: Operation, isShielded: Bool = false) async throws -> [PostgresResult]
    {
        let outcome: Operation.Outcome
        if isShielded {
            outcome = await withCheckedContinuation { submit(operation, $0) }
        } else {
            outcome = await withTaskCancellationHandler {
                await withCheckedContinuation { submit(operation, $0) }
            } onCancel: {
                cancel(operation, .task)
            }
        }
        return try outcome.get()
    }

    func submit(_ operation: Operation, _ continuation: CheckedContinuation<Operation.Outcome, Never>?) {
        withLock {
            operation.continuation = continuation
            if operation.cancelReason != nil {
                // Cancelled before it was given to the session.
                operation.streamEnd = .failure(CancellationError())
                continuation?.resume(returning: .failure(CancellationError()))
                return
            }
            guard phase == .open else {
                operation.failure = closeReason
                return lockedComplete(operation)
            }
            if current == nil { lockedSend(operation) } else { queue.append(operation) }
        }
    }

    /// Sends the next operations of the queue, as long as they end at once.
    func lockedSendNext() {
        while current == nil, phase == .open, !queue.isEmpty { lockedSend(queue.removeFirst()) }
    }

    private func lockedSend(_ operation: Operation) {
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
        if operation.mode == .stream { unsafe PQsetSingleRowMode(pg) }
        current = operation
        if let timeout = operation.timeout {
            operation.timer = poller.schedule(at: MonotonicClock.after(timeout)) {
                [weak self, weak operation] in
                if let operation { self?.cancel(operation, .timeout) }
            }
        }
        lockedFlush()
    }

    private func lockedWrite(_ request: Operation.Request) throws(PostgresError) {
        let isSent: Int32
        switch request {
        case .simple(let sql):
            isSent = unsafe sql.withUnsafeBytes { bytes in
                unsafe PQsendQuery(pg, bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
            }
        case .statement(let statement):
            isSent = try lockedWrite(statement)
        case .prepare(let name, let sql):
            try refuseNUL(sql)
            isSent = unsafe PQsendPrepare(pg, name, sql, 0, nil)
        case .pipeline(let statements):
            // Checked before anything is sent: half a pipeline cannot be taken back.
            for statement in statements {
                try check(statement)
                _ = try ParameterBlock(statement.parameters)
            }
            guard unsafe PQenterPipelineMode(pg) == 1 else { throw lockedSendError() }
            for statement in statements {
                guard try lockedWrite(statement) == 1 else { throw lockedSendError() }
            }
            isSent = unsafe PQpipelineSync(pg)
        }
        guard isSent == 1 else { throw lockedSendError() }
    }

    private func lockedWrite(_ statement: PostgresStatement) throws(PostgresError) -> Int32 {
        try check(statement)
        let block = try ParameterBlock(statement.parameters)
        return unsafe block.withArrays { arrays in
            switch statement.text {
            case .sql(let sql):
                unsafe PQsendQueryParams(
                    pg, sql, arrays.count, arrays.types, arrays.values, arrays.lengths, arrays.formats, 0)
            case .prepared(let prepared):
                unsafe PQsendQueryPrepared(
                    pg, prepared.name, arrays.count, arrays.values, arrays.lengths, arrays.formats, 0)
            }
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

    private func refuseNUL(_ sql: String) throws(PostgresError) {
        if let index = sql.utf8.firstIndex(of: 0) {
            let offset = sql.utf8.distance(from: sql.startIndex, to: index)
            throw PostgresError(
                .misuse, "the statement holds a NUL character at byte \(offset); the server would stop there")
        }
    }

    private func lockedSendError() -> PostgresError {
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
                lockedWatch(reading: true, writing: false)
            }
        case 1:
            if !isWriteWanted {
                isWriteWanted = true
                lockedWatch(reading: true, writing: true)
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
