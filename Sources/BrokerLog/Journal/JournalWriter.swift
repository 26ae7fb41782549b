/// Why a batch did not become durable.
enum JournalFailure: Error, Equatable {
    /// Nothing was written where it counts: the disk is full. Trying again later is right.
    case noSpace(String)
    /// The log is closed for writing: nothing is retried on that file.
    case failed(String)
}

/// Where recovery can begin to read: behind a frame.
struct JournalPlace: Equatable, Sendable {
    var file: UInt64 = 0
    var offset: UInt64 = UInt64(JournalFileHeader.pageSize)
    /// Last position and checksum of the frame before; 0 when there is none.
    var position: UInt64 = 0
    var checksum: UInt32 = 0
}

/// Writes frames, one file after the other. Owned by the committer.
@safe
final class JournalWriter {
    private let fileSystem: any FileSystem
    private let files: JournalFiles
    private let storeID: UInt64
    private var current: JournalFiles.Taken?
    /// The file before, until the first frame of this one is synced and that is noted there.
    private var left: (file: JournalFiles.Taken, mark: JournalFrame, offset: Int)?
    private var generation: UInt64
    /// Behind the last frame written.
    private(set) var place: JournalPlace
    /// The greatest position known synced.
    private(set) var synced: UInt64
    private(set) var bytesWritten: UInt64 = 0
    private(set) var syncs: UInt64 = 0
    /// A frame that was not written may lie at the place all the same: a write that is said to have been refused may have been
    /// done in part, and one that a full disk cut short may lack no more than zeros.
    private var mayLieAtPlace = false

    /// A page of memory that begins where one does, for what is not a chunk; allocated for the life of the writer.
    private let page = UnsafeMutableRawBufferPointer.allocate(
        byteCount: JournalFileHeader.pageSize, alignment: JournalFileHeader.pageSize)

    /// The file that recovery ended in, if the mark that another follows may be written there.
    private var recovered: (file: JournalFiles.Entry, generation: UInt64)?

    /// - Parameters:
    ///   - place: behind the last frame that recovery took in; the first frame goes to a new file.
    ///   - recovered: the file of that frame, with its generation, which need not be the highest; nil when damage lies behind
    ///     it, which is not overwritten.
    ///   - generation: the highest one found.
    init(
        fileSystem: any FileSystem, files: JournalFiles, storeID: UInt64, place: JournalPlace,
        generation: UInt64,
        synced: UInt64, recovered: (file: JournalFiles.Entry, generation: UInt64)?
    ) {
        self.recovered = recovered
        self.fileSystem = fileSystem
        self.files = files
        self.storeID = storeID
        self.place = place
        self.generation = generation
        self.synced = synced
    }

    deinit { unsafe page.deallocate() }

    /// Whether the current file is half used, so that another should be ready.
    var isHalfUsed: Bool { current.map { Int(place.offset) * 2 >= $0.size } ?? false }

    /// Writes a batch as one frame; not synced. Where the disk is full nothing of it is left, nor of what was begun at its place
    /// and taken back: who is told that a message was refused must not find it after a crash.
    func write(_ chunk: JournalChunk) throws(JournalFailure) {
        do throws(JournalFailure) {
            try writeFrame(chunk)
            mayLieAtPlace = false
        } catch {
            if case .noSpace = error, mayLieAtPlace { try eraseNextFrame() }
            throw error
        }
    }

    /// Takes the frame away that may lie where the next one will, and with it all behind it. Where that is the first of a file,
    /// what was begun at the end of the file before is cut off by the header of this one.
    private func eraseNextFrame() throws(JournalFailure) {
        guard let current else { return }
        do throws(FileError) {
            try writePage(
                [UInt8](repeating: 0, count: JournalFrame.alignment), to: current.file, at: Int(place.offset))
            try fileSystem.sync(current.file)
        } catch {
            throw .failed("\(error)")
        }
        syncs += 1
        synced = place.position
        mayLieAtPlace = false
    }

    private func writeFrame(_ chunk: JournalChunk) throws(JournalFailure) {
        let frameBytes = JournalFrame.headerSize + chunk.recordBytes
        // The end of a file is kept for the mark that another one follows.
        let room = current.map { $0.size - Int(place.offset) - JournalFrame.alignment } ?? 0
        let rolls = frameBytes > room && !(current != nil && Int(place.offset) == JournalFileHeader.pageSize)
        if current == nil || rolls { try roll(forMessages: chunk.hasMessages) }
        guard let file = current else { throw .failed("no journal file") }

        // Zeros up to the next page, so that the kernel never reads one to fill it.
        let end = Int(place.offset) + frameBytes
        var padding = (JournalFrame.pageSize - end % JournalFrame.pageSize) % JournalFrame.pageSize
        // A frame larger than its file makes it grow, by the room for the mark too.
        if end + padding > file.size { padding += JournalFrame.pageSize }
        let sum = seal(chunk, padding: padding)
        do throws(FileError) {
            try unsafe fileSystem.write(
                file.file, UnsafeRawBufferPointer(start: chunk.base, count: frameBytes + padding),
                at: Int(place.offset))
        } catch {
            // A frame larger than its file makes the file grow: only then may the disk be full.
            guard error.isNoSpace, end + padding > file.size else { throw .failed("\(error)") }
            mayLieAtPlace = true
            // Others need what it took. Where it cannot be had back it stays with the file.
            try? fileSystem.truncate(file.file, to: file.size)
            throw .noSpace("\(error)")
        }
        if end + padding > file.size { current?.size = end + padding }
        advance(behind: chunk, sum, bytes: frameBytes + padding)
    }

