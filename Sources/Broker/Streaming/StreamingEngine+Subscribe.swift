import BrokerLog
import BrokerProtocol

/// A subscribe request that waits for a block from the disk, in which its start time lies.
struct PendingStart {
    var request: SubscriptionRequest
    var reply: [UInt8]
}

// Subscribe and resume: nats-streaming.md §3.4–3.6.
extension StreamingEngine {
    func receiveSubscribe(reply: [UInt8], payload: UnsafeRawBufferPointer) {
        guard let request = unsafe SubscriptionRequest(decoding: payload) else {
            return send(subscriptionError(StreamingErrorText.invalidSubscriptionRequest), to: reply)
        }
        subscribe(request, reply: reply)
    }

    private func subscribe(_ request: SubscriptionRequest, reply: [UInt8]) {
        if let error = problem(with: request) { return send(subscriptionError(error), to: reply) }
        let channel: MessageChannel
        do throws(ChannelRefused) {
            channel = try self.channel(named: request.subject)
        } catch {
            return send(subscriptionError(error.text), to: reply)
        }
        if let reason = log.closedReason { return send(subscriptionError(reason), to: reply) }
        switch subscription(for: request, in: channel) {
        case .loading: waitingStarts.append(PendingStart(request: request, reply: reply))
        case .refused(let error): send(subscriptionError(error), to: reply)
        case .ready(let subscription): start(subscription, reply: reply)
        }
    }

    /// The first rule that the request breaks, in the order of §3.4.
    private func problem(with request: SubscriptionRequest) -> String? {
        if request.clientID.isEmpty { return StreamingErrorText.missingClientID }
        if request.ackWaitSeconds < 1 { return StreamingErrorText.invalidAckWait }
        if request.maxInFlight < 1 { return StreamingErrorText.invalidMaxInFlight }
        if !(0...4).contains(request.startPosition.rawValue) { return StreamingErrorText.invalidStart }
        if !Subject.isValidChannel(request.subject) { return StreamingErrorText.invalidSubject }
        if client(withID: request.clientID) == nil { return StreamingErrorText.unknownClientID }
        // The original publishes to whatever it is told (§9.2 #8).
        return isInbox(request.inbox) ? nil : StreamingErrorText.invalidSubscriptionRequest
    }

    /// Whether it is a subject that we may publish to. A line break in it would become part of the protocol
    /// that is written to whoever listens.
    func isInbox(_ subject: [UInt8]) -> Bool {
        unsafe subject.withUnsafeBytes { unsafe Subject.isValidLiteral($0) }
    }

    private enum Found {
        case ready(Subscription)
        case refused(String)
        /// The start position is not known yet: a block is on its way from the disk.
        case loading
    }

    private func subscription(for request: SubscriptionRequest, in channel: MessageChannel) -> Found {
        switch (request.queueGroup.isEmpty, request.durableName.isEmpty) {
        case (true, true):
            return newConsumer(.plain, request, in: channel)
        case (true, false):
            let key = MessageChannel.DurableKey(clientID: request.clientID, name: request.durableName)
            guard let consumer = channel.durable(key) else {
                return newConsumer(.durable(name: request.durableName), request, in: channel)
            }
            return resumeDurable(consumer, request, in: channel)
        case (false, let isPlainQueue):
            if !isPlainQueue && request.durableName.contains(UInt8(ascii: ":")) {
                return .refused(StreamingErrorText.invalidDurableQueueName)
            }
            let kind: Consumer.Kind =
                isPlainQueue
                ? .queue(group: request.queueGroup)
                : .durableQueue(name: request.durableName, group: request.queueGroup)
            guard let group = channel.group(kind) else { return newConsumer(kind, request, in: channel) }
            return joinGroup(group, request, in: channel)
        }
    }

