extension Log {
    /// Creates a channel; journaled, so durable with what is submitted next. Sequences start at 1.
    ///
    /// - Throws: `.closed`, `.tooLarge` (a name has at most 65,535 bytes).
    /// - Precondition: no channel has that name (`channel(named:)`).
    public func createChannel(named name: [UInt8], limits: ChannelLimits) throws(AppendRefused) -> ChannelID {
        precondition(names[name] == nil, "the engine looks a name up before it creates the channel")
        if let closedReason { throw .closed(reason: closedReason) }
        guard name.count <= ChannelRecord.maximumName else {
            throw .tooLarge(bytes: name.count, limit: ChannelRecord.maximumName)
        }
        guard let number = UInt32(exactly: states.nextID), number < .max else {
            throw .closed(reason: "it has given every id that a channel can have")
        }
        let id = ChannelID(rawValue: number)
        install(ChannelState(id: id, name: name, limits: limits, overhead: overhead, account: openBlocks))
        let body = ChannelRecord(limits: limits, name: name).encoded()
        unsafe body.withUnsafeBytes { bytes in
            _ = unsafe appendControl(.createChannel, channel: id.rawValue, body: bytes)
        }
        return id
    }

    /// Deletes a channel and its messages; journaled first, its files go once that is synced.
    /// The id finds nothing and the name is free as soon as this returns. It is gone for good once the log
    /// is durable up to the position returned.
    @discardableResult
    public func deleteChannel(_ channel: ChannelID) throws(AppendRefused) -> LogPosition {
        guard let state = state(channel) else { throw .unknownChannel }
        if let closedReason { throw .closed(reason: closedReason) }
        let position = unsafe appendControl(
            .deleteChannel, channel: channel.rawValue, body: UnsafeRawBufferPointer(start: nil, count: 0))
        remove(state)
        disk?.drops.append((position.rawValue, .delete(channel: channel.rawValue)))
        return position
    }

    /// Changes what a channel keeps; journaled. What is over the new limits goes at once; limits that
    /// are raised bring nothing back. (What the limits before let go of and still waits for a block from the disk is an
    /// exception; right after opening nothing does.)
    public func setLimits(_ limits: ChannelLimits, of channel: ChannelID) {
        guard let state = state(channel), state.limits != limits else { return }
        state.limits = limits
        let body = ChannelRecord(limits: limits, name: []).encoded()
        unsafe body.withUnsafeBytes { bytes in
            _ = unsafe appendControl(
                .setLimits, channel: channel.rawValue, sequence: state.firstSequence, body: bytes)
        }
        applyLimits(to: state)
    }

    /// Every channel, oldest first.
    public var channels: [ChannelID] { states.map(\.id) }

    /// The channel of that name.
    public func channel(named name: [UInt8]) -> ChannelID? { names[name] }

    /// The name of a channel that exists.
    public func name(of channel: ChannelID) -> [UInt8]? { state(channel)?.name }

    /// The limits of a channel that exists.
    public func limits(of channel: ChannelID) -> ChannelLimits? { state(channel)?.limits }

    /// What a channel that exists holds: durable messages only.
    public func info(of channel: ChannelID) -> ChannelInfo? {
        guard let state = state(channel) else { return nil }
        return ChannelInfo(
            firstSequence: state.firstSequence, lastSequence: state.durableSequence, messages: state.messages,
            bytes: state.bytes, lastTimestamp: state.durableTimestamp, damage: state.damage)
    }

    /// Sees to it that the next message of the channel gets a sequence above `sequence`, which somebody
    /// was given before: a consumer remembers more than this store holds (it was restored from an older
    /// copy, or damaged). Called before anything is appended to the channel. A sequence that nobody can have reached
    /// (2^55 or more) changes nothing: recovery does not believe numbers above `Record.numberLimit`.
    public func raiseNextSequence(of channel: ChannelID, above sequence: UInt64) {
        guard let state = state(channel), sequence < Record.numberLimit / 2,
            unsafe state.hot.pointee.nextSequence == state.durableSequence + 1
        else { return }
        raise(state, to: sequence + 1)
    }

    func state(_ channel: ChannelID) -> ChannelState? {
        states[Int(channel.rawValue)]
    }

    /// Adds a channel to the catalogue; ids that were skipped stay unused.
    func install(_ state: ChannelState) {
        states[Int(state.id.rawValue)] = state
        names[state.name] = state.id
        unsafe hot.pointee.pages = states.directory
        unsafe hot.pointee.pageCount = states.directoryCount
    }

    /// Takes a channel out of the catalogue.
    func remove(_ state: ChannelState) {
        names[state.name] = nil
        guessedChannels.remove(state.id)
        states[Int(state.id.rawValue)] = nil
        forgetBlocks(of: state)
    }
}
