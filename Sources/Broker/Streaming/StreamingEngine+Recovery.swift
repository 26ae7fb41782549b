import BrokerLog
import BrokerProtocol

// What survives a restart: nats-streaming.md §3.11.
extension StreamingEngine {
    /// Builds the state that the log recovered. Called once, before anything is listened on.
    func recover() {
        for id in log.channels {
            guard let name = log.name(of: id), let info = log.info(of: id) else { continue }
            let channel = add(MessageChannel(id: id, name: name))
            channel.lastSequence = info.lastSequence
            log.setLimits(channelLimits, of: id)
        }
        var state = RecoveredState()
        let recovered = log.recoveredState
        for block in [recovered.snapshot ?? []] + recovered.records where !state.replay(block) {
            logger.error(
                "STREAM: A state record of \(block.count) bytes could not be read; what it said is lost")
        }
        if let persisted = state.subjects {
            // Clients connected before the restart go on with these, whatever the options say.
            subjects = persisted
        } else {
            journal(.subjects(subjects))
        }
        log.releaseRecoveredState()
        _ = clockSteps.observe(wall: clock.wall(), monotonic: now())
        for step in state.clockSteps {
            clockSteps.recover(by: step.by, at: step.wall, wall: clock.wall(), monotonic: now())
        }
        lastSubscriptionID = state.lastSubscriptionID
        for record in state.clients.values {
            let client = add(record)
            scheduleHeartbeat(of: client, at: now() &+ options.heartbeatIntervalNanoseconds)
        }
        for id in state.subscriptions.keys.sorted() {
            if let entry = state.subscriptions[id] { recover(entry) }
        }
        raiseLastSequences()
        armExpiry(now: now())
        logRecovery()
    }

    private func logRecovery() {
        let channels = log.channels.count
        logger.info(
            "STREAM: \(channels == 0 && clients.isEmpty ? "No recovered state" : "Recovered \(channels) channel(s)")"
        )
    }

    private func recover(_ entry: RecoveredState.Pending) {
        let record = entry.record
        guard let channel = channels[record.channel] else {
            // The channel was deleted with its subscriptions.
            journal(.subscriptionRemoved(id: record.id))
            return
        }
        let isDurable = !record.durableName.isEmpty
        let isQueue = !record.queueGroup.isEmpty
        let owner = client(withID: record.clientID)
        if owner == nil && !record.clientID.isEmpty && (!isDurable || isQueue) {
            if isDurable {
                logger.warning(
                    "STREAM: Not recovering ghost durable queue subscriber: [\(text(record.clientID))]:[\(text(record.durableName)):\(text(record.queueGroup))] subject=\(text(channel.name)) inbox=\(text(record.inbox))"
                )
            }
            journal(.subscriptionRemoved(id: record.id))
            return
        }
        let member = Member(
            id: record.id, clientID: record.clientID, inbox: record.inbox, ackInbox: record.ackInbox,
            maxInFlight: Int(record.maxInFlight), ackWaitSeconds: record.ackWaitSeconds,
            lastSent: record.lastSent)
        // When it was sent is not known: the resend pass looks at the message's own time.
        for sequence in entry.pending {
            member.pending.insert(sequence, deadline: now() &+ member.ackWaitNanoseconds)
        }
        guard let consumer = recoveredConsumer(record, member: member, in: channel) else { return }
        if let owner, !record.isClosed {
            goOnline(Subscription(channel: channel, consumer: consumer, member: member), owner: owner)
        }
    }

    /// The consumer that the subscription belongs to, with the member in it; nil for one of two
    /// shadows of one group, of which the one that got further is kept.
    private func recoveredConsumer(
        _ record: SubscriptionRecord, member: Member, in channel: MessageChannel
    ) -> Consumer? {
        let kind: Consumer.Kind =
            switch (record.queueGroup.isEmpty, record.durableName.isEmpty) {
            case (true, true): .plain
            case (true, false): .durable(name: record.durableName)
            case (false, true): .queue(group: record.queueGroup)
            case (false, false): .durableQueue(name: record.durableName, group: record.queueGroup)
            }
        if let group = channel.group(kind) {
            if record.clientID.isEmpty, let other = group.members.first(where: { $0.clientID.isEmpty }) {
                logger.warning(
                    "STREAM: Two shadows of durable queue group \(text(record.durableName)):\(text(record.queueGroup)) on \(text(channel.name)); the one that got further is kept"
                )
                guard member.lastSent > other.lastSent else {
                    journal(.subscriptionRemoved(id: member.id))
                    return nil
                }
                journal(.subscriptionRemoved(id: other.id))
                _ = group.remove(other, now: now())
            }
            group.add(member)
            group.lastSent = max(group.lastSent, member.lastSent)
            return group
        }
        let consumer = Consumer(kind: kind, lastSent: member.lastSent)
        consumer.add(member)
        let subscription = Subscription(channel: channel, consumer: consumer, member: member)
        channel.add(consumer, durableKey: subscription.durableKey)
        return consumer
    }

    private func goOnline(_ subscription: Subscription, owner: StreamingClient) {
        let member = subscription.member
        subscriptions[member.id] = subscription
        owner.subscriptions.append(member.id)
        transport.listen(on: member.ackInbox, tag: Self.acknowledgementTag(of: member.id))
        member.isActive = true
        if !member.pending.isEmpty {
            subscription.consumer.resendPending(of: member, now: now())
            member.isRecovering = true
            arm(member, at: member.pending.earliestDeadline)
        }
        // Its client connects again by itself; until then nobody would hear what is sent.
        awaitReceiver(member)
    }

    /// No consumer may be ahead of its channel: a sequence that was ever given to somebody is not
    /// given to another message. The log sees to it; a store that was restored from an older copy
    /// shows here.
    private func raiseLastSequences() {
        for channel in channels.values {
            for consumer in channel.consumers where consumer.lastSent > channel.lastSequence {
                log.raiseNextSequence(of: channel.id, above: consumer.lastSent)
                channel.lastSequence = max(channel.lastSequence, consumer.lastSent)
            }
        }
    }

    // MARK: Snapshot

    /// The engine's whole state as records, covering everything journaled before.
    func snapshot() -> [UInt8] {
        saveState()
        var writer = StateWriter()
        StateRecord.subjects(subjects).encode(into: &writer)
        StateRecord.subscriptionIDs(last: lastSubscriptionID).encode(into: &writer)
        for step in clockSteps.steps {
            StateRecord.clockStepped(by: step.by, to: step.wall).encode(into: &writer)
        }
        for client in clients.values { StateRecord.clientAdded(client.record).encode(into: &writer) }
        for channel in channels.values {
            for consumer in channel.consumers {
                for member in consumer.members {
                    let subscription = Subscription(channel: channel, consumer: consumer, member: member)
                    let isOnline = subscriptions[member.id] != nil
                    StateRecord.subscriptionPut(subscription.record(isClosed: !isOnline)).encode(
                        into: &writer)
                    let pending = SequenceRanges(ascending: member.pending.sequences)
                    if !pending.isEmpty {
                        StateRecord.sent(subscription: member.id, pending).encode(into: &writer)
                    }
                }
            }
        }
        return writer.buffer
    }

    /// Ends the engine: saves its state, then syncs and closes the log. Blocks for the disk. What became
    /// durable with the last sync is acknowledged and answered; it is delivered after the next start, which
    /// would not know of a delivery made now.
    func shutDown() {
        isShuttingDown = true
        saveState()
        log.close(state: snapshot())
        releaseDurable()
    }
}
