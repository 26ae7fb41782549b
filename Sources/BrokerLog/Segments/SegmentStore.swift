/// The segments of every channel, as the background thread writes them. Owned by that thread.
final class SegmentStore {
    /// A sealed segment.
    struct Sealed: Equatable {
        var first: UInt64
        var last: UInt64
        var size: UInt64
        var messages: UInt64
        var bytes: UInt64
    }

    /// The segment that a channel's next block goes to.
    struct Active: Equatable {
        var first: UInt64
        /// Bytes that count; the next block goes there.
        var size: UInt64
        var blocks: [SegmentFile.Block]
        /// What lies behind `size` is of an earlier life and must go first.
        var needsCut: Bool
    }

    struct Channel: Equatable {
        var sealed: [Sealed] = []
        var active: Active?
        /// Files that no checkpoint lists were removed.
        var isClean = false
    }

    let fileSystem: any FileSystem
    let directory: String
    let storeID: UInt64
    private let segmentBytes: Int
    let leastDead: UInt64
    private(set) var channels: [UInt32: Channel]
    /// Segments that others took the place of, and the checkpoints made since: the older of the two that
    /// recovery may begin from lists them.
    var retired: [(channel: UInt32, first: UInt64, checkpoints: Int)]
    private let encoder = BlockEncoder()
    /// Open files by channel, and the order in which to close them.
    private var open: [UInt32: OpenFile] = [:]
    /// The same files for writes past the page cache, where there was one.
    private var openDirect: [UInt32: OpenFile] = [:]
    private var openOrder: [UInt32] = []
    private static let mostOpen = 64
    /// What was written and is not handed to the disk yet; neighbours in a file are one piece.
    private var pieces: [(file: OpenFile, range: Range<Int>)] = []
    /// What the disk is taking meanwhile.
    private var handed: [(file: OpenFile, range: Range<Int>)] = []
    /// Blocks of so many bytes go to the disk soon: a checkpoint's sync that finds all since the one before to write
    /// keeps publishers waiting for as long as that takes.
    private var writeBackBytes: Int { min(16 << 10, segmentBytes / 16) }
    /// So many bytes of them go at once: four full blocks. One at a time each would cost the disk a wait of its own, and more
    /// than a few would keep the journal's syncs waiting.
    private var piecesBytes: Int { min(192 << 10, segmentBytes / 4) }
    private(set) var bytesWritten: UInt64 = 0
    var unremoved = Unremoved()
    var removed: RemovedFiles
    /// The position that the newest checkpoint covers; of what lies above it the journal has everything.
    private var checkpointPosition: UInt64
    /// Segments sealed since that checkpoint.
    private var sealedSince: [(channel: UInt32, first: UInt64)] = []
    /// What a crash left behind of channels that are not written to is gone, or is not to go.
    private(set) var hasSwept: Bool

    /// - Parameters:
    ///   - checkpointPosition: the position of the checkpoint that recovery began from, 0 without one.
    ///   - sweeps: whether there was one, so that what it does not list is no one's.
    init(
        fileSystem: any FileSystem, directory: String, storeID: UInt64, segmentBytes: Int, leastDead: UInt64,
        channels: [UInt32: Channel], listedBefore: [UInt32: [UInt64]] = [:],
        checkpointPosition: UInt64, sweeps: Bool
    ) {
        self.checkpointPosition = checkpointPosition
        hasSwept = !sweeps
        self.fileSystem = fileSystem
        self.directory = directory
        self.storeID = storeID
        self.segmentBytes = segmentBytes
        self.leastDead = leastDead
        self.channels = channels
        removed = RemovedFiles(fileSystem: fileSystem, pieceBytes: max(1, min(1 << 20, segmentBytes / 4)))
        retired = listedBefore.flatMap { id, firsts in
            firsts.map { (channel: id, first: $0, checkpoints: 1) }
        }
    }

    func noteWritten(_ bytes: UInt64) { bytesWritten += bytes }

    func replaceSealed(_ index: Int, of id: UInt32, with segment: Sealed) {
        channels[id]?.sealed[index] = segment
    }

    func setActiveBlocks(of id: UInt32, to blocks: [SegmentFile.Block]) {
        channels[id]?.active?.blocks = blocks
    }

