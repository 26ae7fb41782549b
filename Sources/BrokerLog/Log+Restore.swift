extension Log {
    /// Takes in a checkpoint: the state of the log at its position.
    func restore(
        _ checkpoint: CheckpointFile, _ directory: StoreDirectory, _ fileSystem: any FileSystem
    ) throws(FileError) {
        recovery.checkpoint = checkpoint.number
        recoveredSnapshot = checkpoint.snapshot
        // Whether the file `store` is damaged shows at every start; nobody but an operator mends it.
        counters.damage = checkpoint.damage.filter { $0.file != "store" }
        recovery.damage += counters.damage
        states.skip(to: Int(checkpoint.nextChannelID))
        let tailsPath = directory.checkpoints + "/" + CheckpointFile.name(checkpoint.number, ".tails")
        let tails: OpenFile?
        do throws(FileError) {
            tails =
                checkpoint.channels.contains { $0.tail != nil } ? try fileSystem.open(tailsPath, .read) : nil
        } catch {
            guard error.isMissing else { throw error }
            tails = nil
        }
        defer { if let tails { fileSystem.close(tails) } }
        for channel in checkpoint.channels {
            let state = ChannelState(
                id: ChannelID(rawValue: channel.id), name: channel.name, limits: channel.limits,
                overhead: overhead, account: openBlocks)
            install(state)
            state.restore(channel)
            for segment in channel.segments.sealed where segment.last >= channel.firstSequence {
                try restoreSealed(segment, state, directory, fileSystem)
            }
            if let active = channel.segments.active {
                try restoreActive(active, state, directory, fileSystem)
            }
            state.weighHoles(tailBytes: Int(channel.tail?.summary.bytes ?? 0))
            if let tail = channel.tail {
                let name = "checkpoints/" + CheckpointFile.name(checkpoint.number, ".tails")
                try restoreTail(tail, state, tails, name, directory, fileSystem)
            }
            state.reconcile()
        }
    }

    /// A segment that is not sealed: the checkpoint lists its blocks. Those that the file is too short for are missing.
    private func restoreActive(
        _ segment: SegmentStore.Active, _ state: ChannelState, _ directory: StoreDirectory,
        _ fileSystem: any FileSystem
    ) throws(FileError) {
        var size = 0
        if let file = try openSegment(segment.first, state, directory, fileSystem) {
            defer { fileSystem.close(file) }
            size = try fileSystem.size(file)
        }
        for block in segment.blocks {
            let isThere = block.offset <= UInt64(size) && UInt64(block.size) <= UInt64(size) - block.offset
            state.addBlock(block, segment: segment.first, isThere: isThere)
        }
    }

    /// Opens a segment, and says so if its header is not its own; nil when the file is missing.
    private func openSegment(
        _ first: UInt64, _ state: ChannelState, _ directory: StoreDirectory, _ fileSystem: any FileSystem
    ) throws(FileError) -> OpenFile? {
        let id = state.id.rawValue
        let file: OpenFile
        do throws(FileError) {
            file = try fileSystem.open(SegmentFile.path(directory.channels, id, first), .read)
        } catch {
            guard error.isMissing else { throw error }
            return nil
        }
        do throws(FileError) {
            let head = try FileBytes(
                file, length: SegmentFile.headerRead, fileSystem: fileSystem, skipsUnreadable: true)
            let expected = SegmentFile.header(storeID: directory.storeID, channel: id, first: first)
            if head.array(0..<head.count) != Array(expected.prefix(SegmentFile.headerRead)) {
                recovery.damage.append(
                    Damage(
                        file: "channels/\(id)/\(SegmentFile.name(first))", offset: 0,
                        reason: "the header of the segment is damaged, or the file is another's"))
            }
        } catch {
            fileSystem.close(file)
            throw error
        }
        return file
    }

    private func restoreSealed(
        _ segment: SegmentStore.Sealed, _ state: ChannelState, _ directory: StoreDirectory,
        _ fileSystem: any FileSystem
    ) throws(FileError) {
        let id = state.id.rawValue
        var blocks: [SegmentFile.Block] = []
        if let file = try openSegment(segment.first, state, directory, fileSystem) {
            defer { fileSystem.close(file) }
            let size = try fileSystem.size(file)
            if let index = try SegmentFile.readFooter(
                file, size: size, channel: id, first: segment.first, fileSystem: fileSystem)
            {
                blocks = index
            } else {
                recovery.damage.append(
                    Damage(
                        file: "channels/\(id)/\(SegmentFile.name(segment.first))", offset: segment.size,
                        reason:
                            "the index at the end of the segment is damaged; the segment was read from its front"
                    ))
                // A file that pretends to be longer is not believed.
                let bytes = try FileBytes(
                    file, length: min(size, Int(segment.size)), fileSystem: fileSystem, skipsUnreadable: true)
                blocks = SegmentFile.scan(bytes, channel: id, first: segment.first, end: bytes.count).blocks
            }
        }
        // Where blocks are missing an entry without a place holds theirs, until it is known whether
        // they were trimmed since.
        var next = segment.first
        for block in blocks where block.summary.lastSequence <= segment.last {
            if block.summary.firstSequence > next, state.index.last?.summary.lastSequence ?? 0 < next {
                state.addHole(next...(block.summary.firstSequence - 1), segment: segment.first)
            }
            state.addBlock(block, segment: segment.first)
            next = block.summary.lastSequence + 1
        }
        if next <= segment.last { state.addHole(next...segment.last, segment: segment.first) }
    }

    private func restoreTail(
        _ tail: SegmentFile.Block, _ state: ChannelState, _ file: OpenFile?, _ name: String,
        _ directory: StoreDirectory, _ fileSystem: any FileSystem
    ) throws(FileError) {
        if let file, UInt64(tail.size) <= UInt64(try fileSystem.size(file)) {
            let bytes = try FileBytes(
                file, at: Int(tail.offset), length: Int(tail.size), fileSystem: fileSystem,
                skipsUnreadable: true)
            if let header = BlockHeader(bytes, at: 0), header.channel == state.id.rawValue,
                header.storeMark == UInt32(truncatingIfNeeded: directory.storeID),
                header.summary == tail.summary,
                let storage = header.records(bytes, at: 0)
            {
                state.setOpen(
                    storage, firstSequence: tail.summary.firstSequence, count: Int(tail.summary.count),
                    bytes: tail.summary.bytes)
                return
            }
        }
        let next = state.durableSequence + 1
        state.setOpen(state.openStorage, firstSequence: next, count: 0, bytes: 0)
        let first = max(tail.summary.firstSequence, state.firstSequence)
        // Of a tail that was trimmed nothing is lost.
        guard first < next else { return }
        let lost = first...(next - 1)
        state.addDamage(lost)
        recovery.damage.append(
            Damage(
                file: name, offset: tail.offset, reason: "a channel's newest messages are damaged",
                lost: [LostRange(channel: state.id, name: state.name, sequences: lost)]))
    }

    /// What is still missing now that everything trimmed is gone was lost.
    func setAsideMissing() {
        for state in states {
            var position = 0
            while position < state.index.count {
                let entry = state.index[position]
                if entry.location?.size == 0 {
                    setAside(state, position, "blocks of the segment are missing or damaged")
                } else {
                    position += 1
                }
            }
        }
    }
}

