import BrokerLog
import BrokerProtocol

// Delivery, acknowledgements and redelivery: nats-streaming.md §3.7, 3.8.
extension StreamingEngine {
    /// Messages that one consumer is sent before others have their turn.
    private var deliveriesPerTurn: Int { 1_024 }
    /// How often an inbox that nobody listens on is looked at again, in nanoseconds.
    private var probeInterval: UInt64 { 100_000_000 }
    /// How long deliveries and acknowledgements may wait for a batch to ride with, in nanoseconds.
    private var saveDelay: UInt64 { 50_000_000 }

    /// The consumer may have something to send.
    func makeReady(_ consumer: Consumer, in channel: MessageChannel) {
        guard !consumer.isReady && !consumer.isLoading else { return }
        consumer.isReady = true
        ready.append((channel, consumer))
    }

    /// Sends what may be sent, a bounded number of messages for each consumer. True: some have more.
    func deliverReady() -> Bool {
        guard !ready.isEmpty else { return false }
        let turn = ready
        ready.removeAll(keepingCapacity: true)
        for (channel, consumer) in turn {
            consumer.isReady = false
            deliver(consumer, in: channel)
        }
        return !ready.isEmpty
    }

    private func deliver(_ consumer: Consumer, in channel: MessageChannel) {
        let now = now()
        var budget = deliveriesPerTurn
        noteCongestion(of: consumer)
        for member in consumer.members where !member.resends.isEmpty {
            guard resend(member, of: consumer, in: channel, budget: &budget, now: now) else { return }
        }
        guard budget > 0 else { return makeReady(consumer, in: channel) }
        while let next = consumer.nextNew(last: channel.lastSequence) {
            switch log.read(channel.id, at: next.sequence) {
            case .messages(let batch):
                deliver(batch, to: consumer, in: channel, budget: &budget, now: now)
                if budget == 0 { return makeReady(consumer, in: channel) }
            case .loading: return waitForBlock(consumer, in: channel)
            case .missing(let next): consumer.skip(to: next)
            case .end: return
            }
        }
    }

    /// Other subscriptions fill a member's connection too, and when one connection has drained the members of all
    /// try again: each of them sends nothing before it has looked.
    private func noteCongestion(of consumer: Consumer) {
        for member in consumer.members where member.isActive && !member.isCongested {
            member.isCongested = unsafe member.inbox.withUnsafeBytes { unsafe transport.isCongested($0) }
        }
    }

    /// Sends new messages out of one block, as long as they may be sent.
    private func deliver(
        _ batch: MessageBatch, to consumer: Consumer, in channel: MessageChannel, budget: inout Int,
        now: UInt64
    ) {
        let end = batch.firstSequence + UInt64(batch.count)
        while budget > 0, let (sequence, index) = consumer.nextNew(last: channel.lastSequence),
            sequence < end
        {
            let message = unsafe batch.message(at: Int(sequence - batch.firstSequence))
            let member = consumer.members[index]
            let outcome = unsafe publish(message, redelivery: 0, to: member, in: channel)
            guard outcome.receivers > 0 else {
                lost(member)
                continue
            }
            consumer.sent(sequence, to: index, now: now)
            if member.armedDeadline == nil { arm(member, at: now &+ member.ackWaitNanoseconds) }
            markUnsaved(consumer)
            budget -= 1
            if outcome.congested { member.isCongested = true }
            if traces { trace("Delivering", sequence, to: member, in: channel) }
        }
    }

    /// Sends one message to a member's inbox.
    private func publish(
        _ message: StoredMessage, redelivery: UInt32, to member: Member, in channel: MessageChannel
    ) -> DeliveryOutcome {
        let outcome: DeliveryOutcome = unsafe channel.name.withUnsafeBytes { name in
            var proto = MsgProto()
            unsafe proto.sequence = message.sequence
            unsafe proto.subject = name
            unsafe proto.reply = message.reply
            unsafe proto.data = message.payload
            unsafe proto.timestamp = message.timestamp
            proto.redelivered = redelivery > 0
            proto.redeliveryCount = redelivery
            let memory = unsafe scratch.reserve(proto.encodedSize)
            unsafe _ = proto.encode(into: memory)
            return unsafe member.inbox.withUnsafeBytes { inbox in
                unsafe transport.publish(
                    subject: inbox, reply: UnsafeRawBufferPointer(start: nil, count: 0),
                    payload: UnsafeRawBufferPointer(memory))
            }
        }
        if outcome.receivers > 0 {
            outMessages &+= 1
            unsafe outBytes &+= UInt64(message.payload.count)
        }
        return outcome
    }

