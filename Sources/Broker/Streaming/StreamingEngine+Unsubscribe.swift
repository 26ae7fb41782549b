import BrokerLog
import BrokerProtocol

// Unsubscribe and close of a subscription: nats-streaming.md §3.9.
extension StreamingEngine {
    func receiveUnsubscribe(reply: [UInt8], payload: UnsafeRawBufferPointer, isClose: Bool) {
        guard let request = unsafe UnsubscribeRequest(decoding: payload), payload.count > 0 else {
            return send(subscriptionError(StreamingErrorText.invalidUnsubscribeRequest), to: reply)
        }
        guard let channel = channelsByName[request.subject].flatMap({ channels[$0] }) else {
            return send(subscriptionError(StreamingErrorText.unknownChannel), to: reply)
        }
        guard let subscription = subscription(withInbox: request.inbox, in: channel) else {
            return send(subscriptionError(StreamingErrorText.invalidSubscription), to: reply)
        }
        guard subscription.member.clientID == request.clientID else {
            return send(subscriptionError(StreamingErrorText.unknownClientID), to: reply)
        }
        let position = detach(subscription, deletingDurable: !isClose)
        hold(.unsubscribe, SubscriptionResponse().encoded(), to: reply, until: position)
    }

    /// By ack inbox, else the newest with this message inbox.
    private func subscription(withInbox inbox: [UInt8], in channel: MessageChannel) -> Subscription? {
        var newest: Subscription?
        for consumer in channel.consumers {
            for member in consumer.members {
                guard let subscription = subscriptions[member.id] else { continue }
                if member.ackInbox == inbox { return subscription }
                if member.inbox == inbox, member.id > newest?.member.id ?? 0 { newest = subscription }
            }
        }
        return newest
    }

    /// Takes a subscription offline. What becomes of it is the table of §3.9: durables and the last
    /// member of a durable group are kept unless `deletingDurable`. Returns where the journal says
    /// so.
    @discardableResult
    func detach(_ subscription: Subscription, deletingDurable: Bool) -> LogPosition {
        let (channel, consumer, member) = (subscription.channel, subscription.consumer, subscription.member)
        discard(subscription)
        save(consumer)
        channel.lastActivity = now()
        defer { armInactivity(of: channel) }
        let isLast = consumer.members.count == 1
        if isLast && consumer.isDurable && !deletingDurable {
            describe("Suspended", subscription)
            if consumer.isQueue {
                member.lastSent = consumer.lastSent
                member.clientID = []
            }
            return journal(.subscriptionPut(subscription.record(isClosed: true)))
        }
        if isLast {
            describe("Removed", subscription)
            channel.remove(consumer, durableKey: subscription.durableKey)
            return journal(.subscriptionRemoved(id: member.id))
        }
        describe("Removed member from", subscription)
        leave(subscription)
        return journal(.subscriptionRemoved(id: member.id))
    }

    /// A queue member leaves the others: they get what was pending at it.
    private func leave(_ subscription: Subscription) {
        let consumer = subscription.consumer
        let receivers = consumer.remove(subscription.member, now: now())
        for receiver in receivers { arm(receiver, at: receiver.pending.earliestDeadline) }
        // The group's position must survive in the records of those who stay.
        if let heir = consumer.members.first,
            !consumer.members.contains(where: { $0.lastSent >= consumer.lastSent })
        {
            heir.lastSent = consumer.lastSent
            let record = Subscription(channel: subscription.channel, consumer: consumer, member: heir)
            journal(
                .subscriptionPut(record.record(isClosed: !heir.isActive && subscriptions[heir.id] == nil)))
        }
        save(consumer)
        makeReady(consumer, in: subscription.channel)
    }

    /// Ends deliveries to a subscription and forgets it as an online one.
    func discard(_ subscription: Subscription) {
        let member = subscription.member
        subscriptions[member.id] = nil
        client(withID: member.clientID)?.subscriptions.removeAll { $0 == member.id }
        transport.stopListening(on: member.ackInbox, tag: Self.acknowledgementTag(of: member.id))
        member.isActive = false
        member.isUnreachable = false
        member.isCongested = false
        member.holdsNewMessages = false
        member.isRecovering = false
        member.resends.removeAll()
        member.redeliveries = [:]
        member.armedDeadline = nil
    }

    private func describe(_ what: String, _ subscription: Subscription) {
        logger.debug(
            "STREAM: [Client:\(text(subscription.member.clientID))] \(what) \(kindText(subscription)), subid=\(subscription.member.id)"
        )
    }
}
