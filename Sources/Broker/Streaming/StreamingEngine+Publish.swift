import BrokerLog
import BrokerProtocol

// Publish: nats-streaming.md §3.3.
extension StreamingEngine {
    /// Bytes in flight above which publishers are not read from.
    private var highWater: Int { 32 << 20 }
    /// Bytes in flight below which they are read from again.
    private var lowWater: Int { 16 << 20 }
    /// The longest time, in nanoseconds, that clients have after a pause until their clocks run again.
    private var longestGrace: UInt64 { 1_000_000_000 }

    func receivePublish(
        subject: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer
    ) {
        guard let message = unsafe PubMsg(decoding: payload) else {
            // A control message of the original's partitioning is decodable only as such.
            if unsafe ControlMessage.isControlMessage(payload) { return }
            return unsafe refusePublish(
                StreamingErrorText.invalidPublishRequest, guid: PubMsg.guid(ofMalformed: payload),
                reply: reply)
        }
        inMessages &+= 1
        inBytes &+= UInt64(payload.count)
        guard unsafe message.guid.count > 0, isRegistered(message),
            unsafe isPublishSubject(subject, ofChannel: message.subject),
            unsafe !isAdministrative(message.reply)
        else {
            return unsafe refusePublish(
                StreamingErrorText.invalidPublishRequest, guid: message.guid, reply: reply)
        }
        let channel: ChannelID
        do throws(ChannelRefused) {
            channel = unsafe try publishChannel(named: message.subject)
        } catch {
            return unsafe refusePublish(error.text, guid: message.guid, reply: reply)
        }
        do throws(AppendRefused) {
            let none = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
            let appended = unsafe try log.append(
                to: channel, wallClock: publishTime(), reply: message.reply, headers: none,
                payload: message.data)
            hasAppended = true
            unsafe acknowledgements.append(
                position: appended.position.rawValue, sequence: appended.sequence,
                channel: channel.rawValue, reply: reply, guid: message.guid)
            if traces {
                unsafe tracedPublishers.append(Array(message.clientID))
                unsafe logger.trace(
                    "STREAM: [Client:\(text(Array(message.clientID)))] Received message from publisher subj=\(text(Array(message.subject))) guid=\(text(Array(message.guid)))"
                )
            }
        } catch {
            if case .full = error { noteFull(error.description) }
            unsafe refusePublish(error.description, guid: message.guid, reply: reply)
        }
    }

    /// A consumer that answers such a reply would make a request with its own rights (as core NATS refuses it too).
    private func isAdministrative(_ reply: UnsafeRawBufferPointer) -> Bool {
        guard unsafe reply.first == UInt8(ascii: "$") else { return false }
        return unsafe reply.starts(with: ChannelRequest.prefix.utf8)
    }

    /// Nanoseconds since 1970, the same for every publish of a tick.
    private func publishTime() -> Int64 {
        if let tickTime { return tickTime }
        let time = clock.wall()
        tickTime = time
        return time
    }

    /// The connection id alone identifies a client when there is one (§3.3 step 4).
    private func isRegistered(_ message: PubMsg) -> Bool {
        if unsafe !message.connectionID.isEmpty {
            return unsafe clientsByConnectionID[message.connectionID] != nil
        }
        return unsafe clientsByID[message.clientID] != nil
    }

    /// The subject's end must be the channel, so that NATS permissions hold (§9.2 #3).
    private func isPublishSubject(_ subject: UnsafeRawBufferPointer, ofChannel name: UnsafeRawBufferPointer)
        -> Bool
    {
        let prefix = subjects.publishPrefix.count + 1
        guard subject.count == prefix + name.count else { return false }
        guard let start = subject.baseAddress, let other = name.baseAddress else { return false }
        return unsafe compareMemory(start + prefix, other, name.count)
    }

    /// The channel's id alone: to hold its object would count a reference for every message.
    private func publishChannel(named name: UnsafeRawBufferPointer) throws(ChannelRefused) -> ChannelID {
        if let id = unsafe channelsByName[name] { return ChannelID(rawValue: id) }
        guard unsafe Subject.isValidChannel(name) else {
            throw ChannelRefused(text: StreamingErrorText.invalidPublishRequest)
        }
        return unsafe try channel(named: Array(name)).id
    }

    private func refusePublish(_ error: String, guid: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer) {
        guard reply.count > 0 else { return }
        var error = error
        error.withUTF8 { error in
            unsafe acknowledge(PubAck(guid: guid, error: UnsafeRawBufferPointer(error)), to: reply)
        }
    }

    private func acknowledge(_ ack: PubAck, to reply: UnsafeRawBufferPointer) {
        guard reply.count > 0 else { return }
        let size = ack.encodedSize
        let memory = unsafe scratch.reserve(size)
        unsafe _ = ack.encode(into: memory)
        unsafe _ = transport.publish(
            subject: reply, reply: UnsafeRawBufferPointer(start: nil, count: 0),
            payload: UnsafeRawBufferPointer(memory))
    }

    // MARK: Durable