    private func newConsumer(
        _ kind: Consumer.Kind, _ request: SubscriptionRequest, in channel: MessageChannel
    ) -> Found {
        guard hasRoom(in: channel) else { return .refused(StreamingErrorText.tooManySubscriptions) }
        guard let lastSent = startPosition(of: request, in: channel) else { return .loading }
        let consumer = Consumer(kind: kind, lastSent: lastSent)
        let member = newMember(request, lastSent: lastSent)
        consumer.add(member)
        let subscription = Subscription(channel: channel, consumer: consumer, member: member)
        channel.add(consumer, durableKey: subscription.durableKey)
        describe("Started new", subscription, start: startText(request, firstSequence: lastSent + 1))
        return .ready(subscription)
    }

    private func resumeDurable(
        _ consumer: Consumer, _ request: SubscriptionRequest, in channel: MessageChannel
    ) -> Found {
        let member = consumer.members[0]
        if let live = subscriptions[member.id] {
            guard options.replaceDurable else { return .refused(StreamingErrorText.duplicateDurable) }
            detach(live, deletingDurable: false)
        }
        return .ready(takeOver(member, of: consumer, request, in: channel))
    }

    private func joinGroup(
        _ group: Consumer, _ request: SubscriptionRequest, in channel: MessageChannel
    ) -> Found {
        if let shadow = group.members.first, group.members.count == 1, subscriptions[shadow.id] == nil {
            return .ready(takeOver(shadow, of: group, request, in: channel))
        }
        guard hasRoom(in: channel) else { return .refused(StreamingErrorText.tooManySubscriptions) }
        let member = newMember(request, lastSent: 0)
        group.add(member)
        let subscription = Subscription(channel: channel, consumer: group, member: member)
        describe("Added member to", subscription)
        return .ready(subscription)
    }

    /// An offline durable or shadow goes on with a new inbox: what it had is kept, how it receives
    /// is the new request's.
    private func takeOver(
        _ member: Member, of consumer: Consumer, _ request: SubscriptionRequest, in channel: MessageChannel
    ) -> Subscription {
        member.clientID = request.clientID
        member.inbox = request.inbox
        member.ackInbox = names.inbox()
        member.maxInFlight = Int(request.maxInFlight)
        member.ackWaitSeconds = request.ackWaitSeconds
        member.hasFailedHeartbeat = false
        let subscription = Subscription(channel: channel, consumer: consumer, member: member)
        describe("Resumed", subscription)
        return subscription
    }

    private func newMember(_ request: SubscriptionRequest, lastSent: UInt64) -> Member {
        lastSubscriptionID += 1
        let member = Member(
            id: lastSubscriptionID, clientID: request.clientID, inbox: request.inbox,
            ackInbox: names.inbox(), maxInFlight: Int(request.maxInFlight),
            ackWaitSeconds: request.ackWaitSeconds, lastSent: lastSent)
        member.isProvisional = true
        return member
    }

    private func hasRoom(in channel: MessageChannel) -> Bool {
        options.maxSubscriptionsPerChannel == 0
            || channel.subscriptionCount < options.maxSubscriptionsPerChannel
    }

    /// The sequence before the first one that a new subscription gets; nil while the block that
    /// tells it is being read.
    private func startPosition(of request: SubscriptionRequest, in channel: MessageChannel) -> UInt64? {
        let last = channel.lastSequence
        let first = max(1, log.info(of: channel.id)?.firstSequence ?? 1)
        switch request.startPosition {
        case .lastReceived: return first > last ? last : last - 1
        case .timeDeltaStart:
            let (time, overflow) = clock.wall().subtractingReportingOverflow(request.startTimeDelta)
            switch log.sequence(
                channel.id, atOrAfter: overflow ? (request.startTimeDelta < 0 ? .max : .min) : time)
            {
            case .found(let sequence): return min(sequence - 1, last)
            case .end: return last
            case .loading: return nil
            }
        case .sequenceStart:
            if request.startSequence > last { return last }
            return min(max(request.startSequence, first) - 1, last)
        case .first: return min(first - 1, last)
        default: return last
        }
    }

