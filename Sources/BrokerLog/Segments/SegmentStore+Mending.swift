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
            try writeHeader(of: id, first, to: file)
            setActiveBlocks(of: id, to: blocks)
            return
        }
        guard let index = channel.sealed.firstIndex(where: { $0.first == first }) else { return }
        try writeHeader(of: id, first, to: file)
        var end = UInt64(try fileSystem.size(file))
        // A page that the disk cannot read cannot be added to.
        if try !isReadable(file, at: Int(end) / FileBytes.page * FileBytes.page) {
            end = (end / UInt64(FileBytes.page) + 1) * UInt64(FileBytes.page)
        }
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

extension SegmentStore {
    /// Writes a segment's header; where the disk cannot read the page that it is in, the whole page.
    private func writeHeader(of id: UInt32, _ first: UInt64, to file: OpenFile) throws(FileError) {
        var bytes = SegmentFile.header(storeID: storeID, channel: id, first: first)
        if try !isReadable(file, at: 0) {
            let size = min(FileBytes.page, try fileSystem.size(file))
            bytes += [UInt8](repeating: 0, count: max(0, size - bytes.count))
        }
        try write(bytes, to: file, at: 0)
    }

    /// Whether the disk can read the page at `offset`.
    private func isReadable(_ file: OpenFile, at offset: Int) throws(FileError) -> Bool {
        do throws(FileError) {
            _ = try FileBytes(file, at: offset, length: FileBytes.page, fileSystem: fileSystem)
            return true
        } catch {
            guard error.isUnreadable else { throw error }
            return false
        }
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