    /// Takes a segment off the list; its file goes when no checkpoint lists it.
    func forget(_ id: UInt32, _ first: UInt64) {
        channels[id]?.sealed.removeAll { $0.first == first }
        if channels[id]?.active?.first == first { channels[id]?.active = nil }
        retired.append((channel: id, first: first, checkpoints: 0))
    }

    /// Segment files that exist.
    var count: Int { channels.values.reduce(0) { $0 + $1.sealed.count + ($1.active == nil ? 0 : 1) } }

    /// Puts the active segment, whose file is missing, among the sealed ones: checkpoints go on listing it, so that
    /// every start names what is lost with it, and the next block begins another. Returns its first sequence; nil when
    /// the file is there, or nothing was in it.
    ///
    /// - Throws: that it is missing, when the journal still has blocks of it: another start takes them from there.
    func leaveMissing(_ id: UInt32) throws(FileError) -> UInt64? {
        guard let active = channels[id]?.active else { return nil }
        do throws(FileError) {
            _ = try activeFile(id, active.first)
            return nil
        } catch {
            guard error.isMissing, isCovered(active) else { throw error }
        }
        channels[id]?.active = nil
        guard !active.blocks.isEmpty else { return nil }
        channels[id]?.sealed.append(Sealed(active, size: active.size))
        return active.first
    }

    /// Whether a checkpoint has all of a segment, so that nothing more may be found of it in the journal.
    private func isCovered(_ segment: Active) -> Bool {
        segment.blocks.last.map { $0.summary.lastPosition <= checkpointPosition } ?? true
    }

    /// Sees to it that the files are there that were written since the newest checkpoint, before another one says that the
    /// journal is not needed for them. One that was removed while it was open is found by its name alone.
    ///
    /// - Throws: that one is missing.
    func findWritten() throws(FileError) {
        try awaitHanded()
        for (id, channel) in channels {
            guard let active = channel.active, !isCovered(active) else { continue }
            closeFile(id)
            _ = try activeFile(id, active.first)
        }
        for segment in sealedSince
        where channels[segment.channel]?.sealed.contains(where: { $0.first == segment.first }) == true {
            fileSystem.close(
                try fileSystem.open(SegmentFile.path(directory, segment.channel, segment.first), .read))
        }
    }

    /// A checkpoint covers everything up to `position`.
    func noteCovered(_ position: UInt64) {
        checkpointPosition = position
        sealedSince = []
    }

    /// The records of a block, and what there is to say of them.
    typealias Block = (storage: BlockStorage, summary: BlockSummary)

    /// Writes blocks behind the channel's last one, the first and as many of the others as the segment takes; not synced. When it
    /// throws, nothing counts of them.
    func write(
        _ blocks: [Block], channel id: UInt32, compresses: Bool
    ) throws(FileError) -> [BlockLocation] {
        guard let next = blocks.first?.summary.firstSequence else { return [] }
        if channels[id]?.isClean != true {
            try removeUnlisted(id, channels[id] ?? Channel())
            channels[id, default: Channel()].isClean = true
        }
        if channels[id]?.active == nil {
            try create(id, next)
            channels[id]?.active = Active(
                first: next, size: UInt64(SegmentFile.headerSize), blocks: [], needsCut: false)
        }
        // The list of blocks is changed where it is: a copy of it would be made for every block.
        guard let first = channels[id]?.active?.first, let offset = channels[id]?.active?.size,
            let needsCut = channels[id]?.active?.needsCut
        else { preconditionFailure("the active segment was made above") }
        let file = try activeFile(id, first)
        if needsCut {
            try fileSystem.truncate(file, to: Int(offset))
            channels[id]?.active?.needsCut = false
        }
        encoder.removeAll()
        var made: [SegmentFile.Block] = []
        for (storage, summary) in blocks {
            let place = offset + UInt64(encoder.count)
            if !made.isEmpty, Int(place) >= segmentBytes { break }
            let size = encoder.add(
                storage, summary, channel: id, segment: first,
                storeMark: UInt32(truncatingIfNeeded: storeID), compresses: compresses,
                alignment: SegmentFile.alignment)
            made.append(SegmentFile.Block(summary: summary, offset: place, size: UInt32(size)))
        }
        let bytes = unsafe UnsafeRawBufferPointer(start: encoder.base, count: encoder.count)
        // What is small, or by itself, is not worth a wait for the disk.
        let isDirect = made.count > 1 && bytes.count >= writeBackBytes
        try unsafe fileSystem.write(isDirect ? directFile(id, first) ?? file : file, bytes, at: Int(offset))
        try noteWritten(file, Int(offset)..<Int(offset) + bytes.count)
        channels[id]?.active?.blocks.append(contentsOf: made)
        channels[id]?.active?.size += UInt64(bytes.count)
        bytesWritten += UInt64(bytes.count)
        if Int(offset) + bytes.count >= segmentBytes {
            do throws(FileError) {
                try seal(id)
            } catch {
                // The blocks are written; on a full disk the segment is sealed behind a later one.
                guard error.mayPass else { throw error }
            }
        }
        return made.map { BlockLocation(segment: first, offset: $0.offset, size: $0.size) }
    }

