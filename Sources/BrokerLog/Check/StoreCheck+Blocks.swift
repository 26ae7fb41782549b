// A broker that runs shortens what it has removed: of a file that has lost its name meanwhile nothing is said.

extension StoreCheck {
    /// Verifies the tails of a checkpoint that recovery did not begin from.
    mutating func checkTails(_ checkpoint: CheckpointFile) throws(FileError) {
        let name = "checkpoints/" + CheckpointFile.name(checkpoint.number, ".tails")
        guard checkpoint.channels.contains(where: { $0.tail != nil }) else { return }
        guard let file = try openIfThere("\(directory)/\(name)") else {
            report.add(
                Damage(
                    file: name, offset: 0,
                    reason: "the file is missing; only the checkpoint before the newest needs it"))
            return
        }
        defer { fileSystem.close(file) }
        for channel in checkpoint.channels {
            guard let tail = channel.tail, try !isWhole(tail, in: file, channel: channel.id, segment: 0)
            else {
                continue
            }
            if try fileSystem.isUnlinked(file) { return }
            report.add(
                Damage(
                    file: name, offset: tail.offset,
                    reason: "a block is damaged that only the checkpoint before the newest needs"))
        }
    }

    /// Verifies what reading messages has not: the headers of segments, and blocks whose messages were all trimmed.
    mutating func checkSegments(_ checkpoint: CheckpointFile, _ log: Log) throws(FileError) {
        for channel in checkpoint.channels {
            guard let info = log.info(of: ChannelID(rawValue: channel.id)) else { continue }
            for segment in channel.segments.sealed {
                try checkSegment(
                    segment.first, of: channel.id, isSealed: true, blocks: nil, kept: info.firstSequence)
            }
            if let active = channel.segments.active {
                try checkSegment(
                    active.first, of: channel.id, isSealed: false, blocks: active.blocks,
                    kept: info.firstSequence)
            }
        }
    }

    /// - Parameters:
    ///   - blocks: those of a segment that is not sealed; the others name theirs at their end.
    ///   - kept: first sequence that the channel keeps: blocks from there on were read already.
    private mutating func checkSegment(
        _ first: UInt64, of channel: UInt32, isSealed: Bool, blocks: [SegmentFile.Block]?, kept: UInt64
    ) throws(FileError) {
        let name = "channels/\(channel)/\(SegmentFile.name(first))"
        // A segment that was trimmed may be gone; of one that is needed reading has said that it is.
        guard let file = try openIfThere("\(directory)/\(name)") else { return }
        defer { fileSystem.close(file) }
        report.segments += 1
        let found = try damage(
            of: file, name, first, of: channel, isSealed: isSealed, blocks: blocks, kept: kept)
        if !found.isEmpty, try fileSystem.isUnlinked(file) { return }
        for damage in found { report.add(damage) }
    }

    /// What is damaged of a segment beside the blocks that are needed.
    private func damage(
        of file: OpenFile, _ name: String, _ first: UInt64, of channel: UInt32, isSealed: Bool,
        blocks: [SegmentFile.Block]?, kept: UInt64
    ) throws(FileError) -> [Damage] {
        var found: [Damage] = []
        let size = try fileSystem.size(file)
        // Behind its checksum a header is zeros that nobody reads.
        let head = try FileBytes(
            file, length: SegmentFile.headerRead, fileSystem: fileSystem, skipsUnreadable: true)
        let expected = SegmentFile.header(storeID: identity.storeID, channel: channel, first: first).prefix(
            SegmentFile.headerRead)
        if head.array(0..<head.count) != Array(expected) {
            found.append(Damage(file: name, offset: 0, reason: "the header of the segment is damaged"))
        }
        var listed = blocks ?? []
        if isSealed {
            guard
                let index = try SegmentFile.readFooter(
                    file, size: size, channel: channel, first: first, fileSystem: fileSystem)
            else {
                let isNamed = report.damage.contains { $0.file == name && $0.offset > 0 }
                if !isNamed {
                    found.append(
                        Damage(
                            file: name, offset: UInt64(size),
                            reason: "the index at the end of the segment is damaged"))
                }
                return found
            }
            listed = index
        }
        for block in listed where block.summary.lastSequence < kept {
            if try isWhole(block, in: file, channel: channel, segment: first) { continue }
            found.append(
                Damage(
                    file: name, offset: block.offset,
                    reason: "a block is damaged whose messages the channel does not keep any more"))
        }
        return found
    }

    private func openIfThere(_ path: String) throws(FileError) -> OpenFile? {
        do throws(FileError) {
            return try fileSystem.open(path, .read)
        } catch {
            guard error.isMissing else { throw error }
            return nil
        }
    }

    private func isWhole(
        _ block: SegmentFile.Block, in file: OpenFile, channel: UInt32, segment: UInt64
    ) throws(FileError) -> Bool {
        guard let offset = Int(exactly: block.offset) else { return false }
        let bytes: FileBytes
        do throws(FileError) {
            bytes = try FileBytes(file, at: offset, length: Int(block.size), fileSystem: fileSystem)
        } catch {
            guard error.isUnreadable else { throw error }
            return false
        }
        guard let header = BlockHeader(bytes, at: 0), header.channel == channel, header.segment == segment,
            header.storeMark == UInt32(truncatingIfNeeded: identity.storeID), header.summary == block.summary
        else { return false }
        return header.records(bytes, at: 0) != nil
    }
}
