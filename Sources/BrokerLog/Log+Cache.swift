extension Log {
    /// A block was sealed: with file storage it goes to its segment once it is durable.
    func blockSealed(_ entry: BlockEntry, of state: ChannelState) {
        guard isJournaled, let storage = entry.storage else { return }
        if let disk {
            disk.pending.append(.block(state.id, storage, entry.summary))
            disk.unwrittenBytes += Int(entry.summary.rawSize)
        } else {
            sealedInRecovery.append((state.id, entry))
        }
    }

    /// Sends the background thread what became durable.
    func sendPending() {
        guard let disk, disk.hasWritten else { return }
        if !disk.recoveredSegments.isEmpty { dropRecovered(disk) }
        let ready = disk.pending.prefix { $0.needs <= durable.rawValue }
        if !ready.isEmpty {
            // All at once: what lies behind one another goes to the disk in one write.
            disk.background.add(
                ready.map { pending in
                    switch pending {
                    case .block(let channel, let storage, let summary):
                        .write(channel: channel.rawValue, storage, summary)
                    case .checkpoint(let request): .checkpoint(request)
                    }
                })
            disk.pending.removeFirst(ready.count)
        }
        guard !disk.drops.isEmpty else { return }
        disk.drops.removeAll { drop in
            guard drop.needs <= disk.synced else { return false }
            switch drop.job {
            case .drop(let channel, _), .delete(let channel): disk.readers.closeFiles(of: channel)
            case .write, .compact, .checkpoint: break
            }
            disk.background.add([drop.job])
            return true
        }
    }

    /// Forgets what waited for positions that were taken back.
    func dropPending(above position: UInt64) {
        guard let disk else { return }
        disk.pending.removeAll { pending in
            guard pending.needs > position else { return false }
            switch pending {
            case .block(_, _, let summary): disk.unwrittenBytes -= Int(summary.rawSize)
            case .checkpoint:
                disk.checkpointRuns = false
                disk.checkpointBytes = 0
                disk.checkpointNotBefore = clock.now() &+ 1_000_000_000
            }
            return true
        }
    }

    /// Takes in what the background thread did.
    func takeBackgroundResults() {
        guard let disk else { return }
        let (results, full, keptBytes) = disk.background.takeResults()
        defer {
            // What waits must fit into the space kept back, or nothing that gives space could be done. That it is tried
            // again gives no space: what has waited must have gone.
            let isFull = unsafe (full != nil || hot.pointee.isFull) && disk.unwrittenBytes > keptBytes / 2
            unsafe hot.pointee.isFull = isFull
            disk.fullReason = full ?? (isFull ? disk.fullReason : nil)
        }
        for result in results {
            switch result {
            case .moved(let moved):
                if let state = states[Int(moved.channel)] { relocate(state, moved) }
            case .written(let channel, let summary, let location):
                disk.unwrittenBytes -= Int(summary.rawSize)
                if let state = states[Int(channel)] { wasWritten(state, summary, location) }
            case .lost(let channel, let segment):
                if let state = states[Int(channel)] { setAsideBlocks(of: state, inSegment: segment) }
            case .checkpoint(let position):
                // Of files that went since the one before no space comes back while a reader has them open.
                disk.readers.closeFiles()
                disk.checkpointRuns = false
                disk.checkpointPosition = position
                disk.synced = max(disk.synced, position)
                disk.committer.noteSynced(position)
                counters.checkpoints += 1
            case .left(let reason):
                report(
                    .warning(
                        "a file that is not needed any more could not be removed, and takes its space: \(reason)"
                    ))
            case .checkpointFailed(let reason):
                disk.checkpointRuns = false
                disk.checkpointBytes = 0
                disk.checkpointNotBefore = clock.now() &+ 1_000_000_000
                report(.warning("no checkpoint could be made, and it will be tried again: \(reason)"))
            }
        }
    }

    private func wasWritten(_ state: ChannelState, _ summary: BlockSummary, _ location: BlockLocation) {
        let position = state.index.firstIndex(reaching: summary.firstSequence)
        guard position < state.index.count, state.index[position].summary == summary else {
            // It was trimmed while it waited, and nothing else may ever ask for its file to go.
            if let disk, summary.lastSequence < state.firstSequence {
                dropSegments(of: state, below: summary.lastSequence + 1, disk)
            }
            return
        }
        state.index[position].location = location
        keepCached(state, position)
    }

    /// Counts a block in memory that a segment has, and lets others go while there are too many.
    func keepCached(_ state: ChannelState, _ position: Int) {
        guard let disk, let storage = state.index[position].storage else { return }
        disk.cachedBytes += storage.capacity
        disk.cached.append((state.id, state.index[position].summary.firstSequence))
        evict(disk)
        if disk.cached.count - disk.cachedHead >= disk.cachedSweep { forgetUncached(disk) }
    }

    /// Forgets blocks that went from memory with their messages, not for want of room: while there is room, nothing else does.
    private func forgetUncached(_ disk: Disk) {
        disk.cached = disk.cached.dropFirst(disk.cachedHead).filter { channel, first in
            guard let state = state(channel) else { return false }
            let position = state.index.firstIndex(reaching: first)
            guard position < state.index.count else { return false }
            return state.index[position].summary.firstSequence == first
                && state.index[position].storage != nil
        }
        disk.cachedHead = 0
        disk.cachedSweep = 2 * disk.cached.count + 1024
    }

    /// Lets blocks go that the disk has, while all in memory together are too many.
    private func evict(_ disk: Disk) {
        // However many channels are being filled, what readers asked for must stay until they come for it.
        let others = openBlocks.bytes + disk.unwrittenBytes
        let limit = max(configuration.cacheBytes / 8, configuration.cacheBytes - others)
        var looks = disk.cached.count - disk.cachedHead
        while disk.cachedBytes > limit, looks > 0 {
            looks -= 1
            evictOne(disk)
        }
    }

    /// Keeps the blocks that channels are filling to half of what blocks may take: those of channels at rest
    /// go to their segments before they are full. Looks at a bounded number of channels, and when it went round all of
    /// them for nothing, not again before there is more, or a second has passed in which some came to rest.
    func sealAtRest() {
        guard let disk, openBlocks.bytes > configuration.openLimit, closedReason == nil else { return }
        if disk.sweep.misses >= states.nextID {
            disk.sweep.bytes = min(disk.sweep.bytes, openBlocks.bytes)
            let hasGrown = openBlocks.bytes - disk.sweep.bytes > configuration.openLimit / 16
            guard hasGrown || clock.now() &- disk.sweep.ended >= 1_000_000_000 else { return }
            disk.sweep.misses = 0
        }
        for _ in 0..<min(256, states.nextID) where openBlocks.bytes > configuration.openLimit {
            disk.sweep.channel = (disk.sweep.channel + 1) % states.nextID
            disk.sweep.misses += 1
            if disk.sweep.misses == states.nextID {
                (disk.sweep.bytes, disk.sweep.ended) = (openBlocks.bytes, clock.now())
            }
            guard let state = states[disk.sweep.channel],
                state.openStorage.capacity > ChannelState.smallestBlock
            else { continue }
            let hot = unsafe state.hot.pointee
            let isAtRest = unsafe hot.appendedMessages == state.appendedAtSweep
            state.appendedAtSweep = unsafe hot.appendedMessages
            guard unsafe hot.count > 0, unsafe hot.nextSequence == state.durableSequence + 1,
                isAtRest || openBlocks.bytes > configuration.openLimit * 3 / 2
            else { continue }
            disk.sweep.misses = 0
            if let sealed = state.sealOpen() { blockSealed(sealed, of: state) }
            state.setOpen(
                BlockStorage(capacity: ChannelState.smallestBlock), firstSequence: unsafe hot.nextSequence,
                count: 0, bytes: 0)
        }
    }

    /// Looks at the block that came first: it goes unless it was read since.
    private func evictOne(_ disk: Disk) {
        let (channel, first) = disk.cached[disk.cachedHead]
        disk.cachedHead += 1
        if disk.cachedHead >= 1024, disk.cachedHead * 2 >= disk.cached.count {
            disk.cached.removeFirst(disk.cachedHead)
            disk.cachedHead = 0
        }
        guard let state = state(channel) else { return }
        let position = state.index.firstIndex(reaching: first)
        guard position < state.index.count, state.index[position].summary.firstSequence == first,
            let storage = state.index[position].storage
        else { return }
        if state.index[position].referenced {
            state.index[position].referenced = false
            disk.cached.append((channel, first))
            return
        }
        disk.cachedBytes -= storage.capacity
        state.index[position].storage = nil
    }

    /// A channel is gone: so are its blocks.
    func forgetBlocks(of state: ChannelState) {
        guard let disk else {
            sealedInRecovery.removeAll { $0.0 == state.id }
            return
        }
        for position in 0..<state.index.count { uncount(state.index[position], disk) }
        // Blocks on their way to segments stay so: a checkpoint behind them, of before the deletion, lists them.
    }

    /// A block goes from memory, or from the index.
    func uncount(_ entry: BlockEntry, _ disk: Disk) {
        if entry.location != nil, let storage = entry.storage { disk.cachedBytes -= storage.capacity }
    }

    /// The `count` front blocks of a channel are about to go. Segments that hold nothing else go too, once
    /// a record that says so is synced: recovery could not apply limits to blocks it cannot read.
    func frontDropped(_ state: ChannelState, _ count: Int) {
        guard let disk else { return }
        var last: (position: Int, segment: UInt64)?
        for position in 0..<count {
            let entry = state.index[position]
            uncount(entry, disk)
            if let location = entry.location { last = (position, location.segment) }
        }
        guard let last, let first = state.index[0].location?.segment else { return }
        let isShared =
            last.position + 1 < state.index.count
            && state.index[last.position + 1].location?.segment == last.segment
        if !isShared {
            dropSegments(of: state, below: state.index[last.position].summary.lastSequence + 1, disk)
        } else if first != last.segment {
            dropSegments(of: state, below: last.segment, disk)
        }
        if isShared { askForRoom(state, state.index[last.position + 1], disk) }
    }

    /// Lets the background look at the front segment when what is dead of it, up to the block that is the
    /// front one now, has grown by an eighth.
    private func askForRoom(_ state: ChannelState, _ front: BlockEntry, _ disk: Disk) {
        guard let location = front.location else { return }
        let asked = state.asked?.segment == location.segment ? state.asked?.dead ?? 0 : 0
        guard location.offset >= max(configuration.leastDeadBytes, asked + asked / 8) else { return }
        state.asked = (location.segment, location.offset)
        // Not before a checkpoint that was asked for earlier, which knows messages that are not copied.
        disk.drops.append(
            (
                unsafe hot.pointee.nextPosition - 1,
                .compact(
                    channel: state.id.rawValue, below: front.summary.firstSequence, dead: location.offset)
            ))
    }

    /// Blocks lie in another file now; whoever was reading them from the old one reads them anew.
    private func relocate(_ state: ChannelState, _ moved: MovedBlocks) {
        for block in moved.blocks {
            let position = state.index.firstIndex(reaching: block.summary.firstSequence)
            guard position < state.index.count, state.index[position].summary == block.summary,
                state.index[position].location?.segment == moved.from
            else { continue }
            state.index[position].location = BlockLocation(
                segment: moved.to, offset: block.offset, size: block.size)
            state.index[position].loading = false
        }
        news.readsFinished = true
        // What was read at the old place will not be taken in.
        resumeTrim(of: state)
    }

    private func dropSegments(of state: ChannelState, below first: UInt64, _ disk: Disk) {
        let record = unsafe appendControl(
            .trim, channel: state.id.rawValue, sequence: first,
            body: UnsafeRawBufferPointer(start: nil, count: 0))
        disk.drops.append((record.rawValue, .drop(channel: state.id.rawValue, below: first)))
    }

    /// What recovery trimmed or found deleted goes from the disk once this opening writes.
    private func dropRecovered(_ disk: Disk) {
        for channel in disk.recoveredSegments {
            if let state = states[Int(channel.id)] {
                let ends =
                    channel.segments.sealed.map(\.last) + [
                        channel.segments.active?.blocks.last?.summary.lastSequence ?? .max
                    ]
                // What is damaged or missing at the front was not trimmed: its file stays, for a repair or a copy.
                let first = min(state.firstSequence, state.damage.first?.lowerBound ?? .max)
                if ends.contains(where: { $0 < first }) { dropSegments(of: state, below: first, disk) }
            }
        }
        disk.recoveredSegments = []
    }

    // MARK: Reading

    /// Asks the reader for a block, and for the one behind it.
    func requestLoad(of position: Int, in state: ChannelState) {
        for next in position...(position + 1) where next < state.index.count {
            let entry = state.index[next]
            guard entry.storage == nil, !entry.loading, let location = entry.location else { continue }
            let request = BlockRequest(
                channel: state.id.rawValue, firstSequence: entry.summary.firstSequence,
                count: entry.summary.count,
                location: location)
            if let reader = recoveryReader {
                finishRead(request, reader.read(request))
                return
            }
            state.index[next].loading = true
            disk?.readers.add(request)
        }
    }

    /// Takes in what the reader read.
    func takeReads() {
        guard let disk else { return }
        for (request, outcome) in disk.readers.takeResults() {
            news.readsFinished = true
            finishRead(request, outcome)
        }
    }

    private func finishRead(_ request: BlockRequest, _ outcome: BlockReader.Outcome) {
        guard let state = states[Int(request.channel)] else { return }
        let position = state.index.firstIndex(reaching: request.firstSequence)
        guard position < state.index.count, state.index[position].location == request.location else { return }
        state.index[position].loading = false
        switch outcome {
        case .block(let storage):
            state.index[position].storage = storage
            state.index[position].referenced = true
            keepCached(state, position)
        case .unavailable:
            recoveryLacks = recoveryReader != nil
            // Trimming goes on to wait: asked for at once, the block would be refused as often as two threads can.
            return
        case .damaged(let reason): setAside(state, position, reason)
        }
        resumeTrim(of: state)
    }

    /// Goes on with what waited for the front block.
    func resumeTrim(of state: ChannelState) {
        guard let cutoff = state.waitingCutoff else { return }
        state.waitingCutoff = nil
        // At once: the block may be evicted before the next second.
        if cutoff == .min { applyLimits(to: state) } else { expire(state, cutoff) }
    }
}
