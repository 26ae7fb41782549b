import BrokerProtocol

/// Deadlines and pauses (nats-core.md 4.1, 4.4, 4.5).
extension LoopCore {
    /// Sees to it that `timeReached` looks at the connection in time.
    func scheduleDeadline(_ connection: UnsafeMutablePointer<Connection>) {
        let deadline = unsafe connection.pointee.nextDeadline
        guard unsafe deadline < connection.pointee.scheduledDeadline else { return }
        unsafe connection.pointee.scheduledDeadline = deadline
        unsafe state.pointee.deadlines.insert(connection.pointee.id, at: deadline)
        beginTick()
    }

    /// Does what is due at `now`, in monotonic nanoseconds.
    func timeReached(_ now: UInt64) {
        while let id = unsafe state.pointee.deadlines.popDue(now) {
            guard let connection = unsafe state.pointee.connections.find(id) else { continue }
            // An entry that an earlier one made needless comes back here and finds nothing due.
            unsafe connection.pointee.scheduledDeadline = .max
            unsafe timeReached(now, connection)
            if unsafe connection.pointee.phase != .closed { unsafe scheduleDeadline(connection) }
        }
    }

    private func timeReached(_ now: UInt64, _ connection: UnsafeMutablePointer<Connection>) {
        if unsafe connection.pointee.writeDeadline <= now {
            unsafe connection.pointee.writeDeadline = .max
            unsafe cutOff(connection, .slowConsumerDeadline)
        }
        if unsafe connection.pointee.lingerDeadline <= now {
            unsafe connection.pointee.lingerDeadline = .max
            let handler = unsafe connection.pointee.handler
            eventLoop.assumeIsolated().execute { handler.close() }
        }
        guard unsafe connection.pointee.phase == .open else { return }
        if unsafe connection.pointee.authenticationDeadline <= now {
            unsafe connection.pointee.authenticationDeadline = .max
            unsafe fail(connection, ErrorText.authenticationTimeout, .authenticationTimeout)
            return
        }
        if unsafe connection.pointee.pauses.contains(.stall), unsafe connection.pointee.stallEnd <= now {
            unsafe resume(connection, .stall)
        }
        if unsafe connection.pointee.keepAlive.nextCheck <= now {
            let action = unsafe connection.pointee.keepAlive.timeReached(now)
            guard unsafe !connection.pointee.pauses.contains(.engine) else {
                // We do not read what it answers: no ping is sent, and none counts against it.
                unsafe connection.pointee.keepAlive.receivedPong(now: now)
                return
            }
            switch action {
            case .nothing: break
            case .sendPing:
                if traces { unsafe trace(connection, "->> [PING]") }
                unsafe send("PING\r\n", to: connection)
            case .stale:
                unsafe state.pointee.counters.staleConnections += 1
                logger.debug(unsafe "\(connection.pointee.label) - Stale Client Connection - Closing")
                unsafe fail(connection, ErrorText.staleConnection, .staleConnection)
            }
        }
    }

    // MARK: Pauses

    /// Stops reading from the connection.
    func pause(_ connection: UnsafeMutablePointer<Connection>, _ reason: PauseReasons) {
        unsafe connection.pointee.pauses.insert(reason)
        unsafe connection.pointee.handler.pauseReading()
    }

    /// Goes on reading when no other reason is left; first with what was read already.
    func resume(_ connection: UnsafeMutablePointer<Connection>, _ reason: PauseReasons) {
        guard unsafe connection.pointee.pauses.contains(reason) else { return }
        unsafe connection.pointee.pauses.remove(reason)
        if reason == .stall { unsafe state.pointee.stalled.remove(connection.pointee.id) }
        guard unsafe connection.pointee.pauses.isEmpty else { return }
        guard unsafe connection.pointee.backlog.count > 0, unsafe connection.pointee.phase == .open else {
            unsafe connection.pointee.handler.resumeReading()
            return
        }
        // In a task of its own: whoever resumes may be in the middle of something.
        let id = unsafe connection.pointee.id
        eventLoop.assumeIsolated().execute {
            self.beginTick()
            guard let connection = unsafe self.state.pointee.connections.find(id) else { return }
            if unsafe connection.pointee.pauses.isEmpty { unsafe self.parseBacklog(of: connection) }
            if unsafe connection.pointee.pauses.isEmpty { unsafe connection.pointee.handler.resumeReading() }
        }
    }

    /// Lets a publisher whose receiver is nearly full wait for as long as this read earned.
    func beginStall(_ connection: UnsafeMutablePointer<Connection>) {
        let length = unsafe connection.pointee.stall
        unsafe connection.pointee.stall = 0
        unsafe connection.pointee.stallEnd = unsafe state.pointee.now + length
        unsafe state.pointee.counters.stalledClients += 1
        unsafe state.pointee.stalled.insert(connection.pointee.id)
        unsafe pause(connection, .stall)
        unsafe scheduleDeadline(connection)
    }

    /// A receiver drained: nobody has to wait for the rest of the time.
    func endStalls() {
        let stalled = unsafe state.pointee.stalled
        unsafe state.pointee.stalled.removeAll(keepingCapacity: true)
        for id in stalled {
            if let connection = unsafe state.pointee.connections.find(id) {
                unsafe resume(connection, .stall)
            }
        }
    }
}
