/// What the loop gathered for a checkpoint: values only, and blocks whose first records do not change.
struct CheckpointRequest: @unchecked Sendable {
    // Sendable: `tails` hold storages of which only the records named, which are complete, are read.

    struct Tail {
        var channel: UInt32
        var storage: BlockStorage
        var summary: BlockSummary
    }

    var position: UInt64
    var place: JournalPlace
    var nextChannelID: UInt32
    /// Without segments and tail, which the writer fills in.
    var channels: [CheckpointChannel]
    var tails: [Tail]
    var damage: [Damage]
    var snapshot: [UInt8]
}

/// Makes checkpoints. Owned by the background thread.
final class CheckpointWriter {
    private let fileSystem: any FileSystem
    private let directory: StoreDirectory
    /// Checkpoints that are whole, oldest first: number and where their recovery begins.
    private var valid: [(number: UInt64, journalFile: UInt64)]
    private var nextNumber: UInt64
    private let encoder = BlockEncoder()
    var unremoved = Unremoved()
    /// Names of checkpoints that must not count at the next start, until that is seen to.
    private var notCounting: [String]
    /// So many bytes of tails go to the disk at once. Thousands of channels have a hundred times that, and the sync of all would
    /// keep publishers waiting as long as they take.
    private static let tailsBytes = 1 << 20

    /// - Parameters:
    ///   - newest: the highest number seen, whole or not.
    ///   - notCounting: names of checkpoints that are newer than the one that recovery began from.
    init(
        fileSystem: any FileSystem, directory: StoreDirectory, valid: [(number: UInt64, journalFile: UInt64)],
        newest: UInt64, notCounting: [String]
    ) {
        self.notCounting = notCounting
        self.fileSystem = fileSystem
        self.directory = directory
        self.valid = valid
        nextNumber = newest + 1
    }

    /// Sees to it, before any segment is written to, that no newer checkpoint counts than the one that recovery began from.
    func setAsideNewer() throws(FileError) {
        guard !notCounting.isEmpty else { return }
        for name in notCounting {
            let path = directory.checkpoints + "/" + name
            do throws(FileError) {
                try fileSystem.rename(path, to: path + ".damaged")
            } catch {
                guard error.isMissing else { throw error }
            }
        }
        try fileSystem.syncDirectory(directory.checkpoints)
        notCounting = []
    }

    /// Makes one checkpoint durable.
    ///
    /// - Returns: the journal file before which nothing is needed: two checkpoints lie above it.
    func write(_ request: CheckpointRequest, segments: SegmentStore) throws(FileError) -> UInt64? {
        // A number is used once: the files of an attempt that failed half-way may count after a crash.
        let number = nextNumber
        nextNumber += 1
        var file = CheckpointFile(
            storeID: directory.storeID, number: number, position: request.position, place: request.place,
            nextChannelID: request.nextChannelID, channels: request.channels, damage: request.damage,
            snapshot: request.snapshot)
        // From where it may get its name it may count after a crash, and needs its tails.
        var mayCount = false
        defer { if !mayCount { removeAttempt(number) } }
        let tails = try writeTails(request.tails, number)
        for index in file.channels.indices {
            let id = file.channels[index].id
            file.channels[index].segments = segments.channels[id] ?? SegmentStore.Channel()
            file.channels[index].tail = tails[id]
        }
        try fileSystem.replace(path(number, ".checkpoint"), with: file.encoded()) {
            checkpoint throws(FileError) in
            // Segments, tails, the names of both, which are all that the checkpoint is about to promise, and itself, in one
            // transaction of the file system: writes of the journal may have to wait for each.
            try fileSystem.syncAll(directory.path, by: directory.lock)
            // It finds nothing left to do, and tells of a write of the checkpoint that failed where the other cannot.
            try fileSystem.sync(checkpoint)
            mayCount = true
        }
        valid.append((number, request.place.file))
        if valid.count > 2 { valid.removeFirst(valid.count - 2) }
        removeOld(request.damage, &segments.removed)
        return valid.count == 2 ? valid[0].journalFile : nil
    }

    private func writeTails(
        _ tails: [CheckpointRequest.Tail], _ number: UInt64
    ) throws(FileError) -> [UInt32: SegmentFile.Block] {
        var found: [UInt32: SegmentFile.Block] = [:]
        guard !tails.isEmpty else { return found }
        let file = try fileSystem.open(path(number, ".tails"), .create)
        defer { fileSystem.close(file) }
        var offset: UInt64 = 0
        encoder.removeAll()
        for (index, tail) in tails.enumerated() {
            let at = offset + UInt64(encoder.count)
            let size = encoder.add(
                tail.storage, tail.summary, channel: tail.channel, segment: 0,
                storeMark: UInt32(truncatingIfNeeded: directory.storeID), compresses: false,
                alignment: 8)
            found[tail.channel] = SegmentFile.Block(summary: tail.summary, offset: at, size: UInt32(size))
            let isFull = encoder.count >= Self.tailsBytes
            if isFull || index == tails.count - 1 {
                try unsafe fileSystem.write(
                    file, UnsafeRawBufferPointer(start: encoder.base, count: encoder.count), at: Int(offset))
                if isFull {
                    try fileSystem.beginWriteBack(file, at: Int(offset), count: encoder.count)
                    try fileSystem.awaitWriteBack(file, at: Int(offset), count: encoder.count)
                }
                offset += UInt64(encoder.count)
                encoder.removeAll()
            }
        }
        return found
    }

    /// Removes what there is of a checkpoint that failed: on a full disk the next attempt needs the space. What stays takes it
    /// until one succeeds.
    private func removeAttempt(_ number: UInt64) {
        for suffix in [".tails", ".checkpoint.tmp"] { try? fileSystem.remove(path(number, suffix)) }
    }

    /// Removes everything but the two newest whole checkpoints; what is damaged gets another name. Of what cannot be removed,
    /// or is no file, nothing depends: the next checkpoint tries again.
    private func removeOld(_ damage: [Damage], _ removed: inout RemovedFiles) {
        let kept = Set(
            valid.flatMap {
                [CheckpointFile.name($0.number, ".checkpoint"), CheckpointFile.name($0.number, ".tails")]
            })
        let names = (try? fileSystem.list(directory.checkpoints)) ?? []
        for name in names where !kept.contains(name) && !name.hasSuffix(".damaged") {
            let path = directory.checkpoints + "/" + name
            do throws(FileError) {
                if damage.contains(where: { $0.file == "checkpoints/" + name }) {
                    try fileSystem.rename(path, to: path + ".damaged")
                } else {
                    try removed.remove(path)
                }
                unremoved.note(path, nil)
            } catch {
                unremoved.note(path, error)
            }
        }
    }

    private func path(_ number: UInt64, _ suffix: String) -> String {
        directory.checkpoints + "/" + CheckpointFile.name(number, suffix)
    }
}