    private func trace(_ verb: String, _ sequence: UInt64, to member: Member, in channel: MessageChannel) {
        logger.trace(
            "STREAM: [Client:\(text(member.clientID))] \(verb) msg to subid=\(member.id), subject=\(text(channel.name)), seq=\(sequence)"
        )
    }

    private func waitForBlock(_ consumer: Consumer, in channel: MessageChannel) {
        consumer.isLoading = true
        loading.append((channel, consumer))
    }

    /// Blocks came from the disk: everybody who waited for one tries again.
    func resumeLoading() {
        let waiting = loading
        loading.removeAll(keepingCapacity: true)
        for (channel, consumer) in waiting {
            consumer.isLoading = false
            makeReady(consumer, in: channel)
        }
        resumeStarts()
        resumePurges()
    }

    // MARK: Inboxes that nobody listens on

    private func lost(_ member: Member) {
        guard !member.isUnreachable else { return }
        member.isUnreachable = true
        unreachable.append(member.id)
        guard !isProbeTimerArmed else { return }
        isProbeTimerArmed = true
        schedule(.probe, at: now() &+ probeInterval)
    }

    /// Looks whether somebody listens on the inboxes that had nobody.
    func probeUnreachable(now: UInt64) {
        isProbeTimerArmed = false
        let waiting = unreachable
        unreachable.removeAll(keepingCapacity: true)
        for id in waiting {
            guard let subscription = subscriptions[id], subscription.member.isUnreachable else { continue }
            let isThere = unsafe subscription.member.inbox.withUnsafeBytes {
                unsafe transport.hasReceiver(for: $0)
            }
            if isThere {
                subscription.member.isUnreachable = false
                makeReady(subscription.consumer, in: subscription.channel)
            } else {
                unreachable.append(id)
            }
        }
        guard !unreachable.isEmpty else { return }
        isProbeTimerArmed = true
        schedule(.probe, at: now &+ probeInterval)
    }

    /// A recovered subscription: its client may not be back yet.
    func awaitReceiver(_ member: Member) { lost(member) }

    /// Some connection that had too much waiting has drained.
    func congestionEnded() {
        for subscription in subscriptions.values where subscription.member.isCongested {
            subscription.member.isCongested = false
            makeReady(subscription.consumer, in: subscription.channel)
        }
    }

    // MARK: Acknowledgements

    func receiveAcknowledgement(subscription id: UInt64, payload: UnsafeRawBufferPointer) {
        guard let subscription = subscriptions[id], let ack = unsafe Ack(decoding: payload) else { return }
        let (channel, consumer) = (subscription.channel, subscription.consumer)
        guard unsafe bytes(ack.subject, equal: channel.name) else {
            logger.debug("STREAM: Ack for another channel than subid=\(id) is on was ignored")
            return
        }
        let sequence = ack.sequence
        let wasStalled = subscription.member.isStalled
        guard let holder = consumer.acknowledge(sequence, by: subscription.member) else { return }
        acknowledgedMessages &+= 1
        markUnsaved(consumer)
        if wasStalled || holder !== subscription.member { makeReady(consumer, in: channel) }
        if traces {
            logger.trace(
                "STREAM: [Client:\(text(subscription.member.clientID))] Processing ack for subid=\(id), subject=\(text(channel.name)), seq=\(sequence)"
            )
        }
    }

    // MARK: Redelivery

    /// Looks at the member's pending messages at `deadline`, unless it does so earlier anyway.
    func arm(_ member: Member, at deadline: UInt64?) {
        guard let deadline, deadline < member.armedDeadline ?? .max else { return }
        member.armedDeadline = deadline
        schedule(.acknowledgementWait(subscription: member.id), at: deadline)
    }

    func acknowledgementWaitEnded(_ id: UInt64, now: UInt64) {
        guard let subscription = subscriptions[id] else { return }
        let member = subscription.member
        guard let armed = member.armedDeadline, armed <= now else { return }
        member.armedDeadline = nil
        if member.resends.isEmpty {
            if member.hasFailedHeartbeat && !subscription.consumer.isQueue {
                logger.debug(
                    "STREAM: [Client:\(text(member.clientID))] Skipping redelivery to subid=\(id) due to missed client heartbeat"
                )
            }
            let next = subscription.consumer.collectDue(of: member, now: now)
            arm(member, at: next.map { max($0, now &+ 1_000_000) })
        } else {
            // What was due before is still waiting for its client, for a connection that is full, or for the disk:
            // not twice. The end of congestion wakes it.
            let waitsForClient =
                member.holdsNewMessages || subscription.consumer.members.contains(where: \.isCongested)
            let pause = waitsForClient ? member.ackWaitNanoseconds : Consumer.redeliverySlack
            arm(member, at: now &+ pause)
        }
        if !member.resends.isEmpty { makeReady(subscription.consumer, in: subscription.channel) }
    }

