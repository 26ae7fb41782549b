import NIOCore

/// What goes out, and how connections end (nats-core.md 4.5, 4.6).
extension LoopCore {
    /// At most this much of one connection is handed to the socket at once, so that the write deadline
    /// measures a piece that a healthy client takes in no time.
    private static let bytesPerWrite = 1 << 20
    /// How long a connection that failed may take to receive the reason and close.
    private static let lingerNanoseconds: UInt64 = 1_000_000_000
    /// The same when the broker ends, which should not take long.
    private static let lingerAtShutdownNanoseconds: UInt64 = 250_000_000

    func send(_ bytes: UnsafeRawBufferPointer, to connection: UnsafeMutablePointer<Connection>) {
        guard unsafe connection.pointee.phase == .open else { return }
        guard
            unsafe connection.pointee.output.append(
                bytes, chunks: chunkPool, maximumPending: options.maxPending)
        else {
            unsafe cutOff(connection, .slowConsumerPending)
            return
        }
        if unsafe !connection.pointee.isDirty { unsafe markDirty(connection) }
    }

    func send(_ bytes: [UInt8], to connection: UnsafeMutablePointer<Connection>) {
        unsafe bytes.withUnsafeBytes { unsafe send($0, to: connection) }
    }

    func send(_ text: StaticString, to connection: UnsafeMutablePointer<Connection>) {
        unsafe send(
            UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount), to: connection)
    }

    func sendOK(_ connection: UnsafeMutablePointer<Connection>) {
        if traces { unsafe trace(connection, "->> [OK]") }
        unsafe send("+OK\r\n", to: connection)
    }

    func sendError(_ text: String, to connection: UnsafeMutablePointer<Connection>) {
        if traces { unsafe trace(connection, "->> [-ERR \(text)]") }
        unsafe send(Array("-ERR '\(text)'\r\n".utf8), to: unsafe connection)
    }

    @inline(__always)
    func markDirty(_ connection: UnsafeMutablePointer<Connection>) {
        unsafe connection.pointee.isDirty = true
        unsafe state.pointee.dirty.append(connection)
        beginTick()
    }

    // MARK: Writing

    /// One write for each connection that has something to say.
    func flushDirty() {
        var index = 0
        // Closing a connection can make others dirty.
        while unsafe index < state.pointee.dirty.count {
            let connection = unsafe state.pointee.dirty[index]
            unsafe connection.pointee.isDirty = false
            unsafe flush(connection)
            index += 1
        }
        unsafe state.pointee.dirty.removeAll(keepingCapacity: true)
    }

    private func flush(_ connection: UnsafeMutablePointer<Connection>) {
        guard unsafe !connection.pointee.isFlushing else { return }
        unsafe connection.pointee.isFlushing = true
        defer { unsafe connection.pointee.isFlushing = false }
        let handler = unsafe connection.pointee.handler
        while unsafe !connection.pointee.isWriting,
            unsafe connection.pointee.phase == .open || connection.pointee.phase == .flushing
        {
            if unsafe connection.pointee.output.write(
                to: connection.pointee.descriptor, chunks: chunkPool)
            {
                unsafe noteDrained(connection)
                break
            }
            guard unsafe connection.pointee.output.startWrite(limit: Self.bytesPerWrite, handler.write) else {
                break
            }
            guard handler.flush() else {
                unsafe connection.pointee.isWriting = true
                unsafe connection.pointee.writeDeadline =
                    unsafe state.pointee.now + options.writeDeadlineNanoseconds
                unsafe scheduleDeadline(connection)
                return
            }
            unsafe connection.pointee.output.writeFinished(chunks: chunkPool)
            unsafe noteDrained(connection)
        }
        if unsafe connection.pointee.phase == .flushing, unsafe !connection.pointee.isWriting {
            unsafe beginLinger(connection)
        }
    }

    /// The socket took everything that was handed over.
    func writeFinished(_ connection: UnsafeMutablePointer<Connection>) {
        guard unsafe connection.pointee.isWriting, unsafe !connection.pointee.isFlushing else { return }
        beginTick()
        unsafe connection.pointee.isWriting = false
        unsafe connection.pointee.writeDeadline = .max
        unsafe connection.pointee.output.writeFinished(chunks: chunkPool)
        unsafe noteDrained(connection)
        if unsafe !connection.pointee.isDirty { unsafe markDirty(connection) }
    }

    /// Something was written: who waits for this connection to drain may go on.
    private func noteDrained(_ connection: UnsafeMutablePointer<Connection>) {
        if unsafe connection.pointee.isReportedCongested,
            unsafe connection.pointee.output.pending < Self.congestion / 2
        {
            unsafe congestionEnded(connection)
        }
        if unsafe !state.pointee.stalled.isEmpty,
            unsafe connection.pointee.output.pending < options.maxPending / 4 * 3
        {
            endStalls()
        }
    }

    private func congestionEnded(_ connection: UnsafeMutablePointer<Connection>) {
        unsafe connection.pointee.isReportedCongested = false
        if index != 0 { unsafe tell(0, .congestionEnded(connection: connection.pointee.id)) }
        unsafe state.pointee.congestionHasEnded = engine != nil
        beginTick()
    }

    // MARK: Ending

    /// Sends `-ERR` with `text`, then ends the connection.
    func fail(_ connection: UnsafeMutablePointer<Connection>, _ text: String, _ reason: CloseReason) {
        unsafe sendError(text, to: connection)
        unsafe finish(connection, reason)
    }

    /// Ends the connection after what is queued went out.
    func finish(_ connection: UnsafeMutablePointer<Connection>, _ reason: CloseReason) {
        guard unsafe connection.pointee.phase == .open else { return }
        unsafe leave(connection, reason)
        unsafe connection.pointee.phase = .flushing
        let linger =
            reason == .serverShutdown ? Self.lingerAtShutdownNanoseconds : Self.lingerNanoseconds
        unsafe connection.pointee.lingerDeadline = unsafe state.pointee.now + linger
        unsafe scheduleDeadline(connection)
        // Input is read on, and thrown away, so that the client's bytes do not make the kernel reset the
        // connection before it has read the reason.
        for reason in [PauseReasons.engine, .stall, .fence] { unsafe resume(connection, reason) }
        if unsafe !connection.pointee.isDirty { unsafe markDirty(connection) }
    }

    private func beginLinger(_ connection: UnsafeMutablePointer<Connection>) {
        unsafe connection.pointee.phase = .lingering
        if unsafe connection.pointee.closeReason == .clientClosed || connection.pointee.inputHasEnded {
            unsafe connection.pointee.handler.close()
        } else {
            unsafe connection.pointee.handler.closeOutput()
        }
    }

    /// Ends a connection whose client does not read; what is queued is dropped.
    func cutOff(_ connection: UnsafeMutablePointer<Connection>, _ reason: CloseReason) {
        guard unsafe connection.pointee.phase == .open || connection.pointee.phase == .flushing else {
            return
        }
        if unsafe connection.pointee.phase == .open {
            unsafe state.pointee.counters.slowConsumers += 1
            if reason == .slowConsumerPending {
                logger.info(
                    unsafe "\(connection.pointee.label) - Slow Consumer Detected: MaxPending of \(options.maxPending) Exceeded"
                )
            } else {
                let deadline = Self.durationText(options.writeDeadlineNanoseconds)
                let output = unsafe (
                    connection.pointee.output.chunksInFlight, connection.pointee.output.bytesInFlight
                )
                unsafe logger.info(
                    "\(connection.pointee.label) - Slow Consumer Detected: WriteDeadline of \(deadline) exceeded with \(output.0) chunks of \(output.1) total bytes."
                )
            }
        }
        unsafe close(connection, reason)
    }

    /// Whole seconds as `10s`, other times in milliseconds.
    private static func durationText(_ nanoseconds: UInt64) -> String {
        nanoseconds % 1_000_000_000 == 0 ? "\(nanoseconds / 1_000_000_000)s" : "\(nanoseconds / 1_000_000)ms"
    }

    /// Closes the socket at the end of the tick, without more output.
    func close(_ connection: UnsafeMutablePointer<Connection>, _ reason: CloseReason) {
        guard unsafe connection.pointee.phase != .closed else { return }
        unsafe leave(connection, reason)
        unsafe connection.pointee.phase = .lingering
        unsafe connection.pointee.output.discard(chunks: chunkPool)
        let handler = unsafe connection.pointee.handler
        eventLoop.assumeIsolated().execute { handler.close() }
    }

    /// The socket is gone.
    func disconnected(_ connection: UnsafeMutablePointer<Connection>, _ reason: CloseReason) {
        beginTick()
        unsafe leave(connection, reason)
        unsafe connection.pointee.phase = .closed
        unsafe state.pointee.gone.append(connection)
    }

    /// Takes the connection's interests away and counts it out; does nothing the second time.
    private func leave(_ connection: UnsafeMutablePointer<Connection>, _ reason: CloseReason) {
        guard unsafe connection.pointee.closeReason == nil else { return }
        unsafe connection.pointee.closeReason = reason
        logger.debug(unsafe "\(connection.pointee.label) - Client connection closed: \(reason.rawValue)")
        let interests = unsafe connection.pointee.interests.values
        for index in unsafe interests.indices { unsafe forget(interests[index]) }
        unsafe connection.pointee.interests = unsafe ByteKeyedTable()
        if unsafe connection.pointee.isReportedCongested { unsafe congestionEnded(connection) }
        if unsafe connection.pointee.isCounted {
            unsafe connection.pointee.isCounted = false
            unsafe state.pointee.counters.connections -= 1
            shared.connectionEnded()
        }
    }
}