    /// Everything up to the log's durable position is on disk: it becomes visible, is delivered,
    /// and is acknowledged, in this order.
    func releaseDurable() {
        let durable = log.durable
        if fullReason != nil, let taken = unsafe acknowledgements.first,
            unsafe taken.position <= durable.rawValue
        {
            fullReason = nil
        }
        unsafe acknowledgements.forEach(upTo: durable.rawValue) { entry in
            guard let channel = unsafe channels[entry.channel] else { return }
            unsafe channel.lastSequence = max(channel.lastSequence, entry.sequence)
            if !channel.isDirty {
                channel.isDirty = true
                dirtyChannels.append(channel)
            }
        }
        for channel in dirtyChannels {
            channel.isDirty = false
            channelAdvanced(channel)
        }
        dirtyChannels.removeAll(keepingCapacity: true)
        releaseHeld(upTo: durable)
        if !isShuttingDown { _ = deliverReady() }
        while let entry = unsafe acknowledgements.first, unsafe entry.position <= durable.rawValue {
            unsafe acknowledge(PubAck(guid: entry.guid), to: entry.reply)
            if traces { unsafe traceAcknowledged(entry) }
            acknowledgements.removeFirst()
        }
    }

    private func channelAdvanced(_ channel: MessageChannel) {
        channel.lastActivity = now()
        for consumer in channel.consumers where consumer.lastSent < channel.lastSequence {
            makeReady(consumer, in: channel)
        }
        warnOfLimits(channel)
    }

    private func traceAcknowledged(_ entry: borrowing AcknowledgementQueue.Entry) {
        let client = tracedPublishers.isEmpty ? [] : tracedPublishers.removeFirst()
        let channel = unsafe channels[entry.channel]?.name ?? []
        let guid = unsafe Array(entry.guid)
        logger.trace(
            "STREAM: [Client:\(text(client))] Acking Publisher subj=\(text(channel)) guid=\(text(guid))")
    }

    private func releaseHeld(upTo durable: LogPosition) {
        while heldHead < held.count, held[heldHead].position <= durable {
            let response = held[heldHead]
            heldHead += 1
            send(response.payload, to: response.subject)
            if case .subscribe(let id, let ackInbox) = response.request { activate(id, ackInbox: ackInbox) }
        }
        if heldHead == held.count {
            held.removeAll(keepingCapacity: true)
            heldHead = 0
        }
    }

    // MARK: A log that refuses

    /// The batch could not be written: what it held takes no sequence and is answered with an error.
    func refusePublishes(_ reason: String) {
        let durable = log.durable.rawValue
        // What became durable before the refusal is released in the usual order first.
        releaseDurable()
        while let entry = unsafe acknowledgements.first {
            precondition(unsafe entry.position > durable, "durable entries were released above")
            unsafe refusePublish(reason, guid: entry.guid, reply: entry.reply)
            acknowledgements.removeFirst()
        }
        tracedPublishers.removeAll()
        noteFull(reason)
        logger.error("STREAM: Publishes are refused: \(reason)")
    }

    private func noteFull(_ reason: String) {
        fullReason = reason
        lastRefusal = now()
    }

    /// The log takes no more writes: whoever waits for the disk is told.
    func storeClosed(_ reason: String) {
        refusePublishes(reason)
        let waiting = held[heldHead...]
        held.removeAll()
        heldHead = 0
        for response in waiting { answer(response, failed: reason) }
    }

    /// Answers a request whose change will never be on disk. A close succeeds all the same (§3.0):
    /// for its client there is nothing left to do.
    func answer(_ response: HeldResponse, failed reason: String) {
        switch response.request {
        case .connect(let serial):
            send(connectError(reason), to: response.subject)
            if let client = clients[serial] { forget(client) }
        case .subscribe(let id, let ackInbox):
            send(subscriptionError(reason), to: response.subject)
            if let subscription = subscription(id, ackInbox: ackInbox) { abandon(subscription) }
        case .unsubscribe: send(subscriptionError(reason), to: response.subject)
        case .close: send(response.payload, to: response.subject)
        case .administration(let channel):
            send(ChannelAnswer.refused(channel, reason), to: response.subject)
        }
    }

    /// Takes back a subscription that could not be stored; a durable is offline as before.
    private func abandon(_ subscription: Subscription) {
        discard(subscription)
        guard subscription.member.isProvisional else { return }
        if subscription.consumer.members.count > 1 {
            _ = subscription.consumer.remove(subscription.member, now: now())
        } else {
            subscription.channel.remove(subscription.consumer, durableKey: subscription.durableKey)
        }
    }

    // MARK: Back-pressure

    /// Bytes that wait for the disk: in the journal, and in memory to be acknowledged.
    private var bytesInFlight: Int { log.bytesInFlight + acknowledgements.bytes }

    func pausePublishersIfFull() {
        guard !publishersArePaused, bytesInFlight > highWater else { return }
        publishersArePaused = true
        pauseStart = now()
        graceLeft = clientClocksStart > pauseStart ? clientClocksStart - pauseStart : 0
        transport.pausePublishers()
    }

    func resumePublishersIfDrained() {
        guard bytesInFlight < lowWater else { return }
        publishersArePaused = false
        startClientClocks()
        transport.resumePublishers()
    }

    /// Puts off a timer of a client until what the client sent during the pause was read.
    func putOff(_ timer: Timer) {
        if publishersArePaused {
            stoppedTimers.append(timer)
        } else {
            schedule(timer, at: clientClocksStart)
        }
    }

    /// The pause is over: answers and acknowledgements that lie in the sockets are read before a timer acts.
    /// Where one pause follows on another, the time for that goes on where it was: the clocks run again at last,
    /// however short the times between are.
    private func startClientClocks() {
        let now = now()
        clientClocksStart = now &+ (graceLeft > 0 ? graceLeft : min((now &- pauseStart) / 4, longestGrace))
        for timer in stoppedTimers { schedule(timer, at: clientClocksStart) }
        stoppedTimers.removeAll()
    }
}
