/// Reads a journal back.
///
/// Frames are taken in as long as each is whole and names the checksum of the one before. Where one is
/// not, everything that follows is searched for whole frames and for D, the position that was known
/// synced when a frame was written. If some D lies at or above the first missing position, something
/// that was synced is gone: damage, which is named, and reading goes on at the next whole frame. If not,
/// what follows was never synced: an unsynced tail, which is cut. A file whose header continues the
/// journal behind a certain frame cuts whatever follows that frame in files before it. A file whose header cannot be
/// read any more is known by its first frame, which names the one before it.
@safe
struct JournalRecovery {
    struct File {
        var number: UInt64
        var size: Int
        /// Nil: both copies are damaged.
        var header: JournalFileHeader?
    }

    private let fileSystem: any FileSystem
    private let directory: String
    private let storeID: UInt64
    /// Everything up to here is in the checkpoint.
    private let covered: UInt64

    /// Files from this number on are kept, for the checkpoint before.
    private let keptFrom: UInt64

    private(set) var place: JournalPlace
    private(set) var generation: UInt64 = 0
    private(set) var synced: UInt64
    private(set) var damage: [Damage] = []
    private(set) var cutTail: String?
    /// The same for a report.
    private(set) var tornTail: LogCheckReport.TornTail?
    /// The position before the first record that the oldest file says it had; 0 when it says none.
    private(set) var positionBefore: UInt64 = 0
    /// Bytes of the frames taken in.
    private(set) var bytes: UInt64 = 0
    /// Frames taken in.
    private(set) var frames = 0
    /// Files that hold journal from the beginning of recovery on; every other file.
    private(set) var used: [JournalFiles.Entry] = []
    private(set) var free: [JournalFiles.Entry] = []
    private var files: [File] = []
    private var loaded: (index: Int, bytes: FileBytes)?
    private var startsAfterDamage = false
    /// The generation of the file that `place` is in.
    private(set) var placeGeneration: UInt64 = 0
    /// The greatest position that marks at the ends of files say to be synced in files behind them.
    private var marked: UInt64 = 0

    /// - Parameters:
    ///   - start: where to begin; nil for the first file.
    ///   - covered: the last position that the checkpoint holds.
    ///   - keptFrom: number of the first file that must not be recycled.
    init(
        fileSystem: any FileSystem, directory: String, storeID: UInt64, start: JournalPlace?, covered: UInt64,
        keptFrom: UInt64
    ) {
        self.fileSystem = fileSystem
        self.directory = directory
        self.storeID = storeID
        self.covered = covered
        self.keptFrom = keptFrom
        place = start ?? JournalPlace()
        synced = covered
    }

    /// Reads everything.
    ///
    /// - Parameters:
    ///   - taken: called with each record in order, those that the checkpoint covers among them.
    ///   - lost: called with what seem to be records of a damaged frame, to name what is lost; their
    ///     lengths were checked, their content is not to be trusted. Returns the range if it is plausible.
    mutating func run(
        taken: (UnsafeRawPointer) -> Void, lost: (UnsafeRawPointer) -> LostRange?
    ) throws(FileError) {
        try survey()
        positionBefore = try firstPosition()
        var index = 0
        var offset = Int(place.offset)
        if files.first?.number != place.file {
            // A new store begins with its first file; a checkpoint names one that must be there.
            if place.file != 0 {
                damage.append(
                    Damage(
                        file: name(place.file), offset: 0,
                        reason: "the journal file that recovery begins in is missing"))
                startsAfterDamage = true
            }
            offset = JournalFileHeader.pageSize
        }
        if try !beginsHeadless(at: offset) { index = files.count }
        while index < files.count {
            // The file behind may hold nothing of what the mark speaks of, if it was begun and a later one took its place.
            marked = max(marked, mark(try load(index), at: offset, in: index) ?? 0)
            if let next = continuation(after: index) {
                index = next
                offset = JournalFileHeader.pageSize
            }
            let bytes = try load(index)
            if let frame = nextFrame(bytes, at: offset, in: index) {
                unsafe deliver(frame, bytes, offset, taken)
                place.file = files[index].number
                offset += frame.stride
                place.offset = UInt64(offset)
                continue
            }
            let (resume, known) = try search(from: index, offset: offset)
            // Only what was synced counts for it: a header that was not may be torn, with a whole frame behind it.
            if known > max(place.position, covered), let next = try headless(after: index) {
                damage.append(
                    Damage(
                        file: name(files[next].number), offset: 0,
                        reason: "both copies of the file's header are damaged; its frames are whole"))
                index = next
                offset = JournalFileHeader.pageSize
                continue
            }
            guard let resume else {
                if known <= max(place.position, covered) {
                    noteCut(bytes, index, offset)
                } else {
                    // Nothing that was synced after this is left.
                    unsafe try noteDamage(from: index, offset, to: nil, last: known, lost)
                    place.position = known
                }
                break
            }
            unsafe try noteDamage(from: index, offset, to: resume, last: resume.first - 1, lost)
            index = resume.index
            offset = resume.offset
            startsAfterDamage = true
        }
        loaded = nil
        // Frames have it too, should the header be damaged.
        placeGeneration = files.first { $0.number == place.file }?.header?.generation ?? placeGeneration
        place.position = max(place.position, covered)
        // Every file was synced before it was read.
        synced = place.position
    }

