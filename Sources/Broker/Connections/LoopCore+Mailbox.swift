import BrokerProtocol

/// Work that goes from loop to loop, once per tick and in order. With one loop none of this runs.
extension LoopCore {
    // MARK: Sending

    /// Adds `entry` to what every other loop gets at the end of the tick.
    func tellOthers(_ entry: MailboxEntry) {
        beginTick()
        for other in outgoing.indices where other != index { outgoing[other].batch.entries.append(entry) }
    }

    func tell(_ loop: Int, _ entry: MailboxEntry) {
        beginTick()
        outgoing[loop].batch.entries.append(entry)
    }

    /// Sends the publish in `state.operation` to the targets from `first` on, which are of other loops and
    /// ordered by loop.
    func sendAcross(
        _ targets: UnsafeMutableBufferPointer<Target>, from first: Int,
        _ publisher: UnsafeMutablePointer<Connection>?
    ) {
        var start = first
        while start < targets.count {
            let loop = unsafe targets[start].id.loop
            var end = start
            while end < targets.count, unsafe targets[end].id.loop == loop { end += 1 }
            unsafe send(targets, start..<end, to: loop, queue: [], publisher)
            start = end
        }
    }

    /// Sends the publish in `state.operation` to one member of a queue group on another loop.
    func sendAcross(
        _ members: UnsafeMutableBufferPointer<Target>, at position: Int,
        _ publisher: UnsafeMutablePointer<Connection>?
    ) {
        unsafe send(
            members, position..<position + 1, to: members[position].id.loop,
            queue: members[position].interest.pointee.queue, publisher)
    }

    private func send(
        _ targets: UnsafeMutableBufferPointer<Target>, _ range: Range<Int>, to loop: Int, queue: [UInt8],
        _ publisher: UnsafeMutablePointer<Connection>?
    ) {
        let parcel = outgoing[loop]
        let firstTarget = parcel.batch.targets.count
        for position in range {
            unsafe parcel.batch.targets.append(targets[position].id)
            if case .remote(nil) = unsafe targets[position].interest.pointee.taker {
                unsafe publisher?.pointee.publishesToEngine = true
                if let publisher = unsafe publisher, unsafe state.pointee.publishersArePaused {
                    unsafe pause(publisher, .engine)
                }
            }
        }
        let bytesBefore = parcel.batch.bytes.count
        unsafe enclose(in: parcel, targetsFrom: firstTarget, queue: queue, publisher?.pointee.id)
        guard let publisher = unsafe publisher else {
            if engine != nil { noteSentByEngine(parcel.batch.bytes.count - bytesBefore, to: loop) }
            return
        }
        unsafe publisher.pointee.hasWorkElsewhere = true
        // What one tick may gather for a loop is bounded too.
        if mailboxesAreFull || parcel.batch.bytes.count > Mailbox.fullBytes {
            unsafe publisher.pointee.stall = Self.longestStall
        }
    }

    /// All of it may be for one connection, which can tell how much it has pending only when its loop has taken it
    /// over: beyond what congests a connection the engine waits for that.
    private func noteSentByEngine(_ bytes: Int, to loop: Int) {
        let sentBefore = engineBytes[loop]
        engineBytes[loop] = sentBefore + bytes
        if sentBefore <= Self.congestion, engineBytes[loop] > Self.congestion { tell(loop, .engineWaits) }
    }

    /// Puts the publish in `state.operation` into `parcel`, for the targets that were added last.
    private func enclose(
        in parcel: Mailbox.Parcel, targetsFrom firstTarget: Int, queue: [UInt8], _ publisher: ConnectionID?
    ) {
        beginTick()
        let operation = unsafe state.pointee.operation
        let delivery = unsafe MailboxEntry.Delivery(
            publisher: publisher, firstTarget: firstTarget,
            targetCount: parcel.batch.targets.count - firstTarget, queue: queue,
            offset: parcel.batch.bytes.count, subjectCount: operation.subject.count,
            replyCount: operation.reply.count, payloadCount: operation.payload.count,
            headerSize: operation.headerSize)
        unsafe parcel.batch.bytes.append(operation.subject)
        unsafe parcel.batch.bytes.append(operation.reply)
        unsafe parcel.batch.bytes.append(operation.payload)
        parcel.batch.entries.append(.deliver(delivery))
    }

    /// Hands everything gathered in this tick to the other loops.
    func handOver() {
        mailboxesAreFull = false
        // The broker has ended and nobody is there to take anything.
        guard !peers.isEmpty else { return }
        for other in outgoing.indices where other != index && !outgoing[other].batch.isEmpty {
            let parcel = outgoing[other]
            outgoing[other] = Mailbox.Parcel(MailboxBatch())
            let receiver = LoopReference(core: peers[other])
            let (wasEmpty, isFull) = receiver.core.mailbox.post(parcel)
            if isFull { mailboxesAreFull = true }
            if wasEmpty {
                receiver.core.eventLoop.execute { receiver.core.beginTick() }
            }
        }
    }

    // MARK: Receiving

    /// Takes over what the other loops sent, before anything is read from sockets.
    func drainMailbox() {
        for parcel in mailbox.takeAll() {
            for entry in parcel.batch.entries { take(entry, of: parcel) }
        }
    }