    /// Listens for acknowledgements, journals the subscription and answers once it is on disk.
    private func start(_ subscription: Subscription, reply: [UInt8]) {
        let member = subscription.member
        subscriptions[member.id] = subscription
        client(withID: member.clientID)?.subscriptions.append(member.id)
        transport.listen(on: member.ackInbox, tag: Self.acknowledgementTag(of: member.id))
        let position = journal(.subscriptionPut(subscription.record(isClosed: false)))
        var response = SubscriptionResponse()
        response.ackInbox = member.ackInbox
        hold(
            .subscribe(id: member.id, ackInbox: member.ackInbox), response.encoded(), to: reply,
            until: position)
    }

    /// The response is out: messages may follow it, first those that were pending.
    func activate(_ id: UInt64, ackInbox: [UInt8]) {
        guard let subscription = subscription(id, ackInbox: ackInbox) else { return }
        let member = subscription.member
        member.isActive = true
        member.isProvisional = false
        member.isUnreachable = false
        member.isCongested = false
        if !member.pending.isEmpty {
            if case .durable(let name) = subscription.consumer.kind {
                logger.debug(
                    "STREAM: [Client:\(text(member.clientID))] Redelivering to subid=\(member.id), durable=\(text(name))"
                )
            }
            subscription.consumer.resendPending(of: member, now: now())
            arm(member, at: member.pending.earliestDeadline)
        }
        makeReady(subscription.consumer, in: subscription.channel)
    }

    /// The subscription as one subscribe request made it; nil if it has ended since, also when the durable,
    /// which keeps its id, was subscribed to again.
    func subscription(_ id: UInt64, ackInbox: [UInt8]) -> Subscription? {
        guard let subscription = subscriptions[id], subscription.member.ackInbox == ackInbox else {
            return nil
        }
        return subscription
    }

    func subscriptionError(_ error: String) -> [UInt8] {
        var response = SubscriptionResponse()
        response.error = Array(error.utf8)
        return response.encoded()
    }

    /// Tries the subscribe requests again that waited for a block.
    func resumeStarts() {
        let waiting = waitingStarts
        waitingStarts = []
        for start in waiting { subscribe(start.request, reply: start.reply) }
    }

    /// `start`: where a new subscription begins, for the end of the line.
    private func describe(_ what: String, _ subscription: Subscription, start: String? = nil) {
        logger.debug(
            "STREAM: [Client:\(text(subscription.member.clientID))] \(what) \(kindText(subscription)), subid=\(subscription.member.id)\(start.map { ", sending \($0)" } ?? "")"
        )
    }

    private func startText(_ request: SubscriptionRequest, firstSequence: UInt64) -> String {
        switch request.startPosition {
        case .lastReceived: return "last message, seq=\(firstSequence)"
        case .timeDeltaStart:
            let (time, overflow) = clock.wall().subtractingReportingOverflow(request.startTimeDelta)
            let shown = overflow ? "out of range" : MonitoringTime.text(time)
            return "from time time='\(shown)' seq=\(firstSequence)"
        case .sequenceStart:
            return "from sequence, asked_seq=\(request.startSequence) actual_seq=\(firstSequence)"
        case .first: return "from beginning, seq=\(firstSequence)"
        default: return "new-only, seq=\(firstSequence)"
        }
    }

    /// `durable queue subscription, subject=…, inbox=…, queue=…`, for log lines (§5.6).
    func kindText(_ subscription: Subscription) -> String {
        let place = "subject=\(text(subscription.channel.name)), inbox=\(text(subscription.member.inbox))"
        switch subscription.consumer.kind {
        case .plain: return "subscription, \(place)"
        case .durable(let name): return "durable subscription, \(place), durable=\(text(name))"
        case .queue(let group): return "queue subscription, \(place), queue=\(text(group))"
        case .durableQueue(let name, let group):
            return "durable queue subscription, \(place), queue=\(text(name)):\(text(group))"
        }
    }
}
