/// The timers of one loop in one structure: a binary heap of (deadline, what is due). Nothing is
/// cancelled; whoever is told that its time has come checks whether it still matters.
struct DeadlineHeap<Item> {
    private var entries: [(deadline: UInt64, item: Item)] = []

    /// Monotonic nanoseconds of the earliest deadline; nil if there is none.
    var earliest: UInt64? { entries.first?.deadline }

    mutating func insert(_ item: Item, at deadline: UInt64) {
        entries.append((deadline, item))
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].deadline < entries[parent].deadline else { return }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    /// Removes and returns the earliest item if its deadline is not after `now`.
    mutating func popDue(_ now: UInt64) -> Item? {
        guard let first = entries.first, first.deadline <= now else { return nil }
        let last = entries.removeLast()
        if !entries.isEmpty {
            entries[0] = last
            siftDown()
        }
        return first.item
    }

    private mutating func siftDown() {
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child].deadline < entries[smallest].deadline { smallest = child }
            }
            guard smallest != parent else { return }
            entries.swapAt(smallest, parent)
            parent = smallest
        }
    }
}