    /// Makes a chunk the next frame, with zeros behind it; returns the frame's checksum.
    private func seal(_ chunk: JournalChunk, padding: Int) -> UInt32 {
        precondition(padding <= JournalChunk.paddingRoom, "a frame ends with its page, or a page later")
        unsafe (chunk.base + chunk.used).initializeMemory(as: UInt8.self, repeating: 0, count: padding)
        let header = JournalFrame(
            length: UInt32(chunk.recordBytes), generation: generation, firstPosition: chunk.firstPosition,
            knownSynced: synced, recordCount: UInt32(chunk.recordCount), previousChecksum: place.checksum)
        return unsafe header.seal(at: chunk.base)
    }

    private func advance(behind chunk: JournalChunk, _ sum: UInt32, bytes: Int) {
        bytesWritten += UInt64(bytes)
        place.offset += UInt64(JournalFrame.stride(recordBytes: chunk.recordBytes))
        place.position = chunk.lastPosition
        place.checksum = sum
    }

    // MARK: Frames that are written while the next one is begun

    /// Bytes of records that a frame may have which is begun and not waited for: it goes to the file in use, which does not
    /// grow, and nothing else has to be written with it. 0 where none can be.
    var roomToBegin: Int {
        guard let current, left == nil else { return 0 }
        // The end of a file is kept for the mark that another one follows.
        return max(0, current.size - Int(place.offset) - JournalFrame.alignment - JournalFrame.headerSize)
    }

    /// Begins to write a batch as a frame and goes on behind it, with what was synced before it: whoever acknowledges what
    /// it holds sees to it that every frame before has ended. Nil, or how it was refused, with nothing begun.
    func begin(_ chunk: JournalChunk, number: UInt64, by writes: any DurableWrites) -> WriteRefusal? {
        guard let file = current, chunk.recordBytes <= roomToBegin else { return .wouldWait }
        let stride = JournalFrame.stride(recordBytes: chunk.recordBytes)
        // To the end of the sector and no further: the one behind it may be the next frame's, which is written meanwhile.
        let sum = seal(chunk, padding: stride - JournalFrame.headerSize - chunk.recordBytes)
        let refusal = unsafe writes.begin(
            number, file.file, UnsafeRawBufferPointer(start: chunk.base, count: stride), at: Int(place.offset)
        )
        if refusal == nil { advance(behind: chunk, sum, bytes: stride) }
        return refusal
    }

    /// A frame that was begun is on disk, as are those before it.
    func noteDurable(_ position: UInt64) {
        syncs += 1
        synced = position
    }

    /// Frames from here on were begun and not written: they are written again.
    func takeBack(to place: JournalPlace) {
        self.place = place
        mayLieAtPlace = true
    }

    /// Makes everything written durable. Called again only if it returned.
    func sync() throws(JournalFailure) {
        guard let current else { return }
        do throws(FileError) { try fileSystem.sync(current.file) } catch { throw .failed("\(error)") }
        syncs += 1
        synced = place.position
        try noteSuccessor()
    }

    /// Says at the end of the file before that this one holds what was synced, up to where: were it to vanish as a whole,
    /// nothing else would tell. Not before that is true, and durably before anything of it is acknowledged.
    private func noteSuccessor() throws(JournalFailure) {
        guard let (file, template, offset) = left else { return }
        left = nil
        defer { fileSystem.close(file.file) }
        guard offset + JournalFrame.alignment <= file.size else { return }
        var mark = template
        mark.knownSynced = synced
        do throws(FileError) {
            try writePage(mark.sector(), to: file.file, at: offset)
            try fileSystem.sync(file.file)
        } catch {
            throw .failed("\(error)")
        }
        syncs += 1
    }

    /// Everything up to `position` was made durable by a sync of the whole file system.
    func noteSynced(_ position: UInt64) { synced = max(synced, position) }

    /// Closes the current file.
    func close() {
        if let current { fileSystem.close(current.file) }
        current = nil
        if let left { fileSystem.close(left.file.file) }
        left = nil
        files.close()
    }

    private func openRecovered() -> (JournalFiles.Taken, UInt64)? {
        guard let (entry, generation) = recovered else { return nil }
        recovered = nil
        // Where it cannot be opened the mark is missing: one more file whose loss would not be noticed, and no more.
        guard let file = try? fileSystem.open(files.path(entry.number), .write) else { return nil }
        return (JournalFiles.Taken(number: entry.number, file: file, size: entry.size), generation)
    }

    private func roll(forMessages: Bool) throws(JournalFailure) {
        let next: JournalFiles.Taken
        do throws(FileError) {
            next = try files.take(forMessages: forMessages)
        } catch {
            throw error.mayPass ? .noSpace("\(error)") : .failed("\(error)")
        }
        // What was written to the file that is left must not be forgotten by later syncs.
        if synced < place.position, current != nil { try sync() }
        if let left { fileSystem.close(left.file.file) }
        left = (current.map { ($0, generation) } ?? openRecovered()).map { file, generation in
            (file, .mark(after: place.position, place.checksum, generation: generation), Int(place.offset))
        }
        current = next
        generation = JournalFileHeader.generation(after: generation, storeID: storeID)
        place.file = next.number
        place.offset = UInt64(JournalFileHeader.pageSize)
        let header = JournalFileHeader(
            storeID: storeID, number: next.number, generation: generation, previousPosition: place.position,
            previousChecksum: place.checksum)
        do throws(FileError) {
            try writePage(header.page(), to: next.file, at: 0)
        } catch {
            throw .failed("\(error)")
        }
    }

    /// Writes at most a page, from memory that may go to the disk directly.
    private func writePage(_ bytes: [UInt8], to file: OpenFile, at offset: Int) throws(FileError) {
        unsafe page.copyBytes(from: bytes)
        try unsafe fileSystem.write(file, UnsafeRawBufferPointer(rebasing: page[0..<bytes.count]), at: offset)
    }
}