    /// Writes a block; not synced.
    func write(_ block: UnsafeRawBufferPointer, to file: OpenFile, at offset: UInt64) throws(FileError) {
        try unsafe fileSystem.write(file, block, at: Int(offset))
        try noteWritten(file, Int(offset)..<Int(offset) + block.count)
    }

    /// Has the disk take what was written, some of it at once. Of what went past the page cache there is nothing to take, unless
    /// the file system or the disk did not let it.
    private func noteWritten(_ file: OpenFile, _ range: Range<Int>) throws(FileError) {
        guard range.count >= writeBackBytes else { return }
        if let last = pieces.indices.last, pieces[last].file == file,
            pieces[last].range.upperBound == range.lowerBound
        {
            pieces[last].range = pieces[last].range.lowerBound..<range.upperBound
        } else {
            pieces.append((file, range))
        }
        guard pieces.reduce(0, { $0 + $1.range.count }) >= piecesBytes else { return }
        // The disk takes one lot while the next is made.
        try awaitHanded()
        let full = pieces
        pieces = []
        for piece in full {
            try fileSystem.beginWriteBack(piece.file, at: piece.range.lowerBound, count: piece.range.count)
        }
        handed = full
    }

    /// Waits until the disk has what was handed to it: a write of it that failed is told by the file that it was written by, and
    /// not by one that is closed.
    func awaitHanded() throws(FileError) {
        let before = handed
        handed = []
        for piece in before {
            try fileSystem.awaitWriteBack(piece.file, at: piece.range.lowerBound, count: piece.range.count)
        }
    }

    /// Closes a file; what of it was not handed to the disk is left to the next checkpoint's sync.
    func close(_ file: OpenFile) {
        pieces.removeAll { $0.file == file }
        handed.removeAll { $0.file == file }
        fileSystem.close(file)
    }

    /// Forgets segments that lie wholly before `first`, and removes their files.
    func drop(channel id: UInt32, below first: UInt64) throws(FileError) {
        guard var channel = channels[id] else { return }
        let gone = channel.sealed.filter { $0.last < first }.map(\.first)
        channel.sealed.removeAll { $0.last < first }
        channels[id] = channel
        for segment in gone { remove(SegmentFile.path(directory, id, segment)) }
        if let active = channel.active, let last = active.blocks.last, last.summary.lastSequence < first {
            closeFile(id)
            channels[id]?.active = nil
            remove(SegmentFile.path(directory, id, active.first))
        }
    }

    /// Removes a channel's segments and directory.
    func delete(channel id: UInt32) throws(FileError) {
        closeFile(id)
        channels[id] = nil
        let path = "\(directory)/\(id)"
        do throws(FileError) {
            for name in try fileSystem.list(path) { remove(path + "/" + name) }
            try fileSystem.removeDirectory(path)
        } catch {
            // A channel whose messages never left the journal has no directory; one that cannot be emptied is no one's, and
            // the next start tries again.
            if !error.isMissing { unremoved.note(path, error) }
        }
    }

    /// Closes every file.
    func close() {
        for id in openOrder { closeFile(id) }
        openOrder = []
        _ = removed.releaseAll()
    }

    func seal(_ id: UInt32) throws(FileError) {
        guard let active = channels[id]?.active, !active.blocks.isEmpty else { return }
        let file = try activeFile(id, active.first)
        if active.needsCut {
            try fileSystem.truncate(file, to: Int(active.size))
            channels[id]?.active?.needsCut = false
        }
        let footer = SegmentFile.footer(active.blocks, offset: active.size, channel: id, first: active.first)
        try write(footer, to: file, at: Int(active.size))
        try awaitHanded()
        closeFile(id)
        if !isCovered(active) { sealedSince.append((id, active.first)) }
        channels[id]?.sealed.append(Sealed(active, size: active.size + UInt64(footer.count)))
        channels[id]?.active = nil
    }