    /// Whether the journal tells everything from the store's first record on, `first` being the position of the first that it
    /// gave. That need not be 1: positions of messages that were refused are left out.
    func isComplete(fromFirst first: UInt64?) -> Bool {
        first != nil && positionBefore == 0 && damage.isEmpty
    }

    // MARK: Files

    /// Lists the files. Each is synced, and its clean pages forgotten, so that what is read is what is
    /// on disk and not what a process that died had only written.
    private mutating func survey() throws(FileError) {
        try fileSystem.syncDirectory(directory)
        for name in try fileSystem.list(directory) {
            guard let number = JournalFileHeader.number(name) else { continue }
            let file = try fileSystem.open(directory + "/" + name, .write)
            defer { fileSystem.close(file) }
            try fileSystem.sync(file)
            fileSystem.dropCache(file)
            let size = try fileSystem.size(file)
            let page = try FileBytes(
                file, length: min(size, JournalFileHeader.pageSize), fileSystem: fileSystem,
                skipsUnreadable: true)
            let entry = JournalFiles.Entry(number: number, size: size)
            let header = JournalFileHeader.read(page.array(0..<page.count), number: number, storeID: storeID)
            switch page.unreadable == nil ? header : .damaged {
            case .used(let header):
                generation = max(generation, header.generation)
                if number < keptFrom { free.append(entry) } else { used.append(entry) }
                guard number >= place.file else { continue }
                if let last = files.last?.header, last.generation >= header.generation {
                    damage.append(
                        Damage(
                            file: self.name(number), offset: 24,
                            reason: "the generation is not higher than the file's before"))
                }
                files.append(File(number: number, size: size, header: header))
            case .unused where try !isInUse(file, number):
                free.append(entry)
            case .unused, .damaged:
                if number < keptFrom { free.append(entry) } else { used.append(entry) }
                guard number >= place.file else { continue }
                files.append(File(number: number, size: size, header: nil))
            }
        }
    }

    /// The position before the oldest file, by its header, or its first frame where that is damaged.
    private mutating func firstPosition() throws(FileError) -> UInt64 {
        guard let oldest = files.first else { return 0 }
        if let header = oldest.header { return header.previousPosition }
        let frame = wholeFrame(try load(0), at: JournalFileHeader.pageSize, in: 0)
        return frame.map { $0.firstPosition - 1 } ?? 0
    }

    /// Whether a file whose header says that it is not in use holds frames of now: its header was lost, or it is another's.
    private func isInUse(_ file: OpenFile, _ number: UInt64) throws(FileError) -> Bool {
        guard number >= place.file else { return false }
        let head = try FileBytes(
            file, at: JournalFileHeader.pageSize, length: JournalFrame.headerSize, fileSystem: fileSystem,
            skipsUnreadable: true)
        guard head.count == JournalFrame.headerSize, let frame = unsafe JournalFrame(header: head.base) else {
            return false
        }
        return frame.generation > generation
    }

    /// Whether reading may begin where the first file has no readable header: it may, and the header is damage, if a
    /// checkpoint or a frame says that something in the file was synced. If nothing does, a crash tore the header, and
    /// the file is cut as a whole.
    private mutating func beginsHeadless(at offset: Int) throws(FileError) -> Bool {
        guard let first = files.first, first.header == nil, !startsAfterDamage, continuation(after: 0) == nil
        else { return true }
        if first.number != place.file, try search(from: 0, offset: offset).known <= covered {
            noteCut(try load(0), 0, offset)
            return false
        }
        damage.append(
            Damage(
                file: name(first.number), offset: 0,
                reason: "both copies of the file's header are damaged; its frames are whole"))
        return true
    }