extension ChannelState {
    /// Takes in what a checkpoint says of the channel, blocks excepted.
    func restore(_ channel: CheckpointChannel) {
        firstSequence = channel.firstSequence
        durableSequence = channel.lastSequence
        durableTimestamp = channel.lastTimestamp
        messages = Int(channel.messages)
        bytes = Int(channel.bytes)
        frontTrimmedBytes = Int(channel.frontTrimmedBytes)
        damage = channel.damage
        unsafe hot.pointee.nextSequence = channel.lastSequence + 1
        unsafe hot.pointee.lastTimestamp = channel.lastTimestamp
        setOpen(
            openStorage, firstSequence: channel.tail?.summary.firstSequence ?? channel.lastSequence + 1,
            count: 0, bytes: 0)
    }

    /// Adds a block of a segment, unless it was trimmed or set aside. One that is not there has a place without size.
    func addBlock(_ block: SegmentFile.Block, segment: UInt64, isThere: Bool = true) {
        let last = index.last?.summary.lastSequence ?? 0
        guard block.summary.lastSequence >= firstSequence, openFirstSequence > block.summary.lastSequence,
            block.summary.firstSequence > last,
            !damage.contains(where: { $0.contains(block.summary.lastSequence) })
        else { return }
        index.append(
            BlockEntry(
                summary: block.summary,
                location: BlockLocation(
                    segment: segment, offset: block.offset, size: isThere ? block.size : 0)))
    }

    /// Adds an entry for blocks that are not there: its place has no size.
    func addHole(_ range: ClosedRange<UInt64>, segment: UInt64) {
        let first = max(range.lowerBound, firstSequence, (index.last?.summary.lastSequence ?? 0) + 1)
        let last = min(range.upperBound, openFirstSequence - 1)
        guard first <= last, !damage.contains(where: { $0.contains(last) }) else { return }
        let count = UInt32(clamping: last - first + 1)
        index.append(
            BlockEntry(
                summary: BlockSummary(
                    firstSequence: first, count: count, rawSize: 0, firstTimestamp: 0,
                    lastTimestamp: 0,
                    firstPosition: 0, lastPosition: 0, bytes: 0),
                location: BlockLocation(segment: segment, offset: 0, size: 0)))
    }

    /// Gives the first hole the bytes that the channel has and no block that is there accounts for.
    func weighHoles(tailBytes: Int) {
        var hole: Int?
        var known = tailBytes
        for position in 0..<index.count {
            if index[position].location?.size == 0, index[position].summary.rawSize == 0 {
                hole = hole ?? position
            } else {
                known &+= Int(index[position].summary.bytes)
            }
        }
        guard let hole else { return }
        if hole == 0 { frontTrimmedBytes = 0 }
        index[hole].summary.bytes = UInt64(max(0, bytes + frontTrimmedBytes &- known))
    }

    /// Counts what was restored: from here on messages, bytes and first sequence must agree with the blocks, whatever a
    /// checkpoint says of them.
    func reconcile() {
        let front = index.first?.summary.firstSequence ?? openFirstSequence
        if firstSequence <= front {
            firstSequence = front
            frontTrimmedBytes = 0
        }
        var (messages, bytes) = (0, 0)
        func add(_ summary: BlockSummary) {
            let first = max(summary.firstSequence, firstSequence)
            messages += summary.lastSequence < first ? 0 : Int(summary.lastSequence - first + 1)
            bytes &+= Int(summary.bytes)
        }
        for position in 0..<index.count { add(index[position].summary) }
        if unsafe hot.pointee.count > 0 { add(openSummary()) }
        if frontTrimmedBytes > bytes { frontTrimmedBytes = 0 }
        self.messages = messages
        self.bytes = bytes - frontTrimmedBytes
        if messages == 0 { firstSequence = durableSequence + 1 }
    }
}
