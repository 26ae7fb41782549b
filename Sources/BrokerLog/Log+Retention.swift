extension Log {
    /// Drops messages that are older than their channel allows, and tries again what waits for space on a
    /// full disk or for files that can be opened; call it about once a second.
    ///
    /// - Parameter now: wall clock, nanoseconds since 1970.
    public func expire(now: Int64) {
        if let disk, disk.fullReason != nil { disk.background.retry() }
        disk?.committer.retry()
        for state in states where state.messages > 0 {
            if state.limits.maxAge > 0 {
                expire(state, cutoff(state, now))
            } else if state.waitingCutoff != nil {
                applyLimits(to: state)
            }
        }
    }

    /// Drops what is not younger than `cutoff`, journaled.
    func expire(_ state: ChannelState, _ cutoff: Int64) {
        let before = state.firstSequence
        trim(state, notAfter: cutoff)
        guard state.firstSequence != before else { return }
        unsafe appendControl(
            .trim, channel: state.id.rawValue, sequence: state.firstSequence,
            body: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// Removes the durable messages of a channel whose sequence lies below `first`; journaled. Those that are
    /// not durable yet stay, and the next message gets the sequence that it would have got.
    ///
    /// - Throws: `.unknownChannel`, `.closed`.
    public func purge(_ channel: ChannelID, below first: UInt64) throws(AppendRefused) -> PurgeOutcome {
        guard let state = state(channel) else { throw .unknownChannel }
        if let closedReason { throw .closed(reason: closedReason) }
        let first = min(first, state.durableSequence + 1)
        // What took them before may not be durable yet.
        guard first > state.firstSequence else {
            return .purged(messages: 0, LogPosition(rawValue: lastControl))
        }
        // Exact bytes need the block that goes in part.
        let front = state.index.firstIndex(reaching: first)
        if front < state.index.count, state.index[front].summary.firstSequence < first,
            state.index[front].storage == nil
        {
            requestLoad(of: front, in: state)
            return .loading
        }
        let position = unsafe appendControl(
            .trim, channel: channel.rawValue, sequence: first,
            body: UnsafeRawBufferPointer(start: nil, count: 0))
        let before = state.messages
        trim(state, notAfter: .min, below: first)
        return .purged(messages: before - state.messages, position)
    }

    /// When the next message may expire (nanoseconds since 1970); nil when none does. May be early
    /// where the oldest message is on disk only.
    public var nextExpiry: Int64? {
        var earliest: Int64?
        for state in states where state.limits.maxAge > 0 && state.messages > 0 {
            let age = Int64(clamping: state.limits.maxAge)
            let (due, overflow) = oldestTimestamp(state).addingReportingOverflow(age)
            if !overflow { earliest = min(earliest ?? due, due) }
        }
        return earliest
    }

    /// Applies the limits on messages and bytes.
    func applyLimits(to state: ChannelState) {
        let limits = state.limits
        if (limits.maxMessages > 0 && state.messages > limits.maxMessages)
            || (limits.maxBytes > 0 && state.bytes > limits.maxBytes)
        {
            trim(state, notAfter: .min)
        }
    }

    /// After recovery: drops what its records say, `below`, and what is over the limits. In one go, when
    /// all is known, so that no block is read whose segment was removed because it is gone as a whole.
    func trim(_ state: ChannelState, below: UInt64) { trim(state, notAfter: .min, below: below) }

    private func cutoff(_ state: ChannelState, _ now: Int64) -> Int64 {
        let (cutoff, overflow) = now.subtractingReportingOverflow(Int64(clamping: state.limits.maxAge))
        return overflow ? .min : cutoff
    }

    private func oldestTimestamp(_ state: ChannelState) -> Int64 {
        if let entry = state.index.first {
            guard let storage = entry.storage, state.firstSequence > entry.summary.firstSequence else {
                return entry.summary.firstTimestamp
            }
            return unsafe Record.timestamp(
                storage.record(Int(state.firstSequence - entry.summary.firstSequence)))
        }
        return unsafe Record.timestamp(
            state.openStorage.record(Int(state.firstSequence - state.openFirstSequence)))
    }

    /// Drops messages from the front while there are too many, too many bytes, or they are not younger
    /// than `cutoff`, or lie before `bound`. Whole blocks go without being read; where a block that is not in
    /// memory must go in part, it is asked for and the rest happens when it is there.
    private func trim(_ state: ChannelState, notAfter cutoff: Int64, below bound: UInt64 = 0) {
        if bound > state.firstSequence { dropBlocks(state, state.index.firstIndex(reaching: bound)) }
        if cutoff != .min {
            dropBlocks(state, state.index.firstIndex(atOrAfter: cutoff == .max ? .max : cutoff + 1))
        }
        while state.messages > 0, isOver(state, oldest: oldestTimestamp(state), cutoff, bound) {
            guard let entry = state.index.first else {
                trimMessages(
                    state, in: state.openStorage, first: state.openFirstSequence,
                    count: unsafe state.hot.pointee.count, cutoff, bound)
                return
            }
            if dropsWhole(state, entry) {
                dropBlocks(state, 1)
            } else if let storage = entry.storage {
                trimMessages(
                    state, in: storage, first: entry.summary.firstSequence,
                    count: Int(entry.summary.count), cutoff, bound)
                guard state.firstSequence > entry.summary.lastSequence else { return }
                frontEmptied(state, 1)
            } else {
                requestLoad(of: 0, in: state)
                if let front = state.index.first, front.summary == entry.summary, front.storage == nil {
                    state.waitingCutoff = max(state.waitingCutoff ?? .min, cutoff)
                    return
                }
            }
        }
    }

    private func isOver(_ state: ChannelState, oldest: Int64, _ cutoff: Int64, _ bound: UInt64) -> Bool {
        if state.firstSequence < bound { return true }
        let limits = state.limits
        if limits.maxMessages > 0, state.messages > limits.maxMessages { return true }
        if limits.maxBytes > 0, state.bytes > limits.maxBytes, state.messages > 1 { return true }
        return oldest <= cutoff && cutoff != .min
    }

    /// Whether the limits let nothing of the front block stay.
    private func dropsWhole(_ state: ChannelState, _ entry: BlockEntry) -> Bool {
        let limits = state.limits
        guard state.durableSequence >= entry.summary.lastSequence else { return false }
        let messagesLeft = state.messages - Int(entry.summary.lastSequence - state.firstSequence + 1)
        let bytesLeft = state.bytes - (Int(entry.summary.bytes) - state.frontTrimmedBytes)
        guard messagesLeft > 0 else { return false }
        if limits.maxMessages > 0, messagesLeft >= limits.maxMessages { return true }
        return limits.maxBytes > 0 && bytesLeft >= limits.maxBytes
    }

    /// Drops the `count` front blocks with what is left of them: one step, however many they are. One that
    /// is not durable as a whole stays, and all behind it.
    private func dropBlocks(_ state: ChannelState, _ count: Int) {
        let count = min(count, state.index.firstIndex(reaching: state.durableSequence + 1))
        guard count > 0 else { return }
        for position in 0..<count {
            let summary = state.index[position].summary
            state.messages -= Int(summary.lastSequence - max(summary.firstSequence, state.firstSequence) + 1)
            state.bytes -= Int(summary.bytes)
        }
        state.bytes += state.frontTrimmedBytes
        frontEmptied(state, count)
    }

    /// Goes on to the next block: nothing of the `count` front ones is kept.
    private func frontEmptied(_ state: ChannelState, _ count: Int) {
        frontDropped(state, count)
        state.index.removeFirst(count)
        state.frontTrimmedBytes = 0
        let next = state.index.first?.summary.firstSequence ?? state.openFirstSequence
        state.firstSequence = state.messages > 0 ? next : state.durableSequence + 1
        state.damage.removeAll { $0.upperBound < state.firstSequence }
    }

    private func trimMessages(
        _ state: ChannelState, in storage: BlockStorage, first: UInt64, count: Int, _ cutoff: Int64,
        _ bound: UInt64
    ) {
        let end = first + UInt64(state.durableCount(firstSequence: first, count: count))
        while state.firstSequence < end {
            let record = unsafe storage.record(Int(state.firstSequence - first))
            guard unsafe isOver(state, oldest: Record.timestamp(record), cutoff, bound) else { return }
            let size = unsafe Record.accountedSize(
                record, subjectLength: state.name.count, overhead: overhead)
            state.firstSequence += 1
            state.messages -= 1
            state.bytes -= size
            state.frontTrimmedBytes += size
        }
    }
}
