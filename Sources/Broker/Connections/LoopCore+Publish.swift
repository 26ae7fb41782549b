import BrokerProtocol

/// A message on its way to subscribers: the bytes that follow the subject and the sid, in two parts so
/// that a client's own bytes can be sent on as they are.
@safe struct OutgoingMessage {
    /// What of the line comes before `body`; empty when `body` has all of it.
    var head: UnsafeRawBufferPointer
    /// The rest of the line, and header block and payload.
    var body: UnsafeRawBufferPointer
    /// `HMSG` for those who understand it.
    var hasHeaders: Bool
    /// The same for those who do not; only when `hasHeaders`.
    var strippedHead: UnsafeRawBufferPointer
    var strippedBody: UnsafeRawBufferPointer
    /// Bytes that count: header block and payload.
    var size: Int
    var strippedSize: Int
}

/// Routing and fan-out (nats-core.md 1.8, 3).
extension LoopCore {
    /// Handles the publish in `state.operation`.
    @inline(__always)
    func publish(_ publisher: UnsafeMutablePointer<Connection>) {
        let subject = unsafe state.pointee.operation.subject
        let reply = unsafe state.pointee.operation.reply
        unsafe publisher.pointee.keepAlive.lastActivity = unsafe state.pointee.now
        if traces { unsafe traceOperation(publisher) }
        if unsafe state.pointee.operation.headerSize >= 0, unsafe !publisher.pointee.takesHeaders {
            logger.error(unsafe "\(publisher.pointee.label) - message headers not supported")
            unsafe finish(publisher, .protocolViolation)
            return
        }
        if unsafe mayBeReserved(reply) || mayBeReserved(subject),
            unsafe refuseReserved(publisher, subject, reply)
        {
            return
        }
        unsafe state.pointee.counters.inMessages &+= 1
        unsafe state.pointee.counters.inBytes &+= UInt64(state.pointee.operation.payload.count)
        if unsafe publisher.pointee.isPedantic, unsafe !Subject.isValidLiteral(subject) {
            unsafe sendError(ErrorText.invalidPublishSubject, to: publisher)
        }
        if unsafe publisher.pointee.isVerbose { unsafe sendOK(publisher) }

        let route: UnsafeMutablePointer<Route>
        if let last = unsafe publisher.pointee.lastRoute,
            unsafe publisher.pointee.lastRouteEpoch == state.pointee.router.epoch,
            unsafe last.pointee.generation == state.pointee.router.generation,
            unsafe Router.isEqual(last.pointee.subject, subject)
        {
            unsafe route = unsafe last
        } else {
            unsafe route = unsafe state.pointee.router.route(subject)
            unsafe publisher.pointee.lastRoute = unsafe route
            unsafe publisher.pointee.lastRouteEpoch = unsafe state.pointee.router.epoch
        }
        if unsafe route.pointee.isEmpty {
            if unsafe publisher.pointee.wantsNoResponders, reply.count > 0 {
                unsafe sendNoResponders(publisher)
            }
            return
        }
        let outcome = unsafe fanOut(route, from: publisher)
        if outcome.receivers == 0, unsafe publisher.pointee.wantsNoResponders, reply.count > 0 {
            unsafe sendNoResponders(publisher)
        }
    }

    /// True for what begins with `_` or `$`, as every reserved subject does.
    @inline(__always)
    private func mayBeReserved(_ subject: UnsafeRawBufferPointer) -> Bool {
        guard subject.count > 0 else { return false }
        let first = unsafe subject[0]
        return first == UInt8(ascii: "_") || first == UInt8(ascii: "$")
    }

