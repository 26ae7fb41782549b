extension Log {
    /// Takes one message. Its bytes are copied before this returns; it becomes durable, and visible to
    /// readers and limits, after `submit()`.
    ///
    /// - Parameters:
    ///   - wallClock: nanoseconds since 1970.
    ///   - reply: at most 65,535 bytes.
    /// - Throws: `AppendRefused` when the channel is unknown, the message too large, the disk full, or the log closed.
    public func append(
        to channel: ChannelID, wallClock: Int64, reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) throws(AppendRefused) -> Appended {
        let log = unsafe hot
        guard let target = unsafe hotChannel(channel) else { throw .unknownChannel }
        if unsafe log.pointee.isClosed { throw .closed(reason: closedReason ?? "unknown") }
        if unsafe log.pointee.isFull {
            counters.refusedMessages += 1
            throw .full(reason: disk?.fullReason ?? "unknown")
        }
        let length = Record.headerSize &+ reply.count &+ headers.count &+ payload.count
        guard length <= Record.maximumSize, reply.count <= Record.maximumReply else {
            throw .tooLarge(bytes: length - Record.headerSize, limit: Record.maximumSize - Record.headerSize)
        }
        if unsafe log.pointee.chunkUsed &+ length > log.pointee.chunkCapacity { makeChunkRoom(length) }
        let blockNeed = unsafe target.pointee.used &+ length
        if unsafe blockNeed > ChannelState.blockLimit
            || blockNeed &+ 4 &* (target.pointee.count &+ 1) > target.pointee.capacity
        {
            makeBlockRoom(channel, length)
        }

        let position = unsafe log.pointee.nextPosition
        let sequence = unsafe target.pointee.nextSequence
        let timestamp = unsafe max(wallClock, target.pointee.lastTimestamp)
        let record = unsafe target.pointee.base + target.pointee.used
        unsafe Record.writeHeader(
            at: record, length: length, kind: .message, replyLength: reply.count, position: position,
            channel: channel.rawValue, headersLength: headers.count, sequence: sequence, timestamp: timestamp)
        var end = unsafe record + Record.headerSize
        if let bytes = reply.baseAddress {
            unsafe end.copyMemory(from: bytes, byteCount: reply.count)
            unsafe end += reply.count
        }
        if let bytes = headers.baseAddress {
            unsafe end.copyMemory(from: bytes, byteCount: headers.count)
            unsafe end += headers.count
        }
        if let bytes = payload.baseAddress {
            unsafe end.copyMemory(from: bytes, byteCount: payload.count)
        }
        unsafe (target.pointee.base + (target.pointee.capacity &- 4 &* (target.pointee.count &+ 1)))
            .storeBytes(
                of: UInt32(truncatingIfNeeded: target.pointee.used), as: UInt32.self)
        if isJournaled {
            unsafe (log.pointee.chunkBase + log.pointee.chunkUsed).copyMemory(from: record, byteCount: length)
            unsafe log.pointee.chunkUsed &+= length
        }

        let size = unsafe Record.accountedSize(
            subjectLength: target.pointee.subjectLength, sequence: sequence, timestamp: timestamp,
            reply: reply.count, headers: headers.count, payload: payload.count,
            overhead: target.pointee.overhead)
        if unsafe target.pointee.count == 0 {
            unsafe target.pointee.firstPosition = position
            unsafe target.pointee.blockFirstTimestamp = timestamp
        }
        unsafe target.pointee.used &+= length
        unsafe target.pointee.count &+= 1
        unsafe target.pointee.nextSequence = sequence &+ 1
        unsafe target.pointee.lastTimestamp = timestamp
        unsafe target.pointee.lastPosition = position
        unsafe target.pointee.blockBytes &+= UInt64(truncatingIfNeeded: size)
        unsafe target.pointee.appendedMessages &+= 1
        unsafe target.pointee.appendedBytes &+= UInt64(truncatingIfNeeded: size)
        if unsafe target.pointee.touchedChunk != log.pointee.serial {
            unsafe target.pointee.touchedChunk = log.pointee.serial
            touched.append(channel.rawValue)
        }
        unsafe log.pointee.nextPosition = position &+ 1
        unsafe log.pointee.chunkRecords &+= 1
        unsafe log.pointee.chunkHasMessages = true
        return Appended(sequence: sequence, timestamp: timestamp, position: LogPosition(rawValue: position))
    }

    /// Appends one opaque record of the engine, which `recoveredState` gives back after a restart unless
    /// a checkpoint covered it. Never refused for want of space; when the log is closed the position
    /// returned is never reached.
    @discardableResult
    public func appendState(_ bytes: UnsafeRawBufferPointer) -> LogPosition {
        unsafe appendControl(.state, body: bytes)
    }

    /// Appends a record that is not a message.
    @discardableResult
    func appendControl(
        _ kind: Record.Kind, channel: UInt32 = 0, sequence: UInt64 = 0, body: UnsafeRawBufferPointer
    ) -> LogPosition {
        let length = Record.headerSize + body.count
        precondition(length <= Record.maximumSize, "a control record is far smaller than a frame may be")
        let position = unsafe hot.pointee.nextPosition
        if unsafe hot.pointee.isClosed { return LogPosition(rawValue: position) }
        if isJournaled {
            if unsafe hot.pointee.chunkUsed + length > hot.pointee.chunkCapacity { makeChunkRoom(length) }
            let record = unsafe hot.pointee.chunkBase + hot.pointee.chunkUsed
            unsafe Record.writeHeader(
                at: record, length: length, kind: kind, position: position, channel: channel,
                sequence: sequence)
            if let start = body.baseAddress {
                unsafe (record + Record.headerSize).copyMemory(from: start, byteCount: body.count)
            }
            unsafe hot.pointee.chunkUsed += length
        }
        unsafe hot.pointee.chunkRecords += 1
        unsafe hot.pointee.nextPosition = position + 1
        lastControl = position
        return LogPosition(rawValue: position)
    }

    /// Bytes of records up to which chunks that wait are put together into one frame. That is copying: of more bytes it
    /// costs more than the sync that it saves, and leaves large chunks.
    static let frameLimit = 1 << 20
    /// Bytes of emptied chunks that are kept: so many are under way where messages are large.
    static let spareLimit = 24 << 20

    /// The hot part of a channel that exists.
    @inline(__always)
    func hotChannel(_ channel: ChannelID) -> UnsafeMutablePointer<ChannelHot>? {
        let id = Int(channel.rawValue)
        let number = id >> ChannelTable.pageBits
        guard unsafe number < hot.pointee.pageCount, let page = unsafe hot.pointee.pages?[number] else {
            return nil
        }
        return unsafe page[id & (ChannelTable.pageSize - 1)]
    }

    /// Room for a record: the next chunk, and a larger one for what no chunk has room for. Chunks that are full go on as they
    /// are, because memory that is new costs more than filling it (decision 0038).
    private func makeChunkRoom(_ length: Int) {
        guard isJournaled else { return }
        submit()
        chunk.reserve(length)
        unsafe hot.pointee.chunkBase = chunk.base
        unsafe hot.pointee.chunkCapacity = chunk.capacity
    }

    private func makeBlockRoom(_ channel: ChannelID, _ length: Int) {
        guard let state = states[Int(channel.rawValue)] else { return }
        if let sealed = state.makeRoom(for: length) { blockSealed(sealed, of: state) }
    }

    /// Hands what was appended since to the committer; call it at the end of each tick. Cheap when
    /// nothing was appended.
    public func submit() {
        if let full = takeOpenChunk() { enqueue(full) }
    }

    /// The chunk that was being filled, nil if it is empty; the next one is begun.
    func takeOpenChunk() -> JournalChunk? {
        if unsafe hot.pointee.chunkRecords == 0 { return nil }
        let full = chunk
        unsafe full.used = hot.pointee.chunkUsed
        unsafe full.recordCount = hot.pointee.chunkRecords
        unsafe full.firstPosition = hot.pointee.nextPosition - UInt64(full.recordCount)
        unsafe full.hasMessages = hot.pointee.chunkHasMessages
        full.submittedAt = clock.now()
        for id in touched {
            guard let target = unsafe hotChannel(ChannelID(rawValue: id)) else { continue }
            full.touches.append(
                unsafe ChannelTouch(
                    channel: id, lastSequence: target.pointee.nextSequence - 1,
                    lastTimestamp: target.pointee.lastTimestamp, messages: target.pointee.appendedMessages,
                    bytes: target.pointee.appendedBytes))
        }
        openChunk()
        return full
    }

    /// Begins the next chunk.
    func openChunk() {
        if let spare = spareChunks.popLast() {
            spareBytes -= spare.capacity
            chunk = spare
        } else {
            chunk = JournalChunk()
        }
        touched.removeAll(keepingCapacity: true)
        unsafe hot.pointee.serial += 1
        unsafe hot.pointee.chunkBase = chunk.base
        unsafe hot.pointee.chunkCapacity = chunk.capacity
        unsafe hot.pointee.chunkUsed = chunk.used
        unsafe hot.pointee.chunkRecords = 0
        unsafe hot.pointee.chunkHasMessages = false
    }

    /// Sends a chunk on its way to being durable.
    func enqueue(_ full: JournalChunk) {
        if let disk {
            disk.bytesInFlight += full.recordBytes
            disk.hasWritten = true
            if disk.committer.submit(full) { recycle(full) }
            return
        }
        if lateAnswers != nil {
            lateAnswers?.chunks.append(full)
        } else {
            becameDurable(full)
        }
        wake()
    }

    /// Takes in that all of `chunk` is durable.
    func becameDurable(_ chunk: JournalChunk) {
        durable = LogPosition(rawValue: chunk.lastPosition)
        news.durableAdvanced = true
        for touch in chunk.touches {
            guard let state = states[Int(touch.channel)] else { continue }
            state.messages += Int(touch.messages - state.durableAppendedMessages)
            state.bytes += Int(touch.bytes - state.durableAppendedBytes)
            state.durableSequence = touch.lastSequence
            state.durableTimestamp = touch.lastTimestamp
            state.durableAppendedMessages = touch.messages
            state.durableAppendedBytes = touch.bytes
            applyLimits(to: state)
        }
        recycle(chunk)
    }

    /// Keeps the memory of some chunks for the next ones.
    func recycle(_ chunk: JournalChunk) {
        chunk.reset()
        guard spareBytes + chunk.capacity <= Self.spareLimit else { return }
        spareBytes += chunk.capacity
        spareChunks.append(chunk)
    }
}
