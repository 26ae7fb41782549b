extension CheckpointChannel {
    /// Adds the channel as `CheckpointFile` says.
    func append(to bytes: inout [UInt8]) {
        bytes.appendInteger(id)
        bytes.appendCounted(name)
        bytes.append(contentsOf: ChannelRecord(limits: limits, name: []).encoded())
        bytes.appendInteger(firstSequence)
        bytes.appendInteger(lastSequence)
        bytes.appendInteger(lastTimestamp)
        bytes.appendInteger(messages)
        bytes.appendInteger(self.bytes)
        bytes.appendInteger(frontTrimmedBytes)
        bytes.appendInteger(UInt32(damage.count))
        for range in damage {
            bytes.appendInteger(range.lowerBound)
            bytes.appendInteger(range.upperBound)
        }
        bytes.appendInteger(UInt32(segments.sealed.count))
        for segment in segments.sealed {
            bytes.appendInteger(segment.first)
            bytes.appendInteger(segment.last)
            bytes.appendInteger(segment.size)
            bytes.appendInteger(segment.messages)
            bytes.appendInteger(segment.bytes)
        }
        bytes.append(segments.active == nil ? 0 : 1)
        if let active = segments.active {
            bytes.appendInteger(active.first)
            bytes.appendInteger(active.size)
            bytes.appendInteger(UInt32(active.blocks.count))
            for block in active.blocks { SegmentFile.append(block, to: &bytes) }
        }
        bytes.append(tail == nil ? 0 : 1)
        if let tail { SegmentFile.append(tail, to: &bytes) }
    }

    /// Reads a channel; nil when the bytes are not one.
    init?(_ reader: inout ByteReader) {
        guard let id = reader.integer(UInt32.self), id > 0, let name = reader.counted(),
            let limitBytes = reader.bytes(24), let limits = ChannelRecord(limitBytes)?.limits,
            let first = reader.integer(UInt64.self), let last = reader.integer(UInt64.self),
            last < Record.numberLimit, first <= last + 1, let time = reader.integer(Int64.self),
            let messages = reader.integer(UInt64.self),
            let bytes = reader.integer(UInt64.self), let trimmed = reader.integer(UInt64.self),
            messages < Record.numberLimit, bytes < Record.numberLimit, trimmed < Record.numberLimit,
            let damages = reader.integer(UInt32.self)
        else { return nil }
        self.init(
            id: id, name: name, limits: limits, firstSequence: first, lastSequence: last, lastTimestamp: time,
            messages: messages, bytes: bytes, frontTrimmedBytes: trimmed, damage: [],
            segments: SegmentStore.Channel(), tail: nil)
        for _ in 0..<damages {
            guard let lower = reader.integer(UInt64.self), let upper = reader.integer(UInt64.self),
                lower <= upper, upper < Record.numberLimit
            else { return nil }
            damage.append(lower...upper)
        }
        guard readSegments(&reader) else { return nil }
        switch reader.integer(UInt8.self) {
        case 0: break
        case 1:
            // The tail holds the channel's newest messages.
            guard let block = SegmentFile.readBlock(&reader), block.summary.lastSequence == last else {
                return nil
            }
            tail = block
        default: return nil
        }
    }

    private mutating func readSegments(_ reader: inout ByteReader) -> Bool {
        guard let count = reader.integer(UInt32.self) else { return false }
        for _ in 0..<count {
            guard let first = reader.integer(UInt64.self), let last = reader.integer(UInt64.self),
                first <= last, last < Record.numberLimit,
                let size = reader.integer(UInt64.self), let messages = reader.integer(UInt64.self),
                let bytes = reader.integer(UInt64.self), size < Record.offsetLimit,
                messages < Record.numberLimit, bytes < Record.numberLimit
            else { return false }
            segments.sealed.append(
                SegmentStore.Sealed(first: first, last: last, size: size, messages: messages, bytes: bytes))
        }
        switch reader.integer(UInt8.self) {
        case 0: return true
        case 1: break
        default: return false
        }
        guard let first = reader.integer(UInt64.self), let size = reader.integer(UInt64.self),
            let blocks = reader.integer(UInt32.self), first < Record.numberLimit, size < Record.offsetLimit
        else { return false }
        var active = SegmentStore.Active(first: first, size: size, blocks: [], needsCut: true)
        for _ in 0..<blocks {
            guard let block = SegmentFile.readBlock(&reader) else { return false }
            active.blocks.append(block)
        }
        segments.active = active
        return true
    }
}

extension Damage {
    /// Adds the damage as `CheckpointFile` says.
    func append(to bytes: inout [UInt8]) {
        bytes.appendCounted(Array(file.utf8))
        bytes.appendInteger(offset)
        bytes.appendCounted(Array(reason.utf8))
        bytes.appendInteger(UInt32(lost.count))
        for range in lost {
            bytes.appendInteger(range.channel.rawValue)
            bytes.appendCounted(range.name)
            bytes.appendInteger(range.sequences.lowerBound)
            bytes.appendInteger(range.sequences.upperBound)
        }
    }

    /// Reads a damage; nil when the bytes are not one.
    init?(_ reader: inout ByteReader) {
        guard let file = reader.counted(), let offset = reader.integer(UInt64.self),
            let reason = reader.counted(),
            let count = reader.integer(UInt32.self)
        else { return nil }
        self.init(
            file: String(decoding: file, as: UTF8.self), offset: offset,
            reason: String(decoding: reason, as: UTF8.self))
        for _ in 0..<count {
            guard let channel = reader.integer(UInt32.self), let name = reader.counted(),
                let lower = reader.integer(UInt64.self), let upper = reader.integer(UInt64.self),
                lower <= upper, upper < Record.numberLimit
            else { return nil }
            lost.append(
                LostRange(channel: ChannelID(rawValue: channel), name: name, sequences: lower...upper))
        }
    }
}