    /// Refuses a publish into a namespace of the server (nats-core.md 3.9).
    private func refuseReserved(
        _ publisher: UnsafeMutablePointer<Connection>, _ subject: UnsafeRawBufferPointer,
        _ reply: UnsafeRawBufferPointer
    ) -> Bool {
        if unsafe starts(subject, with: "_GR_.") || starts(subject, with: "$NRG.") {
            unsafe sendError(ErrorText.publishViolation(subject), to: publisher)
            return true
        }
        if unsafe starts(reply, with: "_R_.") || starts(reply, with: "_GR_.")
            || starts(reply, with: "$JS.ACK.")
        {
            unsafe sendError(ErrorText.replyViolation(reply), to: publisher)
            return true
        }
        guard unsafe !publisher.pointee.isAdministrator else { return false }
        // Whoever answers may have the right: an answer must not become a request.
        if unsafe isAdministrative(reply) {
            unsafe sendError(ErrorText.replyViolation(reply), to: publisher)
            return true
        }
        if unsafe isAdministrative(subject) {
            unsafe sendError(ErrorText.publishViolation(subject), to: publisher)
            if reply.count > 0 { unsafe refuseRequest(reply) }
            return true
        }
        return false
    }

    /// Answers a request about a channel that its client has no right to make.
    private func refuseRequest(_ reply: UnsafeRawBufferPointer) {
        var json = JSONWriter()
        json.beginObject()
        json.field("error", ErrorText.noAdministrator)
        json.endObject()
        unsafe json.bytes.withUnsafeBytes { answer in
            unsafe _ = publish(
                subject: reply, reply: UnsafeRawBufferPointer(start: nil, count: 0), payload: answer)
        }
    }

    /// True for the subjects of requests that delete and purge channels.
    @inline(__always)
    func isAdministrative(_ subject: UnsafeRawBufferPointer) -> Bool {
        unsafe mayBeReserved(subject) && starts(subject, with: "$BROKER.API.")
    }

    private func starts(_ subject: UnsafeRawBufferPointer, with prefix: StaticString) -> Bool {
        guard subject.count >= prefix.utf8CodeUnitCount, let base = subject.baseAddress else { return false }
        return unsafe compareMemory(base, prefix.utf8Start, prefix.utf8CodeUnitCount)
    }

    // MARK: Fan-out

    /// Delivers the publish in `state.operation` to everyone on `route`; the engine comes last, when
    /// nothing of the route is needed any more.
    @inline(__always)
    func fanOut(
        _ route: UnsafeMutablePointer<Route>, from publisher: UnsafeMutablePointer<Connection>?
    ) -> DeliveryOutcome {
        let message = outgoingMessage()
        var outcome = DeliveryOutcome(receivers: 0, congested: false)
        let plain = unsafe route.pointee.plain
        let localCount = unsafe route.pointee.localCount
        var index = 0
        while index < localCount {
            if unsafe deliver(message, to: plain[index], from: publisher, &outcome) {
                outcome.receivers &+= 1
            }
            index &+= 1
        }
        if index < plain.count {
            outcome.receivers += plain.count - index
            unsafe sendAcross(plain, from: index, publisher)
            if unsafe publisher == nil, unsafe isCongestedElsewhere(plain, from: index) {
                outcome.congested = true
            }
        }
        if unsafe route.pointee.groupEnds.count > 0 {
            unsafe deliverToGroups(route, message, from: publisher, &outcome)
        }
        if unsafe !state.pointee.finished.isEmpty { removeFinished() }
        if unsafe route.pointee.tags.count > 0 {
            unsafe outcome.receivers += route.pointee.tags.count
            unsafe deliverToEngine(route, from: publisher)
        }
        return outcome
    }

