/// One subscription as a client made it: where its messages go, how many may be outstanding, and
/// which are. A plain subscription or a durable is the only member of its consumer; a queue group
/// has one for each subscriber.
final class Member {
    /// The store's number of the subscription; kept when a durable resumes.
    let id: UInt64
    /// The client that made it; empty for the shadow of a durable queue group, which nobody holds.
    var clientID: [UInt8]
    /// Where its messages are published.
    var inbox: [UInt8]
    /// Where its acknowledgements arrive; chosen by us, new at each subscribe.
    var ackInbox: [UInt8]
    /// Messages that may be outstanding before new ones wait.
    var maxInFlight: Int
    /// Seconds until an unacknowledged message is sent again.
    var ackWaitSeconds: Int32

    /// What was sent and not acknowledged.
    var pending = PendingSet()
    /// Highest sequence ever sent to this member.
    var lastSent: UInt64

    /// The subscribe response is on its way: messages may follow it.
    var isActive = false
    /// Made by a subscribe request that is not on disk yet.
    var isProvisional = false
    /// The client missed its last heartbeat: no redelivery to it.
    var hasFailedHeartbeat = false
    /// Nobody listened on the inbox when it was last tried (the client is reconnecting). Nothing
    /// is sent until somebody does.
    var isUnreachable = false
    /// The receiving connection has too much waiting; nothing new is sent until it drained.
    var isCongested = false

    /// Messages to send again, in this order, before anything else is looked at.
    var resends = ResendQueue()
    /// The resends are those of a restart: only what is overdue is sent, the rest when it is.
    var isRecovering = false
    /// New messages of the consumer wait until `resends` is empty (resume and restart).
    var holdsNewMessages = false
    /// How often a message was sent again to this member. Kept in memory only.
    var redeliveries: [UInt64: UInt32] = [:]
    /// The deadline that the timer structure holds for this member; nil if none.
    var armedDeadline: UInt64?

    /// Sent and acknowledged since the last state record.
    var unsavedSent = SequenceRanges()
    var unsavedAcknowledged = SequenceRanges()

    init(
        id: UInt64, clientID: [UInt8], inbox: [UInt8], ackInbox: [UInt8], maxInFlight: Int,
        ackWaitSeconds: Int32, lastSent: UInt64
    ) {
        self.id = id
        self.clientID = clientID
        self.inbox = inbox
        self.ackInbox = ackInbox
        self.maxInFlight = maxInFlight
        self.ackWaitSeconds = ackWaitSeconds
        self.lastSent = lastSent
    }

    /// Time until an unacknowledged message is sent again, in nanoseconds.
    var ackWaitNanoseconds: UInt64 { UInt64(max(1, ackWaitSeconds)) * 1_000_000_000 }

    /// As many messages are outstanding as the subscription allows (nats-streaming.md §3.7).
    var isStalled: Bool { pending.count >= maxInFlight }

    /// A new message may go to it now.
    var takesNewMessages: Bool { isActive && !isStalled && !isUnreachable && !isCongested }

    /// Sent or acknowledged messages wait to be written to the journal.
    var hasUnsavedState: Bool { !unsavedSent.isEmpty || !unsavedAcknowledged.isEmpty }
}

/// Sequences that wait to be sent again: first in, first out, without moving the rest.
struct ResendQueue {
    private var sequences: [UInt64] = []
    private var head = 0

    var isEmpty: Bool { head == sequences.count }
    var first: UInt64? { isEmpty ? nil : sequences[head] }

    mutating func append(contentsOf more: some Sequence<UInt64>) { sequences.append(contentsOf: more) }

    mutating func removeFirst() {
        head += 1
        if isEmpty {
            sequences.removeAll(keepingCapacity: sequences.capacity < 1_024)
            head = 0
        }
    }

    mutating func removeAll() { self = ResendQueue() }
}
