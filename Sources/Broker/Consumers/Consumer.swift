/// A cursor over one channel with its members: the pure part of a NATS Streaming subscription.
///
/// It decides (what is sent next, to whom, what is due again) and keeps the books; it reads no
/// message, knows no socket and no clock. The engine asks `nextNew`, sends, and reports with
/// `sent`; time comes in as a parameter. Rules: nats-streaming.md §3.5–3.8.
final class Consumer {
    /// What a consumer is, and by what it is found again.
    enum Kind: Hashable {
        /// Ends with its client.
        case plain
        /// Survives its client; found by (client, channel, name).
        case durable(name: [UInt8])
        /// Shared by its members and ends with the last one.
        case queue(group: [UInt8])
        /// Shared, and survives its members; found by (channel, durable name, group).
        case durableQueue(name: [UInt8], group: [UInt8])
    }

    /// A message whose deadline lies this close is sent with those that are due (spec §3.8).
    static let redeliverySlack: UInt64 = 15_000_000
    /// When what a leaving member left behind is sent to the others (spec §3.6).
    static let redistributionDelay: UInt64 = 100_000_000

    let kind: Kind
    /// Highest sequence ever sent to any member.
    var lastSent: UInt64
    /// In the order in which a new message considers them.
    private(set) var members: [Member] = []
    /// Queue groups: how often a message was sent again, whoever held it.
    var groupRedeliveries: [UInt64: UInt32] = [:]

    /// The engine's lists: in the ready list, waiting for a block from the disk, state to save.
    var isReady = false
    var isLoading = false
    var hasUnsavedState = false

    init(kind: Kind, lastSent: UInt64) {
        self.kind = kind
        self.lastSent = lastSent
    }

    var isQueue: Bool {
        switch kind {
        case .queue, .durableQueue: true
        case .plain, .durable: false
        }
    }

    var isDurable: Bool {
        switch kind {
        case .durable, .durableQueue: true
        case .plain, .queue: false
        }
    }

    /// Somebody is subscribed: not an offline durable, not a shadow.
    var isOnline: Bool { members.contains { $0.isActive } }

    func add(_ member: Member) { members.append(member) }

    // MARK: New messages

    /// The next new message to send, if any may be sent now: its sequence, and the index of the
    /// member that gets it. `last` is the last sequence of the channel that is durable.
    func nextNew(last: UInt64) -> (sequence: UInt64, member: Int)? {
        guard lastSent < last, let index = memberForNewMessage() else { return nil }
        return (lastSent + 1, index)
    }

    /// The least loaded member that is neither stalled nor failing, the first in the list on ties;
    /// a failing one only when no other can take it.
    func memberForNewMessage() -> Int? {
        if members.count == 1 {
            let only = members[0]
            return only.takesNewMessages && !only.holdsNewMessages ? 0 : nil
        }
        var best: Int?
        var bestIsFailing = true
        for (index, member) in members.enumerated() {
            // A member whose client is away, or whose connection is full, does not hold up the others.
            if member.holdsNewMessages && !member.isUnreachable && !member.isCongested { return nil }
            guard member.takesNewMessages else { continue }
            if let current = best {
                if member.hasFailedHeartbeat && !bestIsFailing { continue }
                let better =
                    (bestIsFailing && !member.hasFailedHeartbeat)
                    || member.pending.count < members[current].pending.count
                guard better else { continue }
            }
            best = index
            bestIsFailing = member.hasFailedHeartbeat
        }
        return best
    }

    /// The books after `sequence` was sent to the member at `index` for the first time.
    func sent(_ sequence: UInt64, to index: Int, now: UInt64) {
        let member = members[index]
        member.pending.insert(sequence, deadline: now &+ member.ackWaitNanoseconds)
        member.unsavedSent.append(sequence)
        member.lastSent = max(member.lastSent, sequence)
        lastSent = max(lastSent, sequence)
        rotate(index)
    }

    /// Moves past messages that the channel no longer has, to just before `sequence`.
    func skip(to sequence: UInt64) { lastSent = max(lastSent, sequence - 1) }

    /// The member that was first in the list and was chosen goes to its end.
    private func rotate(_ index: Int) {
        if index == 0 && members.count > 1 { members.append(members.removeFirst()) }
    }

    // MARK: Acknowledgements

    /// Takes an acknowledgement that arrived for `member`; in a queue group the message may be
    /// pending at another one by now. Returns the member that it was pending at, nil if at none.
    func acknowledge(_ sequence: UInt64, by member: Member) -> Member? {
        if member.pending.remove(sequence) {
            forget(sequence, at: member)
            return member
        }
        guard isQueue else { return nil }
        for other in members where other !== member && other.pending.remove(sequence) {
            forget(sequence, at: other)
            return other
        }
        return nil
    }

    private func forget(_ sequence: UInt64, at member: Member) {
        member.unsavedAcknowledged.append(sequence)
        if !member.redeliveries.isEmpty { member.redeliveries[sequence] = nil }
        if !groupRedeliveries.isEmpty { groupRedeliveries[sequence] = nil }
    }

    // MARK: Redelivery