    /// Works through the member's resend queue. False: it has to wait for a block from the disk.
    private func resend(
        _ member: Member, of consumer: Consumer, in channel: MessageChannel, budget: inout Int, now: UInt64
    ) -> Bool {
        while budget > 0, let sequence = member.resends.first {
            guard member.pending.contains(sequence) else {
                member.resends.removeFirst()
                continue
            }
            guard let receiver = consumer.memberForRedelivery(of: member), !receiver.isCongested else {
                // On hold it waits for its client, else what was due is due again at its next deadline. A
                // connection that is full drains soon.
                if !member.holdsNewMessages && !consumer.members.contains(where: \.isCongested) {
                    member.resends.removeAll()
                }
                return true
            }
            switch log.read(channel.id, at: sequence) {
            case .loading:
                waitForBlock(consumer, in: channel)
                return false
            case .missing, .end:
                consumer.dropVanished(sequence, at: member)
                markUnsaved(consumer)
            case .messages(let batch):
                let message = unsafe batch.message(at: Int(sequence - batch.firstSequence))
                if unsafe member.isRecovering && !isOverdue(message, of: member, now: now) {
                    if traces {
                        logger.trace(
                            "STREAM: [Client:\(text(member.clientID))] Redelivery for subid=\(member.id), skipping seq=\(sequence)"
                        )
                    }
                    break
                }
                let count = consumer.nextRedeliveryCount(of: sequence, at: member)
                let outcome = unsafe publish(message, redelivery: count, to: receiver, in: channel)
                guard outcome.receivers > 0 else {
                    lost(receiver)
                    continue
                }
                redeliveredMessages &+= 1
                if outcome.congested { receiver.isCongested = true }
                if traces { trace("Redelivering", sequence, to: receiver, in: channel) }
                consumer.setRedeliveryCount(count, of: sequence, at: member)
                consumer.resent(sequence, from: member, to: receiver, now: now)
                if receiver !== member {
                    arm(receiver, at: now &+ receiver.ackWaitNanoseconds)
                    markUnsaved(consumer)
                } else if let deadline = member.pending.deadline(of: sequence), deadline <= now {
                    // It waited for its connection or for the disk: the ack wait counts from here.
                    member.pending.insert(sequence, deadline: now &+ member.ackWaitNanoseconds)
                }
                budget -= 1
            }
            member.resends.removeFirst()
        }
        if member.resends.isEmpty && member.holdsNewMessages {
            member.holdsNewMessages = false
            member.isRecovering = false
            arm(member, at: member.pending.earliestDeadline)
        }
        return true
    }

    /// After a restart a message is due when its own time and the ack wait have passed; until then
    /// its deadline is moved there and nothing is sent (§3.11).
    private func isOverdue(_ message: StoredMessage, of member: Member, now: UInt64) -> Bool {
        let age = unsafe clock.wall().subtractingReportingOverflow(message.timestamp)
        if age.overflow || age.partialValue < 0 { return false }
        let wait = member.ackWaitNanoseconds
        guard UInt64(age.partialValue) < wait else { return true }
        let deadline = now &+ (wait - UInt64(age.partialValue))
        unsafe member.pending.insert(message.sequence, deadline: deadline)
        arm(member, at: deadline)
        return false
    }

    // MARK: State

    func markUnsaved(_ consumer: Consumer) {
        if !consumer.hasUnsavedState {
            consumer.hasUnsavedState = true
            unsaved.append(consumer)
        }
        guard !isSaveTimerArmed else { return }
        isSaveTimerArmed = true
        schedule(.saveState, at: now() &+ saveDelay)
    }

    /// Journals what was delivered and acknowledged since the last time.
    func saveState() {
        for consumer in unsaved { save(consumer) }
        unsaved.removeAll(keepingCapacity: true)
        lastSave = now()
    }

    /// The same for one consumer, before its subscriptions change.
    func save(_ consumer: Consumer) {
        guard consumer.hasUnsavedState || consumer.members.contains(where: \.hasUnsavedState) else { return }
        consumer.hasUnsavedState = false
        for member in consumer.members where !member.unsavedSent.isEmpty {
            journal(.sent(subscription: member.id, member.unsavedSent))
            member.unsavedSent.removeAll()
        }
        for member in consumer.members where !member.unsavedAcknowledged.isEmpty {
            journal(.acknowledged(subscription: member.id, member.unsavedAcknowledged))
            member.unsavedAcknowledged.removeAll()
        }
    }
}
