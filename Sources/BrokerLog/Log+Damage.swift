extension Log {
    /// A segment that a checkpoint has all of is gone while the broker runs: its messages are lost, those among them that
    /// are still in memory too, because the next start will not have them.
    func setAsideBlocks(of state: ChannelState, inSegment segment: UInt64) {
        var lost: [ClosedRange<UInt64>] = []
        var position = 0
        while position < state.index.count {
            let entry = state.index[position]
            if entry.location?.segment == segment {
                if let disk { uncount(entry, disk) }
                let range = takeOut(state, position)
                if let last = lost.last, last.upperBound + 1 == range.lowerBound {
                    lost[lost.count - 1] = last.lowerBound...range.upperBound
                } else {
                    lost.append(range)
                }
            } else {
                position += 1
            }
        }
        if !lost.isEmpty {
            noteDamage(of: state, inSegment: segment, offset: 0, "the file is missing", lost)
        }
        news.readsFinished = true
        resumeTrim(of: state)
    }

    /// Takes a damaged block out of the index: its messages are lost, and readers go on behind them.
    func setAside(_ state: ChannelState, _ position: Int, _ reason: String) {
        let place = state.index[position].location
        let lost = takeOut(state, position)
        noteDamage(of: state, inSegment: place?.segment ?? 0, offset: place?.offset ?? 0, reason, [lost])
    }

    /// Takes a block out of the index, and returns the sequences that are lost with it.
    private func takeOut(_ state: ChannelState, _ position: Int) -> ClosedRange<UInt64> {
        let summary = state.index[position].summary
        let isFront = position == 0
        let lost = max(summary.firstSequence, state.firstSequence)...summary.lastSequence
        state.messages -= Int(lost.upperBound - lost.lowerBound + 1)
        state.bytes -= Int(summary.bytes) - (isFront ? state.frontTrimmedBytes : 0)
        state.addDamage(lost)
        state.index.remove(at: position)
        if isFront {
            state.frontTrimmedBytes = 0
            let next = state.index.first?.summary.firstSequence ?? state.openFirstSequence
            state.firstSequence = state.messages > 0 ? next : state.durableSequence + 1
        }
        return lost
    }

    private func noteDamage(
        of state: ChannelState, inSegment segment: UInt64, offset: UInt64, _ reason: String,
        _ lost: [ClosedRange<UInt64>]
    ) {
        let damage = Damage(
            file: "channels/\(state.id.rawValue)/\(SegmentFile.name(segment))", offset: offset,
            reason: reason,
            lost: lost.map { LostRange(channel: state.id, name: state.name, sequences: $0) })
        counters.damage.append(damage)
        if disk == nil { recovery.damage.append(damage) } else { report(.error("damage: \(damage)")) }
    }
}

extension ChannelState {
    /// Remembers a lost range, in order and joined with its neighbours.
    func addDamage(_ range: ClosedRange<UInt64>) {
        damage.append(range)
        damage.sort { $0.lowerBound < $1.lowerBound }
        var joined: [ClosedRange<UInt64>] = []
        for next in damage {
            if let last = joined.last, next.lowerBound <= last.upperBound + 1 {
                joined[joined.count - 1] = last.lowerBound...max(last.upperBound, next.upperBound)
            } else {
                joined.append(next)
            }
        }
        damage = joined
    }
}
