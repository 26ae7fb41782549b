import BrokerLog
import BrokerProtocol

// Connect, heartbeats, pings and the end of a client: nats-streaming.md §3.1, 3.2, 3.9, 3.10.
extension StreamingEngine {
    /// How long an old client has to prove that it lives when another wants its id.
    private var duplicateCheckTimeout: UInt64 { 500_000_000 }

    func client(withID id: [UInt8]) -> StreamingClient? {
        clientsByID[id].flatMap { clients[$0] }
    }

    // MARK: Connect

    func receiveConnect(reply: [UInt8], payload: UnsafeRawBufferPointer) {
        // The original asks for no more than some inbox, and publishes to whatever it is told.
        guard let request = unsafe ConnectRequest(decoding: payload), isInbox(request.heartbeatInbox) else {
            return send(connectError(StreamingErrorText.invalidConnectRequest), to: reply)
        }
        guard Subject.isValidClientID(request.clientID) else {
            return send(connectError(StreamingErrorText.invalidClientID), to: reply)
        }
        let record = ClientRecord(
            id: request.clientID, heartbeatInbox: request.heartbeatInbox,
            connectionID: request.connectionID, protocolVersion: request.protocolVersion,
            pingIntervalSeconds: request.pingIntervalSeconds, pingMaxOut: request.pingMaxOut)
        guard let old = client(withID: record.id) else { return register(record, reply: reply) }
        guard old.challenger == nil else {
            return send(connectError(StreamingErrorText.clientIDRegistered), to: reply)
        }
        let number = nextDuplicateCheck
        nextDuplicateCheck += 1
        old.challenger = StreamingClient.Challenger(request: record, reply: reply, number: number)
        let outcome = ask(old, token: "d\(old.serial)-\(number)")
        if outcome.receivers == 0 {
            replaceByChallenger(old)
        } else {
            schedule(
                .duplicateCheck(client: old.serial, number: number), at: now() &+ duplicateCheckTimeout)
        }
    }

    func duplicateCheckTimedOut(_ serial: UInt64, number: UInt64) {
        guard let old = clients[serial], old.challenger?.number == number else { return }
        replaceByChallenger(old)
    }

    private func replaceByChallenger(_ old: StreamingClient) {
        guard let challenger = old.challenger else { return }
        old.challenger = nil
        end(old)
        logger.debug(
            "STREAM: [Client:\(text(old.id))] Replaced old client (Inbox=\(text(challenger.request.heartbeatInbox)))"
        )
        register(challenger.request, reply: challenger.reply)
    }

    private func register(_ record: ClientRecord, reply: [UInt8]) {
        if let reason = log.closedReason { return send(connectError(reason), to: reply) }
        let client = add(record)
        let position = journal(.clientAdded(record))
        scheduleHeartbeat(of: client, at: now() &+ options.heartbeatIntervalNanoseconds)
        var response = ConnectResponse()
        response.publishPrefix = subjects.publishPrefix
        response.subscribeRequests = subjects.subscribe
        response.unsubscribeRequests = subjects.unsubscribe
        response.closeRequests = subjects.close
        response.subscriptionCloseRequests = subjects.subscriptionClose
        if record.protocolVersion >= 1 {
            response.pingRequests = subjects.ping
            response.pingIntervalSeconds = record.pingIntervalSeconds
            response.pingMaxOut = record.pingMaxOut
        }
        response.protocolVersion = 1
        hold(.connect(client: client.serial), response.encoded(), to: reply, until: position)
        logger.debug("STREAM: [Client:\(text(record.id))] Connected (Inbox=\(text(record.heartbeatInbox)))")
    }

    /// Indexes a client; of two with one connection id the last one owns it (§2.2).
    func add(_ record: ClientRecord) -> StreamingClient {
        let client = StreamingClient(record: record, serial: nextClientSerial)
        nextClientSerial += 1
        clients[client.serial] = client
        clientsByID[record.id] = client.serial
        if !record.connectionID.isEmpty { clientsByConnectionID[record.connectionID] = client.serial }
        return client
    }

    func connectError(_ error: String) -> [UInt8] {
        var response = ConnectResponse()
        response.error = Array(error.utf8)
        return response.encoded()
    }

    // MARK: Heartbeats

    /// Sends an empty request to the client; the answer comes to `receiveReply` with the token.
    private func ask(_ client: StreamingClient, token: String) -> DeliveryOutcome {
        let reply = replyPrefix + Array(token.utf8)
        return unsafe client.record.heartbeatInbox.withUnsafeBytes { subject in
            unsafe reply.withUnsafeBytes { reply in
                unsafe transport.publish(
                    subject: subject, reply: reply, payload: UnsafeRawBufferPointer(start: nil, count: 0))
            }
        }
    }

    func scheduleHeartbeat(of client: StreamingClient, at time: UInt64) {
        client.nextHeartbeat = time
        schedule(.heartbeat(client: client.serial), at: time)
    }

