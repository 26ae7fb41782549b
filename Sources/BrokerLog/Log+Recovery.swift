extension Log {
    /// Takes in one record of the journal.
    func recover(_ record: UnsafeRawPointer, covered: UInt64) {
        guard unsafe Record.position(record) > covered, unsafe Record.sequence(record) < Record.numberLimit,
            let kind = unsafe Record.Kind(rawValue: Record.kind(record))
        else { return }
        recovery.records += 1
        let id = unsafe ChannelID(rawValue: Record.channel(record))
        switch kind {
        case .message:
            if let state = state(id) ?? nameless(id) { unsafe recoverMessage(record, state) }
        case .state:
            unsafe recoveredRecords.append(Self.body(record))
        case .createChannel:
            guard let body = unsafe ChannelRecord(Self.body(record)) else { return }
            if guessedChannels.contains(id), let guess = state(id) { remove(guess) }
            guard mayInstall(id) else { return }
            // The channel that had the name before was deleted by a record that is damaged.
            if let older = names[body.name].flatMap(state) { remove(older) }
            install(
                ChannelState(
                    id: id, name: body.name, limits: body.limits, overhead: overhead, account: openBlocks))
        case .deleteChannel:
            if let state = state(id) { remove(state) }
        case .setLimits:
            guard let state = state(id), let body = unsafe ChannelRecord(Self.body(record)) else { return }
            state.recoveredFloor = unsafe max(state.recoveredFloor, Record.sequence(record))
            state.limits = body.limits
        case .trim:
            if let state = state(id) {
                state.recoveredFloor = unsafe max(state.recoveredFloor, Record.sequence(record))
            }
        }
    }

    private func mayInstall(_ id: ChannelID) -> Bool {
        id.rawValue > 0 && id.rawValue < .max && state(id) == nil
            && Int(id.rawValue) < states.nextID + Self.idLeap
    }

    /// The channel of a message whose creation is in no record: damage took that. What is whole of it is served.
    private func nameless(_ id: ChannelID) -> ChannelState? {
        let name = Array("damaged.channel.\(id.rawValue)".utf8)
        guard mayInstall(id), names[name] == nil else { return nil }
        let state = ChannelState(
            id: id, name: name, limits: ChannelLimits(), overhead: overhead, account: openBlocks)
        install(state)
        namelessChannels.append(
            Damage(
                file: "journal", offset: 0,
                reason:
                    "the record that created channel \(id.rawValue) is damaged, and its name is lost: what is whole "
                    + "of it is served as \(String(decoding: name, as: UTF8.self))"))
        return state
    }

    /// A record that seems to be in a damaged frame: the range it names, if it is the channel's next.
    func recoverLost(_ record: UnsafeRawPointer, covered: UInt64) -> LostRange? {
        let kind = unsafe Record.kind(record)
        if kind == Record.Kind.createChannel.rawValue, unsafe Record.position(record) > covered {
            // Its name may not be what it was, but more can be said of the channel than by its number.
            let id = unsafe ChannelID(rawValue: Record.channel(record))
            if mayInstall(id), let body = unsafe ChannelRecord(Self.body(record)), names[body.name] == nil,
                !body.name.isEmpty, body.name.allSatisfy({ $0 > 32 && $0 < 127 })
            {
                install(
                    ChannelState(
                        id: id, name: body.name, limits: body.limits, overhead: overhead, account: openBlocks)
                )
                guessedChannels.insert(id)
            }
        }
        guard kind == Record.Kind.message.rawValue, unsafe Record.position(record) > covered,
            let state = unsafe state(ChannelID(rawValue: Record.channel(record))),
            unsafe Record.sequence(record) == state.hot.pointee.nextSequence
        else { return nil }
        let sequence = unsafe Record.sequence(record)
        skip(state, to: sequence + 1)
        return LostRange(channel: state.id, name: state.name, sequences: sequence...sequence)
    }

    /// Ids are journaled one after the other; damage may hide a few creations, not millions.
    private static let idLeap = 1 << 20

    private static func body(_ record: UnsafeRawPointer) -> [UInt8] {
        unsafe Array(
            UnsafeRawBufferPointer(
                start: record + Record.headerSize, count: Record.length(record) - Record.headerSize))
    }

    private func recoverMessage(_ record: UnsafeRawPointer, _ state: ChannelState) {
        let sequence = unsafe Record.sequence(record)
        let next = unsafe state.hot.pointee.nextSequence
        guard sequence >= next else { return }
        if sequence > next {
            noteLost(LostRange(channel: state.id, name: state.name, sequences: next...(sequence - 1)))
            skip(state, to: sequence)
        }
        let length = unsafe Record.length(record)
        if let sealed = state.makeRoom(for: length) { blockSealed(sealed, of: state) }
        unsafe state.appendCopy(of: record, length: length, overhead: overhead)
    }

    /// Leaves out the sequences before `next`: they are lost.
    func skip(_ state: ChannelState, to next: UInt64) {
        if let sealed = state.skip(to: next) { blockSealed(sealed, of: state) }
    }

    /// What a record says of a channel's first sequence holds whatever became of the messages before it.
    func raise(_ state: ChannelState, to next: UInt64) {
        if let sealed = state.raise(to: next) { blockSealed(sealed, of: state) }
    }

    /// Names messages that a gap in the sequences shows to be lost, with the damage that took them.
    private func noteLost(_ range: LostRange) { lostByGap.append(range) }
}