    @inline(__always)
    private func deliver(
        _ message: OutgoingMessage, to target: Target, from publisher: UnsafeMutablePointer<Connection>?,
        _ outcome: inout DeliveryOutcome
    ) -> Bool {
        guard let receiver = unsafe target.connection else { return false }
        if unsafe receiver == publisher, unsafe !receiver.pointee.echoes { return false }
        guard unsafe receiver.pointee.phase == .open else { return false }
        let interest = unsafe target.interest
        if unsafe interest.pointee.maximum > 0 {
            if unsafe interest.pointee.delivered >= interest.pointee.maximum { return false }
            if unsafe interest.pointee.delivered + 1 == interest.pointee.maximum {
                unsafe state.pointee.finished.append(interest)
            }
        }
        unsafe interest.pointee.delivered &+= 1
        let isWritten: Bool
        if !message.hasHeaders {
            isWritten = unsafe receiver.pointee.output.appendFrame(
                prefix: target.prefix + 1, prefixCount: target.prefixCount &- 1, head: message.head,
                body: message.body, chunks: chunkPool, maximumPending: options.maxPending)
            unsafe state.pointee.counters.outBytes &+= UInt64(message.size)
        } else if unsafe receiver.pointee.takesHeaders {
            isWritten = unsafe receiver.pointee.output.appendFrame(
                prefix: target.prefix, prefixCount: target.prefixCount, head: message.head,
                body: message.body, chunks: chunkPool, maximumPending: options.maxPending)
            unsafe state.pointee.counters.outBytes &+= UInt64(message.size)
        } else {
            isWritten = unsafe receiver.pointee.output.appendFrame(
                prefix: target.prefix + 1, prefixCount: target.prefixCount &- 1, head: message.strippedHead,
                body: message.strippedBody, chunks: chunkPool, maximumPending: options.maxPending)
            unsafe state.pointee.counters.outBytes &+= UInt64(message.strippedSize)
        }
        unsafe state.pointee.counters.outMessages &+= 1
        guard isWritten else {
            unsafe cutOff(receiver, .slowConsumerPending)
            // Nobody has the message: another member of the group may take it, the engine sends it again.
            return false
        }
        if traces { unsafe traceDelivery(receiver, target, message) }
        if unsafe !receiver.pointee.isDirty { unsafe markDirty(receiver) }
        // What the engine sends within a tick is bounded too: nothing of it is written before its end.
        if unsafe receiver.pointee.isWriting
            || (publisher == nil && receiver.pointee.output.pending > Self.congestion)
        {
            unsafe checkPressure(receiver, publisher, &outcome)
        }
        return true
    }

    /// Below a receiver with much pending: slows the publisher down, or tells the engine.
    @inline(never)
    private func checkPressure(
        _ receiver: UnsafeMutablePointer<Connection>, _ publisher: UnsafeMutablePointer<Connection>?,
        _ outcome: inout DeliveryOutcome
    ) {
        let pending = unsafe receiver.pointee.output.pending
        switch unsafe (publisher, state.pointee.deliversFor) {
        case (let publisher?, _):
            if pending > options.maxPending / 4 * 3, unsafe publisher != receiver {
                let pause: UInt64 = pending >= options.maxPending ? 5_000_000 : 2_000_000
                unsafe publisher.pointee.stall = min(publisher.pointee.stall + pause, Self.longestStall)
            }
        case (nil, .otherLoop(let publisher?)):
            if pending > options.maxPending / 4 * 3, unsafe state.pointee.lastToldToStall != publisher {
                // Once a tick is enough.
                unsafe state.pointee.lastToldToStall = publisher
                tell(Int(publisher.loop), .stall(connection: publisher))
            }
        case (nil, .thisLoop), (nil, .otherLoop(nil)):
            guard pending > Self.congestion else { return }
            outcome.congested = true
            guard unsafe !receiver.pointee.isReportedCongested else { return }
            unsafe receiver.pointee.isReportedCongested = true
            if index != 0 { unsafe tell(0, .congested(connection: receiver.pointee.id)) }
        }
    }

    /// True when one of the engine's receivers on other loops has too much pending, or its loop too much to take over.
    func isCongestedElsewhere(_ targets: UnsafeMutableBufferPointer<Target>, from first: Int) -> Bool {
        for position in first..<targets.count {
            let loop = unsafe targets[position].id.loop
            if engineBytes[loop] > Self.congestion { return true }
            if case .remote(let connection?) = unsafe targets[position].interest.pointee.taker,
                unsafe state.pointee.congestedElsewhere.contains(connection)
            {
                return true
            }
        }
        return false
    }

    /// The most that one read of a publisher earns: 10 ms.
    static let longestStall: UInt64 = 10_000_000

