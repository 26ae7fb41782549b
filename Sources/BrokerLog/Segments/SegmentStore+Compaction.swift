/// The blocks of a segment that were copied to a new one, without those whose messages were all trimmed.
struct MovedBlocks {
    var channel: UInt32
    /// First sequence of the segment that they were in, and of the one they are in now.
    var from: UInt64
    var to: UInt64
    /// With their places in the new segment.
    var blocks: [SegmentFile.Block]
}

extension SegmentStore {
    /// Sees to it that a channel's files do not take much more than what the channel keeps: its front
    /// segment, of which the first `dead` bytes are trimmed, is sealed, so that it can go as a whole soon;
    /// where it dwarfs what is kept it is copied without them.
    ///
    /// The old file stays until no checkpoint that may be recovered from lists it.
    ///
    /// - Parameter first: first sequence that the channel keeps.
    /// - Returns: what was moved; nil where nothing was.
    func compact(channel id: UInt32, below first: UInt64, dead: UInt64) throws(FileError) -> MovedBlocks? {
        guard let channel = channels[id] else { return nil }
        let total = channel.sealed.reduce(channel.active?.size ?? 0) { $0 + $1.size }
        let rest = total - min(dead, total)
        guard dead >= leastDead, dead * 2 >= rest else { return nil }
        do throws(FileError) {
            if channel.sealed.isEmpty { try seal(id) }
            guard dead / 2 >= rest, let front = channels[id]?.sealed.first, front.last >= first else {
                return nil
            }
            return try rewrite(front, of: id, from: first)
        } catch {
            // It only saves space: with a full disk it is for another time, and a file that is missing takes none.
            guard error.mayPass || error.isMissing && error.call == "open" else { throw error }
            return nil
        }
    }

    /// Copies the blocks that reach `first` to a segment of their own, which takes the place of `segment`.
    private func rewrite(
        _ segment: Sealed, of id: UInt32, from first: UInt64
    ) throws(FileError) -> MovedBlocks? {
        let old = try fileSystem.open(SegmentFile.path(directory, id, segment.first), .read)
        defer { fileSystem.close(old) }
        guard let listed = index(of: segment.first, in: old, id),
            let start = listed.first(where: { $0.summary.lastSequence >= first })?.summary.firstSequence,
            start > segment.first
        else { return nil }
        unremoved.note(SegmentFile.path(directory, id, start), nil)
        let new = try fileSystem.open(SegmentFile.path(directory, id, start), .create)
        var isKept = false
        defer { close(new) }
        defer { if !isKept { try? fileSystem.remove(SegmentFile.path(directory, id, start)) } }
        try write(SegmentFile.header(storeID: storeID, channel: id, first: start), to: new, at: 0)
        var moved = MovedBlocks(channel: id, from: segment.first, to: start, blocks: [])
        var offset = UInt64(SegmentFile.headerSize)
        for block in listed where block.summary.lastSequence >= first {
            // A damaged block, or one that cannot be read, is for readers to find, where it lies.
            guard
                let bytes = try? FileBytes(
                    old, at: Int(block.offset), length: Int(block.size), fileSystem: fileSystem),
                var header = BlockHeader(bytes, at: 0), header.channel == id,
                header.segment == segment.first, header.summary == block.summary,
                bytes.count == Int(block.size)
            else { return nil }
            header.segment = start
            unsafe header.seal(at: bytes.base)
            try unsafe write(
                UnsafeRawBufferPointer(start: bytes.base, count: bytes.count), to: new, at: offset)
            moved.blocks.append(
                SegmentFile.Block(summary: block.summary, offset: offset, size: block.size))
            offset += UInt64(block.size)
        }
        let footer = SegmentFile.footer(moved.blocks, offset: offset, channel: id, first: start)
        try write(footer, to: new, at: Int(offset))
        isKept = true
        noteWritten(offset)
        replaceSealed(
            0, of: id,
            with: Sealed(
                first: start, last: segment.last, size: offset + UInt64(footer.count),
                messages: moved.blocks.reduce(0) { $0 + UInt64($1.summary.count) },
                bytes: moved.blocks.reduce(0) { $0 + $1.summary.bytes }))
        retired.append((channel: id, first: segment.first, checkpoints: 0))
        return moved
    }

    /// The index of a sealed segment; nil when it cannot be had.
    private func index(of first: UInt64, in file: OpenFile, _ id: UInt32) -> [SegmentFile.Block]? {
        do throws(FileError) {
            return try SegmentFile.readFooter(
                file, size: try fileSystem.size(file), channel: id, first: first, fileSystem: fileSystem)
        } catch {
            return nil
        }
    }

    func write(_ bytes: [UInt8], to file: OpenFile, at offset: Int) throws(FileError) {
        unsafe try bytes.span.withUnsafeBytes { bytes throws(FileError) in
            try unsafe fileSystem.write(file, bytes, at: offset)
        }
    }

    /// A checkpoint, which covers everything up to `position`, lists what there is now. Files that neither it nor the one
    /// before lists go.
    func noteCheckpoint(at position: UInt64) {
        noteCovered(position)
        for index in retired.indices { retired[index].checkpoints += 1 }
        let unneeded = retired.filter { $0.checkpoints >= 2 }
        retired.removeAll { $0.checkpoints >= 2 }
        for segment in unneeded { remove(SegmentFile.path(directory, segment.channel, segment.first)) }
        for path in unremoved.paths { remove(path) }
        if !hasSwept {
            do throws(FileError) { try removeLeftovers() } catch {
                // It only saves space, and is tried again with the next checkpoint.
            }
        }
    }
}
