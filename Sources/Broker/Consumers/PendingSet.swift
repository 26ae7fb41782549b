/// The messages that were sent to one member and not yet acknowledged: sequence → when its
/// acknowledgement is overdue.
///
/// Open addressing with linear probing over one array, because an insert and a removal happen for every
/// message delivered (a dictionary costs three times as much). Robin Hood order: entries of one run are
/// sorted by the slot that they belong to, so a removal moves only those that are not where they belong
/// (of a dense run of neighbours none), and a search ends at the first entry that is nearer to its home.
/// Sequence 0 marks a free slot: channels number their messages from 1.
struct PendingSet {
    struct Entry {
        /// Sequence of the message in its channel; 0 in a free slot.
        var sequence: UInt64
        /// Monotonic nanoseconds from which on the message is sent again.
        var deadline: UInt64
    }

    private var slots: [Entry] = []
    private var mask = 0

    /// Messages in the set.
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Adds `sequence`, or moves its deadline.
    mutating func insert(_ sequence: UInt64, deadline: UInt64) {
        precondition(sequence != 0, "channels number their messages from 1")
        if (count + 1) * 4 > slots.count * 3 { grow() }
        var entry = Entry(sequence: sequence, deadline: deadline)
        var index = home(of: sequence)
        var distance = 0
        while slots[index].sequence != 0 {
            if slots[index].sequence == entry.sequence {
                slots[index].deadline = entry.deadline
                return
            }
            let other = self.distance(at: index)
            if other < distance {
                // `sequence` is not in the set: the nearer one makes room for it and moves on.
                swap(&slots[index], &entry)
                distance = other
            }
            index = (index + 1) & mask
            distance += 1
        }
        slots[index] = entry
        count += 1
    }

    /// Removes `sequence`; false if it was not in the set.
    mutating func remove(_ sequence: UInt64) -> Bool {
        guard var hole = slot(of: sequence) else { return false }
        count -= 1
        // Whoever is not at home behind the hole moves one nearer to it, so that no tombstones stay.
        var next = (hole + 1) & mask
        while slots[next].sequence != 0 && distance(at: next) > 0 {
            slots[hole] = slots[next]
            hole = next
            next = (next + 1) & mask
        }
        slots[hole].sequence = 0
        if count == 0 && slots.count > 4_096 { self = PendingSet() }
        return true
    }

    func contains(_ sequence: UInt64) -> Bool { slot(of: sequence) != nil }

    /// Monotonic nanoseconds at which `sequence` is overdue; nil if it is not pending.
    func deadline(of sequence: UInt64) -> UInt64? {
        slot(of: sequence).map { slots[$0].deadline }
    }

    /// Every entry, in no order.
    var entries: some Sequence<Entry> { slots.lazy.filter { $0.sequence != 0 } }

    /// Every sequence, ascending.
    var sequences: [UInt64] { entries.map(\.sequence).sorted() }

    /// The earliest deadline; nil if the set is empty.
    var earliestDeadline: UInt64? { entries.lazy.map(\.deadline).min() }

    private func slot(of sequence: UInt64) -> Int? {
        guard count > 0 else { return nil }
        var index = home(of: sequence)
        var distance = 0
        while slots[index].sequence != 0 && self.distance(at: index) >= distance {
            if slots[index].sequence == sequence { return index }
            index = (index + 1) & mask
            distance += 1
        }
        return nil
    }

    /// Neighbouring sequences go to neighbouring slots: deliveries and acknowledgements run through
    /// memory in order, and dense runs do not collide.
    private func home(of sequence: UInt64) -> Int { Int(truncatingIfNeeded: sequence) & mask }

    /// How far the entry at `index` is from where it belongs.
    private func distance(at index: Int) -> Int { (index &- home(of: slots[index].sequence)) & mask }

    private mutating func grow() {
        let old = slots
        let capacity = max(16, old.count * 2)
        slots = Array(repeating: Entry(sequence: 0, deadline: 0), count: capacity)
        mask = capacity - 1
        count = 0
        for entry in old where entry.sequence != 0 { insert(entry.sequence, deadline: entry.deadline) }
    }
}