    /// Above this an inbox gets no new message of the streaming engine.
    static let congestion = 4 << 20

    /// One member of each group, from a random one on until one takes it (nats-core.md 3.3).
    private func deliverToGroups(
        _ route: UnsafeMutablePointer<Route>, _ message: OutgoingMessage,
        from publisher: UnsafeMutablePointer<Connection>?, _ outcome: inout DeliveryOutcome
    ) {
        let members = unsafe route.pointee.members
        var start = 0
        for index in unsafe route.pointee.groupEnds.indices {
            let end = unsafe route.pointee.groupEnds[index]
            let count = end - start
            let first = unsafe count > 1 ? Int.random(in: 0..<count, using: &state.pointee.random) : 0
            for step in 0..<count {
                let position = start + (first + step) % count
                let target = unsafe members[position]
                if unsafe target.connection == nil {
                    unsafe sendAcross(members, at: position, publisher)
                    outcome.receivers += 1
                    break
                }
                if unsafe deliver(message, to: target, from: publisher, &outcome) {
                    outcome.receivers += 1
                    break
                }
            }
            start = end
        }
    }

    private func deliverToEngine(
        _ route: UnsafeMutablePointer<Route>, from publisher: UnsafeMutablePointer<Connection>?
    ) {
        let operation = unsafe state.pointee.operation
        unsafe publisher?.pointee.publishesToEngine = true
        let headers = max(operation.headerSize, 0)
        let payload = unsafe UnsafeRawBufferPointer(rebasing: operation.payload[headers...])
        if let publisher = unsafe publisher, unsafe state.pointee.publishersArePaused {
            unsafe pause(publisher, .engine)
        }
        if unsafe route.pointee.tags.count == 1 {
            unsafe deliverToEngine(
                tag: route.pointee.tags[0], subject: operation.subject, reply: operation.reply,
                payload: payload)
        } else {
            // The engine may publish and so change the route.
            for tag in unsafe Array(route.pointee.tags) {
                unsafe deliverToEngine(
                    tag: tag, subject: operation.subject, reply: operation.reply, payload: payload)
            }
        }
    }

    func deliverToEngine(
        tag: UInt64, subject: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        guard let engine = unsafe uncountedEngine else { return }
        guard unsafe !state.pointee.isInEngine else {
            unsafe state.pointee.deferredEngineMessages.append(
                DeferredEngineMessage(
                    tag: tag, subject: Array(subject), reply: Array(reply), payload: Array(payload)))
            return
        }
        unsafe engine._withUnsafeGuaranteedRef { engine in
            inEngine { unsafe engine.receive(tag, subject, reply, payload) }
        }
    }

