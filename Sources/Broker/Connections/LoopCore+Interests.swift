import BrokerProtocol

/// SUB and UNSUB, and the interests of the engine and of other loops (nats-core.md 3.4).
extension LoopCore {
    /// Handles the SUB in `state.operation`.
    func subscribe(_ connection: UnsafeMutablePointer<Connection>) {
        let operation = unsafe state.pointee.operation
        if unsafe Self.isSystemQueue(operation.queue) {
            unsafe sendError(
                ErrorText.subscriptionViolation(operation.subject, queue: operation.queue), to: connection)
            return
        }
        guard unsafe Subject.isValidSubscription(operation.subject) else {
            unsafe sendError(ErrorText.invalidSubject, to: connection)
            return
        }
        if options.maxSubscriptionTokens > 0,
            unsafe operation.subject.count(where: { $0 == UInt8(ascii: ".") })
                >= options.maxSubscriptionTokens
        {
            unsafe sendError(ErrorText.tooManyTokens(operation.subject), to: connection)
            return
        }
        if options.maxSubscriptions > 0, unsafe connection.pointee.interests.count >= options.maxSubscriptions
        {
            unsafe sendError(ErrorText.tooManySubscriptions, to: connection)
            return
        }
        // The first subscription with a sid stays.
        if unsafe connection.pointee.interests[operation.sid] == nil {
            let sid = unsafe Array(operation.sid)
            let interest = unsafe register(
                .connection(connection), subject: Array(operation.subject), queue: Array(operation.queue),
                sid: sid)
            unsafe connection.pointee.interests[sid] = unsafe interest
            if hasOtherLoops { unsafe connection.pointee.hasWorkElsewhere = true }
        }
        if unsafe connection.pointee.isVerbose { unsafe sendOK(connection) }
    }

    private static func isSystemQueue(_ queue: UnsafeRawBufferPointer) -> Bool {
        unsafe queue.count == 5 && queue.elementsEqual("_sys_".utf8)
    }

    /// Handles the UNSUB in `state.operation`.
    func unsubscribe(_ connection: UnsafeMutablePointer<Connection>) {
        let operation = unsafe state.pointee.operation
        if let interest = unsafe connection.pointee.interests[operation.sid] {
            if operation.maximum > 0, unsafe interest.pointee.delivered < operation.maximum {
                unsafe interest.pointee.maximum = operation.maximum
            } else {
                unsafe connection.pointee.interests[interest.pointee.sid] = nil
                unsafe forget(interest)
                if hasOtherLoops { unsafe connection.pointee.hasWorkElsewhere = true }
            }
        }
        if unsafe connection.pointee.isVerbose { unsafe sendOK(connection) }
    }

    /// Removes the subscriptions that got their last message in the fan-out that just ended.
    func removeFinished() {
        let finished = unsafe state.pointee.finished
        unsafe state.pointee.finished.removeAll(keepingCapacity: true)
        for index in unsafe finished.indices {
            let interest = unsafe finished[index]
            guard case .connection(let connection) = unsafe interest.pointee.taker,
                unsafe connection.pointee.interests[interest.pointee.sid] == interest
            else { continue }
            unsafe connection.pointee.interests[interest.pointee.sid] = nil
            unsafe forget(interest)
        }
    }

    /// Makes an interest of this loop known here and to the others.
    func register(
        _ taker: Interest.Taker, subject: [UInt8], queue: [UInt8], sid: [UInt8]
    ) -> InterestPointer {
        let id = unsafe InterestID(loop: index, number: state.pointee.nextInterest)
        unsafe state.pointee.nextInterest += 1
        let interest = InterestPointer.allocate(capacity: 1)
        unsafe interest.initialize(
            to: Interest(id: id, taker: taker, subject: subject, queue: queue, sid: sid))
        unsafe state.pointee.router.insert(interest)
        if hasOtherLoops {
            unsafe state.pointee.interestsByID[id] = unsafe interest
            var connection: ConnectionID?
            if case .connection(let taker) = taker { connection = unsafe taker.pointee.id }
            tellOthers(.insert(id: id, subject: subject, queue: queue, connection: connection))
        }
        return unsafe interest
    }

    /// Takes an interest of this loop away, here and on the others. It is freed at the end of the tick.
    func forget(_ interest: InterestPointer) {
        if traces { unsafe traceEnd(of: interest) }
        let id = unsafe interest.pointee.id
        unsafe state.pointee.router.remove(interest)
        if hasOtherLoops {
            unsafe state.pointee.interestsByID[id] = nil
            tellOthers(.remove(id: id))
        }
    }
}