extension ChannelState {
    /// Puts a durable record behind the open block's last one; there is room.
    func appendCopy(of record: UnsafeRawPointer, length: Int, overhead: Int) {
        let size = unsafe Record.accountedSize(record, subjectLength: name.count, overhead: overhead)
        let count = unsafe hot.pointee.count
        unsafe (hot.pointee.base + hot.pointee.used).copyMemory(from: record, byteCount: length)
        unsafe openStorage.setOffset(hot.pointee.used, of: count)
        if count == 0 {
            unsafe hot.pointee.firstPosition = Record.position(record)
            unsafe hot.pointee.blockFirstTimestamp = Record.timestamp(record)
        }
        unsafe hot.pointee.used += length
        unsafe hot.pointee.count += 1
        unsafe hot.pointee.blockBytes += UInt64(size)
        unsafe hot.pointee.nextSequence = Record.sequence(record) + 1
        unsafe hot.pointee.lastTimestamp = max(hot.pointee.lastTimestamp, Record.timestamp(record))
        unsafe hot.pointee.lastPosition = Record.position(record)
        if messages == 0 { firstSequence = unsafe Record.sequence(record) }
        messages += 1
        bytes += size
        unsafe durableSequence = Record.sequence(record)
        unsafe durableTimestamp = hot.pointee.lastTimestamp
    }

    /// Leaves out the sequences before `next`: they are lost. Returns the block that this sealed.
    func skip(to next: UInt64) -> BlockEntry? {
        let first = unsafe hot.pointee.nextSequence
        guard next > first else { return nil }
        let sealed = raise(to: next)
        if let last = damage.last, last.upperBound + 1 == first {
            damage[damage.count - 1] = last.lowerBound...(next - 1)
        } else {
            damage.append(first...(next - 1))
        }
        return sealed
    }

    /// Gives the next message at least the sequence `next`. Returns the block that this sealed.
    func raise(to next: UInt64) -> BlockEntry? {
        guard unsafe next > hot.pointee.nextSequence else { return nil }
        var sealed: BlockEntry?
        if unsafe hot.pointee.count > 0 {
            sealed = sealOpen()
            openStorage = BlockStorage(capacity: Self.smallestBlock)
        }
        unsafe hot.pointee.nextSequence = next
        setOpen(openStorage, firstSequence: next, count: 0, bytes: 0)
        durableSequence = next - 1
        if messages == 0 { firstSequence = next }
        return sealed
    }
}