    /// Moves what is overdue at `member` into its resend queue, in (deadline, sequence) order, and
    /// gives each its next deadline. Returns when to look again; nil if nothing is pending.
    func collectDue(of member: Member, now: UInt64) -> UInt64? {
        guard !member.pending.isEmpty else { return nil }
        if member.hasFailedHeartbeat && !isQueue { return now &+ member.ackWaitNanoseconds }
        let horizon = now &+ Consumer.redeliverySlack
        var due: [PendingSet.Entry] = []
        for entry in member.pending.entries where entry.deadline <= horizon { due.append(entry) }
        if !due.isEmpty {
            due.sort { ($0.deadline, $0.sequence) < ($1.deadline, $1.sequence) }
            for entry in due {
                // The next deadline counts from the last one; after a long pause from now.
                let next = entry.deadline &+ member.ackWaitNanoseconds
                member.pending.insert(
                    entry.sequence, deadline: next > now ? next : now &+ member.ackWaitNanoseconds)
            }
            member.resends.append(contentsOf: due.lazy.map(\.sequence))
        }
        return member.pending.earliestDeadline
    }

    /// Who gets a message that is due at `member`: itself, or in a queue group the best member. Nil
    /// while nobody can take it.
    func memberForRedelivery(of member: Member) -> Member? {
        guard isQueue, !member.holdsNewMessages else {
            return member.isUnreachable || !member.isActive ? nil : member
        }
        // Free before stalled before failing; the least loaded of those that are free, else the first.
        var best: (member: Member, rank: Int)?
        for candidate in members
        where candidate.isActive && !candidate.isUnreachable && !candidate.isCongested {
            let rank = candidate.hasFailedHeartbeat ? 2 : candidate.isStalled ? 1 : 0
            guard let current = best else {
                best = (candidate, rank)
                continue
            }
            let isLessLoaded = rank == 0 && candidate.pending.count < current.member.pending.count
            if rank < current.rank || (rank == current.rank && isLessLoaded) { best = (candidate, rank) }
        }
        return best?.member
    }

    /// The books after `sequence`, pending at `holder`, was sent again to `receiver`.
    func resent(_ sequence: UInt64, from holder: Member, to receiver: Member, now: UInt64) {
        let deadline = now &+ receiver.ackWaitNanoseconds
        if holder.holdsNewMessages {
            // It may have waited long for its client: the ack wait counts from here.
            holder.pending.insert(sequence, deadline: deadline)
            return
        }
        if holder !== receiver { move(sequence, from: holder, to: receiver, deadline: deadline) }
        if members.count > 1, members[0] === receiver { members.append(members.removeFirst()) }
    }

    /// How often `sequence` will have been sent again once it is sent now. What is resent at a
    /// resume or restart of a queue group counts on the member, the rest on the group (spec §3.8).
    func nextRedeliveryCount(of sequence: UInt64, at member: Member) -> UInt32 {
        let previous =
            countsOnGroup(member) ? groupRedeliveries[sequence] : member.redeliveries[sequence]
        let next = (previous ?? 0) &+ 1
        return next == 0 ? 1 : next
    }

    /// Remembers the count that was sent.
    func setRedeliveryCount(_ count: UInt32, of sequence: UInt64, at member: Member) {
        if countsOnGroup(member) {
            groupRedeliveries[sequence] = count
        } else {
            member.redeliveries[sequence] = count
        }
    }

    private func countsOnGroup(_ member: Member) -> Bool { isQueue && !member.holdsNewMessages }

    /// The channel no longer has `sequence`: it counts as acknowledged.
    func dropVanished(_ sequence: UInt64, at member: Member) {
        if member.pending.remove(sequence) { forget(sequence, at: member) }
    }

    /// The channel has nothing below `first` any more: what was pending there counts as acknowledged. False
    /// when nothing was.
    func dropVanished(below first: UInt64) -> Bool {
        var changed = false
        for member in members {
            for sequence in member.pending.sequences where sequence < first {
                dropVanished(sequence, at: member)
                changed = true
            }
        }
        return changed
    }

    private func move(_ sequence: UInt64, from holder: Member, to receiver: Member, deadline: UInt64) {
        guard holder.pending.remove(sequence) else { return }
        if !holder.redeliveries.isEmpty { holder.redeliveries[sequence] = nil }
        holder.unsavedAcknowledged.append(sequence)
        receiver.pending.insert(sequence, deadline: deadline)
        receiver.unsavedSent.append(sequence)
        receiver.lastSent = max(receiver.lastSent, sequence)
    }

    // MARK: Members that leave

    /// Removes `member` and deals what was pending at it to the others, oldest deadline first; they
    /// are due in `redistributionDelay`. Returns the members that got something.
    func remove(_ member: Member, now: UInt64) -> [Member] {
        guard let index = members.firstIndex(where: { $0 === member }) else { return [] }
        members.remove(at: index)
        guard !members.isEmpty, !member.pending.isEmpty else { return [] }
        var left = Array(member.pending.entries)
        left.sort { ($0.deadline, $0.sequence) < ($1.deadline, $1.sequence) }
        for (turn, entry) in left.enumerated() {
            let receiver = members[turn % members.count]
            move(entry.sequence, from: member, to: receiver, deadline: now &+ Consumer.redistributionDelay)
        }
        return members.filter { !$0.pending.isEmpty }
    }

    // MARK: Resume

    /// Everything pending at `member` is sent again at once, ascending, before anything new.
    func resendPending(of member: Member, now: UInt64) {
        member.resends.removeAll()
        guard !member.pending.isEmpty else { return }
        let sequences = member.pending.sequences
        for sequence in sequences {
            member.pending.insert(sequence, deadline: now &+ member.ackWaitNanoseconds)
        }
        member.resends.append(contentsOf: sequences)
        member.holdsNewMessages = true
    }
}