    /// Delivers the publish in `state.operation`, which came from another loop, to a connection of this loop.
    func deliverHere(to interest: InterestPointer) -> Bool {
        guard case .connection = unsafe interest.pointee.taker else { return false }
        let prefix = unsafe linePrefix(of: interest)
        return unsafe prefix.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return false }
            var outcome = DeliveryOutcome.none
            let target = unsafe Target(
                interest: interest, connection: interest.pointee.connection, prefix: start,
                prefixCount: bytes.count, id: interest.pointee.id)
            return unsafe deliver(outgoingMessage(), to: target, from: nil, &outcome)
        }
    }

    private func linePrefix(of interest: InterestPointer) -> [UInt8] {
        var bytes = Array("HMSG ".utf8)
        unsafe bytes.append(contentsOf: state.pointee.operation.subject)
        bytes.append(0x20)
        unsafe bytes.append(contentsOf: interest.pointee.sid)
        bytes.append(0x20)
        return bytes
    }

    // MARK: The bytes

    /// What of the publish in `state.operation` follows subject and sid. Valid until the next publish.
    @inline(__always)
    func outgoingMessage() -> OutgoingMessage {
        let empty = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        if unsafe state.pointee.operation.headerSize <= 0, unsafe state.pointee.operation.tail.count > 0,
            unsafe state.pointee.operation.headerSize < 0
        {
            return unsafe OutgoingMessage(
                head: empty, body: state.pointee.operation.tail, hasHeaders: false, strippedHead: empty,
                strippedBody: empty, size: state.pointee.operation.payload.count, strippedSize: 0)
        }
        return rewrittenMessage()
    }

    /// The same where the client's line cannot be sent on: other blanks, or a header block that some
    /// receivers must not see.
    @inline(never)
    private func rewrittenMessage() -> OutgoingMessage {
        let operation = unsafe state.pointee.operation
        let empty = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        let total = unsafe operation.payload.count
        let headers = operation.headerSize
        guard headers > 0 else {
            unsafe writeHead(
                &state.pointee.scratch, operation.reply, sizes: headers < 0 ? operation.sizes : empty,
                headerSize: -1, total)
            return unsafe OutgoingMessage(
                head: state.pointee.scratch.bytes, body: operation.payload, hasHeaders: false,
                strippedHead: empty, strippedBody: empty, size: total, strippedSize: 0)
        }
        unsafe writeHead(
            &state.pointee.strippedScratch, operation.reply, sizes: empty, headerSize: -1, total - headers)
        var message = unsafe OutgoingMessage(
            head: empty, body: operation.tail, hasHeaders: true,
            strippedHead: state.pointee.strippedScratch.bytes,
            strippedBody: UnsafeRawBufferPointer(rebasing: operation.payload[headers...]), size: total,
            strippedSize: total - headers)
        if unsafe operation.tail.count == 0 {
            unsafe writeHead(
                &state.pointee.scratch, operation.reply, sizes: operation.sizes, headerSize: headers, total)
            unsafe message.head = unsafe state.pointee.scratch.bytes
            unsafe message.body = unsafe operation.payload
        }
        return message
    }

    /// `[reply ]`, then the sizes as received with single blanks, or written anew if there are none: `headerSize`
    /// unless it is negative, and `total`; CR LF.
    private func writeHead(
        _ store: inout ByteStore, _ reply: UnsafeRawBufferPointer, sizes: UnsafeRawBufferPointer,
        headerSize: Int, _ total: Int
    ) {
        store.removeAll()
        if reply.count > 0 {
            unsafe store.append(reply)
            store.append(0x20)
        }
        if sizes.count > 0 {
            var previousWasBlank = false
            for index in sizes.indices {
                let byte = unsafe sizes[index]
                let isBlank = byte <= 0x20
                if !isBlank { store.append(byte) } else if !previousWasBlank { store.append(0x20) }
                previousWasBlank = isBlank
            }
        } else {
            if headerSize >= 0 {
                store.append(decimal: headerSize)
                store.append(0x20)
            }
            store.append(decimal: total)
        }
        store.append(0x0D)
        store.append(0x0A)
    }

    // MARK: No responders

    /// Tells the publisher that nobody got its request (nats-core.md 3.6).
    private func sendNoResponders(_ publisher: UnsafeMutablePointer<Connection>) {
        let operation = unsafe state.pointee.operation
        let takers = unsafe state.pointee.router.matches(operation.reply)
        for index in unsafe takers.indices {
            let interest = unsafe takers[index]
            guard case .connection(let taker) = unsafe interest.pointee.taker, unsafe taker == publisher,
                unsafe interest.pointee.queue.isEmpty
            else { continue }
            let size = unsafe 32 + operation.subject.count
            var bytes = ByteStore()
            func add(_ text: String) { for byte in text.utf8 { bytes.append(byte) } }
            add("HMSG ")
            unsafe bytes.append(operation.reply)
            bytes.append(0x20)
            for byte in unsafe interest.pointee.sid { bytes.append(byte) }
            add(" \(size) \(size)\r\nNATS/1.0 503\r\nNats-Subject: ")
            unsafe bytes.append(operation.subject)
            add("\r\n\r\n\r\n")
            unsafe send(bytes.bytes, to: publisher)
            return
        }
    }
}