    /// The file without a readable header whose first frame follows what was taken in.
    private mutating func headless(after index: Int) throws(FileError) -> Int? {
        for later in files.indices.dropFirst(index + 1) where files[later].header == nil {
            if nextFrame(try load(later), at: JournalFileHeader.pageSize, in: later) != nil { return later }
        }
        return nil
    }

    private mutating func load(_ index: Int) throws(FileError) -> FileBytes {
        if let loaded, loaded.index == index { return loaded.bytes }
        loaded = nil
        let file = try fileSystem.open(directory + "/" + JournalFileHeader.name(files[index].number), .read)
        defer { fileSystem.close(file) }
        let bytes = try FileBytes(
            file, length: try fileSystem.size(file), fileSystem: fileSystem, skipsUnreadable: true)
        if let unreadable = bytes.unreadable {
            let found = Damage(
                file: self.name(files[index].number), offset: UInt64(unreadable),
                reason: "the disk cannot read this place any more")
            if !damage.contains(found) { damage.append(found) }
        }
        loaded = (index, bytes)
        return bytes
    }

    private func name(_ number: UInt64) -> String { "journal/" + JournalFileHeader.name(number) }

    /// The last file whose header continues the journal exactly behind what was taken in.
    private func continuation(after index: Int) -> Int? {
        var found: Int?
        for later in files.indices.dropFirst(index + 1) {
            if let header = files[later].header, header.previousPosition == place.position,
                header.previousChecksum == place.checksum
            {
                found = later
            }
        }
        return found
    }

    /// The greatest position that frames of file `index` can have: where a later file continues.
    private func bound(_ index: Int) -> UInt64 {
        files.dropFirst(index + 1).compactMap { $0.header?.previousPosition }.min() ?? .max
    }

    // MARK: Frames

    /// A frame at `offset` whose bounds and checksum are right.
    private func wholeFrame(_ bytes: FileBytes, at offset: Int, in index: Int) -> JournalFrame? {
        guard offset + JournalFrame.headerSize <= bytes.count,
            let frame = unsafe JournalFrame(header: bytes.base + offset)
        else { return nil }
        if let header = files[index].header, header.generation != frame.generation { return nil }
        let length = Int(frame.length)
        guard length >= Record.headerSize, length <= bytes.count - offset - JournalFrame.headerSize,
            frame.recordCount > 0, Int(frame.recordCount) <= length / Record.headerSize,
            frame.firstPosition > 0, frame.lastPosition >= frame.firstPosition, frame.isPlausible,
            unsafe JournalFrame.checksum(bytes.base + offset, length: length) == frame.checksum
        else { return nil }
        return frame
    }

    /// The position that a mark at `offset` says to be synced in a file that follows.
    private func mark(_ bytes: FileBytes, at offset: Int, in index: Int) -> UInt64? {
        guard offset + JournalFrame.headerSize <= bytes.count,
            let frame = unsafe JournalFrame(header: bytes.base + offset), frame.recordCount == 0,
            frame.length == 0, frame.isPlausible,
            files[index].header.map({ $0.generation == frame.generation }) ?? true,
            unsafe JournalFrame.checksum(bytes.base + offset, length: 0) == frame.checksum
        else { return nil }
        return frame.knownSynced
    }

    private func nextFrame(_ bytes: FileBytes, at offset: Int, in index: Int) -> JournalFrame? {
        guard let frame = wholeFrame(bytes, at: offset, in: index), frame.firstPosition > place.position,
            frame.lastPosition <= bound(index), frame.previousChecksum == place.checksum || startsAfterDamage
        else { return nil }
        return frame
    }

    private mutating func deliver(
        _ frame: JournalFrame, _ bytes: FileBytes, _ offset: Int, _ taken: (UnsafeRawPointer) -> Void
    ) {
        startsAfterDamage = false
        place.position = frame.lastPosition
        place.checksum = frame.checksum
        generation = max(generation, frame.generation)
        placeGeneration = frame.generation
        self.bytes += UInt64(frame.stride)
        frames += 1
        unsafe Self.forEachRecord(
            bytes.base + offset + JournalFrame.headerSize, available: Int(frame.length),
            first: frame.firstPosition, taken)
    }

    /// Walks records that lie back to back and carry the positions they should; stops where that ends.
    private static func forEachRecord(
        _ base: UnsafeRawPointer, available: Int, first: UInt64, _ body: (UnsafeRawPointer) -> Void
    ) {
        var offset = 0
        var position = first
        while unsafe Record.isWhole(base + offset, available: available - offset) {
            let record = unsafe base + offset
            guard unsafe Record.position(record) == position else { return }
            unsafe body(record)
            offset += unsafe Record.length(record)
            position &+= 1
        }
    }