    private func create(_ id: UInt32, _ first: UInt64) throws(FileError) {
        try makeRoom()
        do throws(FileError) {
            try fileSystem.makeDirectory("\(directory)/\(id)")
        } catch {
            guard error.exists else { throw error }
        }
        let path = SegmentFile.path(directory, id, first)
        // What could not be removed under this name before is overwritten, and not to be removed any more.
        unremoved.note(path, nil)
        let file = try fileSystem.open(path, .create)
        do throws(FileError) {
            try write(SegmentFile.header(storeID: storeID, channel: id, first: first), to: file, at: 0)
        } catch {
            fileSystem.close(file)
            throw error
        }
        keep(file, id)
    }

    private func activeFile(_ id: UInt32, _ first: UInt64) throws(FileError) -> OpenFile {
        if let file = open[id] { return file }
        try makeRoom()
        let file = try fileSystem.open(SegmentFile.path(directory, id, first), .write)
        keep(file, id)
        return file
    }

    /// Closes the file that was opened first when there are many.
    private func makeRoom() throws(FileError) {
        guard openOrder.count >= Self.mostOpen else { return }
        try awaitHanded()
        closeFile(openOrder[0])
    }

    /// The active segment's file for writes past the page cache; nil where it cannot be had, as where descriptors are few.
    private func directFile(_ id: UInt32, _ first: UInt64) -> OpenFile? {
        if let file = openDirect[id] { return file }
        let file = try? fileSystem.open(SegmentFile.path(directory, id, first), .writeDirect)
        openDirect[id] = file
        return file
    }

    private func keep(_ file: OpenFile, _ id: UInt32) {
        closeFile(id)
        open[id] = file
        openOrder.append(id)
    }

    private func closeFile(_ id: UInt32) {
        if let file = openDirect.removeValue(forKey: id) { fileSystem.close(file) }
        guard let file = open.removeValue(forKey: id) else { return }
        close(file)
        openOrder.removeAll { $0 == id }
    }

    /// Removes what no checkpoint lists of channels that were not written to since the opening: half of a rewrite, or
    /// files of a channel that was deleted.
    func removeLeftovers() throws(FileError) {
        for name in try fileSystem.list(directory) {
            guard let id = UInt32(name), channels[id]?.isClean != true else { continue }
            try removeUnlisted(id, channels[id] ?? Channel())
            if channels[id] == nil { try? fileSystem.removeDirectory("\(directory)/\(id)") }
            channels[id]?.isClean = true
        }
        hasSwept = true
    }

    /// Removes segments that were written after the checkpoint that recovery began from.
    private func removeUnlisted(_ id: UInt32, _ channel: Channel) throws(FileError) {
        let path = "\(directory)/\(id)"
        var listed = Set(channel.sealed.map { SegmentFile.name($0.first) })
        if let active = channel.active { listed.insert(SegmentFile.name(active.first)) }
        for segment in retired where segment.channel == id { listed.insert(SegmentFile.name(segment.first)) }
        do throws(FileError) {
            for name in try fileSystem.list(path) where name.hasSuffix(".seg") && !listed.contains(name) {
                remove(path + "/" + name)
            }
        } catch {
            guard error.isMissing else { throw error }
        }
    }

    /// Removes a file that no checkpoint needs. Where that fails it is tried again after the next checkpoint.
    func remove(_ path: String) {
        do throws(FileError) {
            try removed.remove(path)
            unremoved.note(path, nil)
        } catch {
            unremoved.note(path, error.isMissing ? nil : error)
        }
    }
}

extension SegmentStore.Sealed {
    /// A segment that holds these blocks, of which there is one at least, and is not written to any more.
    fileprivate init(_ active: SegmentStore.Active, size: UInt64) {
        self.init(
            first: active.first, last: active.blocks.last?.summary.lastSequence ?? active.first, size: size,
            messages: active.blocks.reduce(0) { $0 + UInt64($1.summary.count) },
            bytes: active.blocks.reduce(0) { $0 + $1.summary.bytes })
    }
}