    func sendHeartbeat(to serial: UInt64, now: UInt64) {
        guard let client = clients[serial], client.heartbeatInFlight == nil, client.nextHeartbeat <= now
        else { return }
        let number = nextHeartbeat
        nextHeartbeat += 1
        client.heartbeatInFlight = number
        if ask(client, token: "h\(serial)-\(number)").receivers == 0 {
            heartbeatFailed(client, now: now)
        } else {
            schedule(
                .heartbeatTimeout(client: serial, number: number),
                at: now &+ options.heartbeatTimeoutNanoseconds)
        }
    }

    func heartbeatTimedOut(_ serial: UInt64, number: UInt64, now: UInt64) {
        guard let client = clients[serial], client.heartbeatInFlight == number else { return }
        heartbeatFailed(client, now: now)
    }

    private func heartbeatFailed(_ client: StreamingClient, now: UInt64) {
        client.heartbeatInFlight = nil
        client.failedHeartbeats += 1
        if client.failedHeartbeats > options.maxFailedHeartbeats {
            logger.error("STREAM: [Client:\(text(client.id))] Timed out on heartbeats")
            end(client)
            return
        }
        for id in client.subscriptions { subscriptions[id]?.member.hasFailedHeartbeat = true }
        scheduleHeartbeat(of: client, at: now &+ options.heartbeatIntervalNanoseconds)
    }

    /// An answer to a heartbeat (`h<serial>-<number>`) or to a duplicate check (`d<serial>-<number>`).
    func receiveReply(subject: [UInt8]) {
        let token = subject.dropFirst(replyPrefix.count)
        let numbers = token.dropFirst().split(separator: UInt8(ascii: "-")).map { UInt64(text(Array($0))) }
        guard let kind = token.first, numbers.count == 2, let serial = numbers[0], let number = numbers[1],
            let client = clients[serial]
        else { return }
        if kind == UInt8(ascii: "d") {
            guard let challenger = client.challenger, challenger.number == number else { return }
            client.challenger = nil
            send(connectError(StreamingErrorText.clientIDRegistered), to: challenger.reply)
            logger.debug("STREAM: [Client:\(text(client.id))] Connect failed; already connected")
        } else if client.heartbeatInFlight == number {
            client.heartbeatInFlight = nil
            client.failedHeartbeats = 0
            for id in client.subscriptions {
                guard let subscription = subscriptions[id] else { continue }
                subscription.member.hasFailedHeartbeat = false
                makeReady(subscription.consumer, in: subscription.channel)
            }
            scheduleHeartbeat(of: client, at: now() &+ options.heartbeatIntervalNanoseconds)
        }
    }

    // MARK: Pings

    func receivePing(reply: [UInt8], payload: UnsafeRawBufferPointer) {
        guard payload.count > 0, let ping = unsafe Ping(decoding: payload) else { return }
        var response = PingResponse()
        if let client = clientsByConnectionID[ping.connectionID].flatMap({ clients[$0] }) {
            if client.failedHeartbeats > 0 && client.heartbeatInFlight == nil {
                // It lives: a heartbeat now lets delivery resume at once.
                scheduleHeartbeat(of: client, at: now() &+ 1_000_000)
            }
        } else {
            response.error = Array(StreamingErrorText.replacedClient.utf8)
        }
        send(response.encoded(), to: reply)
    }

    // MARK: Close

    func receiveClose(reply: [UInt8], payload: UnsafeRawBufferPointer) {
        guard let request = unsafe CloseRequest(decoding: payload) else {
            return send(closeError(StreamingErrorText.invalidCloseRequest), to: reply)
        }
        guard let client = client(withID: request.clientID) else {
            return send(closeError(StreamingErrorText.unknownClientID), to: reply)
        }
        // Publishes and acknowledgements that came before it were taken in when they arrived: one
        // loop, one order. The response waits until they are on disk.
        let position = end(client)
        hold(.close, CloseResponse().encoded(), to: reply, until: position)
    }

    func closeError(_ error: String) -> [UInt8] {
        var response = CloseResponse()
        response.error = Array(error.utf8)
        return response.encoded()
    }

    /// Ends a client: it is unknown from now on, its durables are suspended and its other
    /// subscriptions deleted. Returns where the journal says so.
    @discardableResult
    func end(_ client: StreamingClient) -> LogPosition {
        let challenger = client.challenger
        forget(client)
        let ending = client.subscriptions.compactMap { subscriptions[$0] }
        for subscription in ending { detach(subscription, deletingDurable: false) }
        logger.debug(
            "STREAM: [Client:\(text(client.id))] Closed (Inbox=\(text(client.record.heartbeatInbox)))")
        let position = journal(.clientRemoved(id: client.id))
        if let challenger { register(challenger.request, reply: challenger.reply) }
        return position
    }

    /// Takes a client out of the indexes.
    func forget(_ client: StreamingClient) {
        client.challenger = nil
        clients[client.serial] = nil
        if clientsByID[client.id] == client.serial { clientsByID[client.id] = nil }
        let connection = client.record.connectionID
        if !connection.isEmpty, clientsByConnectionID[connection] == client.serial {
            clientsByConnectionID[connection] = nil
        }
    }
}
