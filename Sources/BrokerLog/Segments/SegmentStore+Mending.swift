extension SegmentStore {
    /// Gives a segment in which something is damaged a new header, and an index of its whole blocks. Nothing
    /// of what an older checkpoint needs is changed: the header is what it was, the index is written behind
    /// the old one.
    ///
    /// - Parameter blocks: nil or empty: nothing of the segment is left, and it is forgotten.
    func mend(channel id: UInt32, first: UInt64, blocks: [SegmentFile.Block]?) throws(FileError) {
        guard let channel = channels[id] else { return }
        guard let blocks, let last = blocks.last else { return forget(id, first) }
        let file = try fileSystem.open(SegmentFile.path(directory, id, first), .write)
        defer { fileSystem.close(file) }
        if channel.active?.first == first {
            try write(SegmentFile.header(storeID: storeID, channel: id, first: first), to: file, at: 0)
            setActiveBlocks(of: id, to: blocks)
            return
        }
        guard let index = channel.sealed.firstIndex(where: { $0.first == first }) else { return }
        try write(SegmentFile.header(storeID: storeID, channel: id, first: first), to: file, at: 0)
        let end = UInt64(try fileSystem.size(file))
        let footer = SegmentFile.footer(blocks, offset: end, channel: id, first: first)
        try write(footer, to: file, at: Int(end))
        replaceSealed(
            index, of: id,
            with: Sealed(
                first: first, last: last.summary.lastSequence, size: end + UInt64(footer.count),
                messages: blocks.reduce(0) { $0 + UInt64($1.summary.count) },
                bytes: blocks.reduce(0) { $0 + $1.summary.bytes }))
    }
}

extension Log {
    /// The blocks of a segment that are whole and not trimmed.
    func blocks(of channel: UInt32, inSegment first: UInt64) -> [SegmentFile.Block] {
        guard let state = state(ChannelID(rawValue: channel)) else { return [] }
        return (0..<state.index.count).compactMap { position in
            let entry = state.index[position]
            guard let location = entry.location, location.segment == first, location.size > 0 else {
                return nil
            }
            return SegmentFile.Block(summary: entry.summary, offset: location.offset, size: location.size)
        }
    }

    /// What was damaged is repaired: it is not reported any more. Channels go on knowing which messages
    /// they have lost.
    func forgetDamage() {
        counters.damage = []
        recovery.damage = []
        disk?.files.forgetDamage()
    }
}
