extension Log {
    /// Takes back every message that is not durable: the disk is full. Control records stay and are
    /// submitted again; they get the last of the positions that were given, so that whoever waits for
    /// one of them sees it durable when it is.
    func takeBackRefused(_ reason: String) {
        guard let disk else { return }
        let chunks = disk.committer.takeRefused()
        disk.bytesInFlight -= chunks.reduce(0) { $0 + $1.recordBytes }
        let open = takeOpenChunk()
        let survivor = JournalChunk()
        var refused: UInt64 = 0
        for source in chunks + [open].compactMap({ $0 }) {
            unsafe source.forEachRecord { record in
                if unsafe Record.kind(record) == Record.Kind.message.rawValue {
                    refused += 1
                } else {
                    unsafe survivor.add(record)
                }
            }
            for touch in source.touches {
                if let state = states[Int(touch.channel)] { rollBack(state) }
            }
            recycle(source)
        }
        counters.refusedMessages += refused
        dropPending(above: durable.rawValue)
        news.refused = reason
        guard survivor.recordCount > 0 else { return }
        survivor.renumber(from: unsafe hot.pointee.nextPosition - UInt64(survivor.recordCount))
        survivor.submittedAt = clock.now()
        enqueue(survivor)
    }

    /// The log is closed for writing: what is not durable is gone from memory too.
    func closeForWriting(_ reason: String) {
        guard closedReason == nil else { return }
        closedReason = reason
        counters.closedReason = reason
        news.closed = reason
        unsafe hot.pointee.isClosed = true
        for state in states { rollBack(state) }
        if let open = takeOpenChunk() { recycle(open) }
        disk?.bytesInFlight = 0
        dropPending(above: durable.rawValue)
        report(.error("the log is closed for writing until the broker is started again: \(reason)"))
    }

    /// Forgets every record of a channel that is not durable.
    private func rollBack(_ state: ChannelState) {
        let next = state.durableSequence + 1
        guard unsafe state.hot.pointee.nextSequence > next else { return }
        while state.openFirstSequence > next, let last = state.index.last, last.summary.lastSequence >= next {
            let entry = state.index.removeLast()
            if let storage = entry.storage {
                state.setOpen(storage, firstSequence: entry.summary.firstSequence, count: 0, bytes: 0)
            }
        }
        if state.openFirstSequence >= next {
            state.setOpen(state.openStorage, firstSequence: next, count: 0, bytes: 0)
        } else {
            let count = Int(next - state.openFirstSequence)
            let storage = state.openStorage
            var bytes = 0
            for index in 0..<count {
                bytes += unsafe Record.accountedSize(
                    storage.record(index), subjectLength: state.name.count, overhead: overhead)
            }
            state.setOpen(storage, firstSequence: state.openFirstSequence, count: count, bytes: UInt64(bytes))
        }
        unsafe state.hot.pointee.nextSequence = next
        unsafe state.hot.pointee.lastTimestamp = state.durableTimestamp
        unsafe state.hot.pointee.appendedMessages = state.durableAppendedMessages
        unsafe state.hot.pointee.appendedBytes = state.durableAppendedBytes
    }
}

extension JournalChunk {
    /// Adds a copy of a record.
    func add(_ record: UnsafeRawPointer) {
        let length = unsafe Record.length(record)
        reserve(length)
        unsafe (base + used).copyMemory(from: record, byteCount: length)
        used += length
        recordCount += 1
    }

    /// Gives the records the positions from `first` on.
    func renumber(from first: UInt64) {
        firstPosition = first
        var position = first
        var offset = Self.headerRoom
        while offset < used {
            let record = unsafe base + offset
            unsafe record.storeBytes(of: position.littleEndian, toByteOffset: 8, as: UInt64.self)
            position += 1
            offset += unsafe Record.length(record)
        }
    }
}