    // MARK: Damage

    private typealias Resume = (index: Int, offset: Int, first: UInt64)

    /// The next whole frame at or behind `offset`, if something that was synced is missing before it; and the greatest
    /// position that anything says was synced.
    private mutating func search(
        from start: Int, offset: Int
    ) throws(FileError) -> (resume: Resume?, known: UInt64) {
        var resume: Resume?
        var known = max(covered, marked)
        var position = place.position
        for index in files.indices.dropFirst(start) {
            let bytes = try load(index)
            let limit = bound(index)
            // A file is not begun before what it continues is synced.
            if index > start { known = max(known, files[index].header?.previousPosition ?? 0) }
            var offset = index == start ? offset : JournalFileHeader.pageSize
            while offset + JournalFrame.headerSize <= bytes.count {
                if let frame = wholeFrame(bytes, at: offset, in: index), frame.firstPosition > position,
                    frame.lastPosition <= limit
                {
                    if resume == nil { resume = (index, offset, frame.firstPosition) }
                    known = max(known, frame.knownSynced)
                    position = frame.lastPosition
                    offset += frame.stride
                } else {
                    let mark = mark(bytes, at: offset, in: index)
                    known = max(known, mark ?? 0)
                    // Behind it lie frames at most that a crash left behind a hole, and that nobody was acknowledged for.
                    if mark != nil, files[index].header != nil { break }
                    offset += JournalFrame.alignment
                }
            }
        }
        return (known > place.position ? resume : nil, known)
    }

    private mutating func noteDamage(
        from index: Int, _ offset: Int, to resume: Resume?, last: UInt64,
        _ lost: (UnsafeRawPointer) -> LostRange?
    ) throws(FileError) {
        let bytes = try load(index)
        var ranges: [LostRange] = []
        let end = resume.flatMap { $0.index == index ? $0.offset : nil } ?? bytes.count
        var at = offset
        while at + JournalFrame.headerSize + Record.headerSize <= end {
            let base = unsafe bytes.base + at
            let seemsFrame = unsafe JournalFrame(header: base) != nil
            if at == offset || seemsFrame {
                let records = unsafe base + JournalFrame.headerSize
                unsafe Self.forEachRecord(
                    records, available: end - at - JournalFrame.headerSize, first: Record.position(records)
                ) { record in
                    if let range = unsafe lost(record) { Self.add(range, to: &ranges) }
                }
            }
            at += JournalFrame.alignment
        }
        damage.append(
            Damage(
                file: name(files[index].number), offset: UInt64(offset),
                reason: "synced records at positions \(place.position + 1) to \(last) are damaged or missing",
                lost: ranges))
    }

    private static func add(_ range: LostRange, to ranges: inout [LostRange]) {
        if let last = ranges.lastIndex(where: { $0.channel == range.channel }),
            ranges[last].sequences.upperBound + 1 == range.sequences.lowerBound
        {
            ranges[last].sequences = ranges[last].sequences.lowerBound...range.sequences.upperBound
        } else {
            ranges.append(range)
        }
    }

    /// Says what was cut, if there was anything: a frame by magic and generation or, where those are torn, by what it
    /// says of the frame before it, which no frame of the file's earlier life can say.
    private mutating func noteCut(_ bytes: FileBytes, _ index: Int, _ offset: Int) {
        guard offset + JournalFrame.headerSize <= bytes.count, mark(bytes, at: offset, in: index) == nil
        else {
            return
        }
        // One of several that were on their way together, all of which were written once more, in one. It must be whole: of
        // the last frame, damaged, nothing else would tell.
        if let frame = wholeFrame(bytes, at: offset, in: index), frame.lastPosition <= place.position {
            return
        }
        var length = JournalFrame.headerSize
        if let frame = unsafe JournalFrame(header: bytes.base + offset),
            files[index].header?.generation == frame.generation
        {
            length = min(frame.stride, bytes.count - offset)
        } else {
            var header = ByteReader(bytes.array((offset + 16)..<(offset + JournalFrame.headerSize)))
            guard header.integer(UInt64.self) == place.position &+ 1, header.bytes(12) != nil,
                header.integer(UInt32.self) == place.checksum
            else { return }
        }
        tornTail = LogCheckReport.TornTail(
            file: name(files[index].number), offset: UInt64(offset),
            bytes: UInt64(length))
        cutTail =
            "\(name(files[index].number)) from offset \(offset): an unsynced tail after position "
            + "\(place.position), of which nothing was acknowledged with --sync always"
    }
}
