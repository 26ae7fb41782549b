import BrokerLog

/// A channel as the engine sees it: its subscriptions and what of it is durable. The messages are
/// the log's.
final class MessageChannel {
    /// Identifies a durable (a tuple, so that no two clients' names can collide).
    struct DurableKey: Hashable {
        var clientID: [UInt8]
        var name: [UInt8]
    }

    let id: ChannelID
    let name: [UInt8]

    /// Every consumer, offline durables and shadows included.
    private(set) var consumers: [Consumer] = []
    private var durables: [DurableKey: Consumer] = [:]
    private var groups: [Consumer.Kind: Consumer] = [:]

    /// Sequence of the last durable message.
    var lastSequence: UInt64 = 0
    /// In the engine's list of channels with new durable messages.
    var isDirty = false
    /// Monotonic nanoseconds of the last publish or change of subscriptions, for inactivity.
    var lastActivity: UInt64 = 0
    /// The inactivity timer is set.
    var isInactivityTimerArmed = false
    /// The warning about the first eviction was given.
    var hasWarnedOfLimits = false

    init(id: ChannelID, name: [UInt8]) {
        self.id = id
        self.name = name
    }

    /// Stored subscriptions: what `max_subs` counts, offline durables and shadows included.
    var subscriptionCount: Int { consumers.reduce(0) { $0 + $1.members.count } }

    /// Somebody is subscribed now.
    var hasActiveSubscription: Bool { consumers.contains { $0.isOnline } }

    func durable(_ key: DurableKey) -> Consumer? { durables[key] }

    func group(_ kind: Consumer.Kind) -> Consumer? { groups[kind] }

    func add(_ consumer: Consumer, durableKey: DurableKey? = nil) {
        consumers.append(consumer)
        if let durableKey { durables[durableKey] = consumer }
        if consumer.isQueue { groups[consumer.kind] = consumer }
    }

    func remove(_ consumer: Consumer, durableKey: DurableKey? = nil) {
        consumers.removeAll { $0 === consumer }
        if let durableKey { durables[durableKey] = nil }
        if consumer.isQueue { groups[consumer.kind] = nil }
    }
}

/// One subscription with everything that it belongs to.
struct Subscription {
    let channel: MessageChannel
    let consumer: Consumer
    let member: Member

    /// The key of a durable that is no queue; nil for the others.
    var durableKey: MessageChannel.DurableKey? {
        guard case .durable(let name) = consumer.kind else { return nil }
        return MessageChannel.DurableKey(clientID: member.clientID, name: name)
    }

    /// The subscription as it is journaled.
    func record(isClosed: Bool) -> SubscriptionRecord {
        var record = SubscriptionRecord()
        record.id = member.id
        record.channel = channel.id.rawValue
        record.clientID = member.clientID
        switch consumer.kind {
        case .plain: break
        case .durable(let name): record.durableName = name
        case .queue(let group): record.queueGroup = group
        case .durableQueue(let name, let group):
            record.durableName = name
            record.queueGroup = group
        }
        record.inbox = member.inbox
        record.ackInbox = member.ackInbox
        record.maxInFlight = Int32(clamping: member.maxInFlight)
        record.ackWaitSeconds = member.ackWaitSeconds
        record.lastSent = member.lastSent
        record.isClosed = isClosed
        return record
    }
}