    private func take(_ entry: MailboxEntry, of parcel: Mailbox.Parcel) {
        switch entry {
        case .insert(let id, let subject, let queue, let connection):
            let interest = InterestPointer.allocate(capacity: 1)
            unsafe interest.initialize(
                to: Interest(
                    id: id, taker: .remote(connection), subject: subject, queue: queue, sid: []))
            unsafe state.pointee.interestsByID[id] = unsafe interest
            unsafe state.pointee.router.insert(interest)
        case .remove(let id):
            guard let interest = unsafe state.pointee.interestsByID.removeValue(forKey: id) else { return }
            unsafe state.pointee.router.remove(interest)
        case .deliver(let delivery): take(delivery, of: parcel)
        case .fence(let connection):
            tell(Int(connection.loop), .fenceReached(connection: connection))
        case .fenceReached(let connection): fenceReached(connection)
        case .stall(let id):
            guard let connection = unsafe state.pointee.connections.find(id) else { return }
            unsafe connection.pointee.stall = Self.longestStall
            if unsafe connection.pointee.phase == .open { unsafe beginStall(connection) }
        case .congested(let connection): unsafe state.pointee.congestedElsewhere.insert(connection)
        case .congestionEnded(let connection):
            unsafe state.pointee.congestedElsewhere.remove(connection)
            unsafe state.pointee.congestionHasEnded = engine != nil
        case .engineWaits: tell(0, .engineGoesOn(loop: index))
        case .engineGoesOn(let loop):
            engineBytes[loop] = 0
            unsafe state.pointee.congestionHasEnded = engine != nil
        case .pausePublishers: setPublishersPaused(true)
        case .resumePublishers: setPublishersPaused(false)
        }
    }

    private func take(_ delivery: MailboxEntry.Delivery, of parcel: Mailbox.Parcel) {
        let bytes = unsafe parcel.batch.bytes.bytes
        var offset = delivery.offset
        func next(_ count: Int) -> UnsafeRawBufferPointer {
            defer { offset += count }
            return unsafe UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
        }
        let empty = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        unsafe state.pointee.operation.kind = .publish
        unsafe state.pointee.operation.subject = unsafe next(delivery.subjectCount)
        unsafe state.pointee.operation.reply = unsafe next(delivery.replyCount)
        unsafe state.pointee.operation.payload = unsafe next(delivery.payloadCount)
        unsafe state.pointee.operation.headerSize = delivery.headerSize
        unsafe state.pointee.operation.tail = unsafe empty
        unsafe state.pointee.operation.sizes = unsafe empty
        unsafe state.pointee.deliversFor = .otherLoop(delivery.publisher)
        var isForEngine = false
        for position in delivery.firstTarget..<delivery.firstTarget + delivery.targetCount {
            let interest = unsafe state.pointee.interestsByID[parcel.batch.targets[position]]
            if let interest = unsafe interest, case .engine = unsafe interest.pointee.taker {
                isForEngine = true
                continue
            }
            let isTaken = unsafe interest.map { unsafe deliverHere(to: $0) } ?? false
            if !isTaken, !delivery.queue.isEmpty {
                deliverToAnotherMember(of: delivery.queue, for: delivery.publisher)
            }
        }
        if unsafe !state.pointee.finished.isEmpty { removeFinished() }
        unsafe state.pointee.deliversFor = .thisLoop
        guard isForEngine else { return }
        // The engine comes last, as in `fanOut`: what it publishes takes the operation's place.
        let operation = unsafe state.pointee.operation
        let headers = max(operation.headerSize, 0)
        let payload = unsafe UnsafeRawBufferPointer(rebasing: operation.payload[headers...])
        for position in delivery.firstTarget..<delivery.firstTarget + delivery.targetCount {
            guard let interest = unsafe state.pointee.interestsByID[parcel.batch.targets[position]],
                case .engine(let tag) = unsafe interest.pointee.taker
            else { continue }
            unsafe deliverToEngine(
                tag: tag, subject: operation.subject, reply: operation.reply, payload: payload)
        }
    }

    /// The member that the publishing loop chose is gone: another of its group takes over, one of this loop
    /// if there is one.
    private func deliverToAnotherMember(of queue: [UInt8], for publisher: ConnectionID?) {
        let candidates = unsafe state.pointee.router.matches(state.pointee.operation.subject)
        for index in unsafe candidates.indices {
            let interest = unsafe candidates[index]
            guard unsafe interest.pointee.queue == queue else { continue }
            if case .connection = unsafe interest.pointee.taker, unsafe deliverHere(to: interest) { return }
        }
        for index in unsafe candidates.indices {
            let interest = unsafe candidates[index]
            guard unsafe interest.pointee.queue == queue else { continue }
            if case .remote = unsafe interest.pointee.taker {
                let parcel = unsafe outgoing[interest.pointee.id.loop]
                unsafe parcel.batch.targets.append(interest.pointee.id)
                enclose(
                    in: parcel, targetsFrom: parcel.batch.targets.count - 1, queue: queue, publisher)
                return
            }
        }
    }

    // MARK: Fences

    /// Holds the connection's PONG back until every other loop has taken over what it sent before.
    func beginFence(_ connection: UnsafeMutablePointer<Connection>) {
        unsafe connection.pointee.hasWorkElsewhere = false
        unsafe state.pointee.fences[connection.pointee.id] = outgoing.count - 1
        unsafe pause(connection, .fence)
        unsafe tellOthers(.fence(connection: connection.pointee.id))
    }

    private func fenceReached(_ id: ConnectionID) {
        guard let missing = unsafe state.pointee.fences[id] else { return }
        guard missing == 1 else {
            unsafe state.pointee.fences[id] = missing - 1
            return
        }
        unsafe state.pointee.fences[id] = nil
        guard let connection = unsafe state.pointee.connections.find(id),
            unsafe connection.pointee.phase == .open
        else {
            return
        }
        unsafe sendPong(connection)
        unsafe resume(connection, .fence)
    }
}
