/// What the engine's state records add up to: a snapshot and the records after it, replayed.
struct RecoveredState {
    struct Pending {
        var record: SubscriptionRecord
        var pending: Set<UInt64> = []
    }

    var subjects: StreamingSubjects?
    var clients: [[UInt8]: ClientRecord] = [:]
    var subscriptions: [UInt64: Pending] = [:]
    var lastSubscriptionID: UInt64 = 0
    var clockSteps: [(by: UInt64, wall: Int64)] = []

    /// Replays one block of records; false if some of its bytes are none.
    mutating func replay(_ bytes: [UInt8]) -> Bool {
        var reader = StateReader(bytes)
        while !reader.isAtEnd {
            guard let record = StateRecord(reading: &reader) else { return false }
            apply(record)
        }
        return true
    }

    private mutating func apply(_ record: StateRecord) {
        switch record {
        case .subjects(let subjects): self.subjects = subjects
        case .clientAdded(let client): clients[client.id] = client
        case .clientRemoved(let id): clients[id] = nil
        case .subscriptionPut(let record):
            let pending = subscriptions[record.id]?.pending ?? []
            subscriptions[record.id] = Pending(record: record, pending: pending)
            lastSubscriptionID = max(lastSubscriptionID, record.id)
        case .subscriptionRemoved(let id): subscriptions[id] = nil
        case .sent(let id, let ranges):
            guard var entry = subscriptions[id] else { return }
            subscriptions[id] = nil  // so that the set is changed in place
            for range in ranges.ranges {
                for sequence in range { entry.pending.insert(sequence) }
                entry.record.lastSent = max(entry.record.lastSent, range.upperBound)
            }
            subscriptions[id] = entry
        case .acknowledged(let id, let ranges):
            guard var entry = subscriptions[id] else { return }
            subscriptions[id] = nil
            for range in ranges.ranges {
                if range.upperBound - range.lowerBound >= UInt64(entry.pending.count) {
                    entry.pending = entry.pending.filter { !range.contains($0) }
                } else {
                    for sequence in range { entry.pending.remove(sequence) }
                }
            }
            subscriptions[id] = entry
        case .subscriptionIDs(let last): lastSubscriptionID = max(lastSubscriptionID, last)
        case .clockStepped(let by, let wall): clockSteps.append((by, wall))
        }
    }
}
