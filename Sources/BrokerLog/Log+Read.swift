extension Log {
    /// Durable messages of a channel from `sequence` on, as many as lie in one block. Costs a search in
    /// the channel's block index, no copy.
    public func read(_ channel: ChannelID, at sequence: UInt64) -> ReadOutcome {
        guard let state = state(channel) else { return .end }
        if sequence > state.durableSequence { return .end }
        if sequence < state.firstSequence { return .missing(next: state.firstSequence) }
        if lateAnswers?.delaysRead() == true { return .loading }
        if sequence >= state.openFirstSequence {
            return batch(
                state, state.openStorage, first: state.openFirstSequence,
                count: unsafe state.hot.pointee.count, from: sequence)
        }
        let position = state.index.firstIndex(reaching: sequence)
        guard position < state.index.count else { return .missing(next: state.openFirstSequence) }
        let entry = state.index[position]
        if sequence < entry.summary.firstSequence { return .missing(next: entry.summary.firstSequence) }
        guard let storage = entry.storage else {
            requestLoad(of: position, in: state)
            return .loading
        }
        state.index[position].referenced = true
        return batch(
            state, storage, first: entry.summary.firstSequence, count: Int(entry.summary.count),
            from: sequence)
    }

    /// The oldest durable message kept whose time is at or after `time` (nanoseconds since 1970).
    public func sequence(_ channel: ChannelID, atOrAfter time: Int64) -> SequenceLookup {
        guard let state = state(channel), state.messages > 0, state.durableTimestamp >= time else {
            return .end
        }
        let position = state.index.firstIndex(atOrAfter: time)
        if position == state.index.count {
            return found(
                state, state.openStorage, first: state.openFirstSequence,
                count: unsafe state.hot.pointee.count, time)
        }
        let entry = state.index[position]
        if entry.summary.firstTimestamp >= time {
            return .found(max(entry.summary.firstSequence, state.firstSequence))
        }
        guard let storage = entry.storage else {
            requestLoad(of: position, in: state)
            return .loading
        }
        return found(
            state, storage, first: entry.summary.firstSequence, count: Int(entry.summary.count), time)
    }

    private func batch(
        _ state: ChannelState, _ storage: BlockStorage, first: UInt64, count: Int, from sequence: UInt64
    ) -> ReadOutcome {
        if sequence < first { return .missing(next: first) }
        let skipped = Int(sequence - first)
        let available = state.durableCount(firstSequence: first, count: count) - skipped
        guard available > 0 else { return .end }
        return .messages(
            MessageBatch(storage: storage, firstIndex: skipped, firstSequence: sequence, count: available))
    }

    private func found(
        _ state: ChannelState, _ storage: BlockStorage, first: UInt64, count: Int, _ time: Int64
    ) -> SequenceLookup {
        var low = 0
        var high = state.durableCount(firstSequence: first, count: count)
        let end = high
        while low < high {
            let middle = (low + high) / 2
            if unsafe Record.timestamp(storage.record(middle)) >= time {
                high = middle
            } else {
                low = middle + 1
            }
        }
        return low == end ? .end : .found(max(first + UInt64(low), state.firstSequence))
    }
}
