import BrokerProtocol

/// What the streaming engine asks of the core, on loop 0.
extension LoopCore: MessageTransport {
    /// See `MessageTransport`. An invalid subject has no receivers, nor has one of the broker's own requests:
    /// clients choose where the engine answers, sends heartbeats and delivers, and what they may not request
    /// themselves the engine must not request for them.
    @discardableResult
    func publish(
        subject: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer
    ) -> DeliveryOutcome {
        beginTick()
        guard unsafe !isAdministrative(subject) else { return .none }
        let route = unsafe state.pointee.router.route(subject)
        guard unsafe !route.pointee.isEmpty else { return .none }
        // The engine is called with views into the operation that it answers; that one is over, since it
        // is served last, so its place can be taken.
        unsafe state.pointee.operation.kind = .publish
        unsafe state.pointee.operation.subject = unsafe subject
        unsafe state.pointee.operation.reply = unsafe reply
        unsafe state.pointee.operation.payload = unsafe payload
        unsafe state.pointee.operation.headerSize = -1
        let empty = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        unsafe state.pointee.operation.tail = unsafe empty
        unsafe state.pointee.operation.sizes = unsafe empty
        return unsafe fanOut(route, from: nil)
    }

    func listen(on subject: [UInt8], tag: UInt64) {
        beginTick()
        let interest = unsafe register(.engine(tag: tag), subject: subject, queue: [], sid: [])
        unsafe state.pointee.engineInterests[EngineInterest(subject: subject, tag: tag)] = unsafe interest
    }

    func stopListening(on subject: [UInt8], tag: UInt64) {
        beginTick()
        let key = EngineInterest(subject: subject, tag: tag)
        guard let interest = unsafe state.pointee.engineInterests.removeValue(forKey: key) else { return }
        unsafe forget(interest)
    }

    func hasReceiver(for subject: UnsafeRawBufferPointer) -> Bool {
        unsafe state.pointee.router.matches(subject).contains { interest in
            switch unsafe interest.pointee.taker {
            case .connection: true
            case .engine: false
            case .remote(let connection): connection != nil
            }
        }
    }

    func isCongested(_ subject: UnsafeRawBufferPointer) -> Bool {
        let route = unsafe state.pointee.router.route(subject)
        let plain = unsafe route.pointee.plain
        let localCount = unsafe route.pointee.localCount
        for index in 0..<localCount {
            if let connection = unsafe plain[index].connection,
                unsafe connection.pointee.isReportedCongested
            {
                return true
            }
        }
        return unsafe isCongestedElsewhere(plain, from: localCount)
    }

    func pausePublishers() {
        setPublishersPaused(true)
        if hasOtherLoops { tellOthers(.pausePublishers) }
    }

    func resumePublishers() {
        setPublishersPaused(false)
        if hasOtherLoops { tellOthers(.resumePublishers) }
    }

    /// Stops or resumes reading from this loop's connections that published to the engine.
    func setPublishersPaused(_ paused: Bool) {
        beginTick()
        unsafe state.pointee.publishersArePaused = paused
        let connections = unsafe state.pointee.connections.all
        for index in unsafe connections.indices {
            let connection = unsafe connections[index]
            guard unsafe connection.pointee.publishesToEngine, unsafe connection.pointee.phase == .open else {
                continue
            }
            if paused {
                unsafe pause(connection, .engine)
            } else {
                unsafe resume(connection, .engine)
            }
        }
    }
}

/// Names what the engine listens to.
struct EngineInterest: Hashable {
    var subject: [UInt8]
    var tag: UInt64
}
