/// The checkpoints of a store, read at opening.
struct CheckpointsFound {
    /// The newest one that is whole.
    private(set) var newest: CheckpointFile?
    /// The two newest that are whole, oldest first: number and first journal file they need.
    private(set) var valid: [(number: UInt64, journalFile: UInt64)] = []
    /// The highest number seen, whole or not.
    private(set) var newestNumber: UInt64 = 0
    private(set) var damage: [Damage] = []
    /// Newer checkpoints than `newest`. They must never count again once segments that they list are changed, should they turn
    /// out to be readable after all.
    private(set) var setAside: [String] = []
    /// Segments, by channel, that only the older of the two lists.
    private(set) var listedBefore: [UInt32: [UInt64]] = [:]

    /// Number of the first journal file that must be kept.
    var keptJournalFile: UInt64 { valid.count == 2 ? valid[0].journalFile : 0 }

    /// The greatest number of a journal file that one of them names.
    var lastJournalFile: UInt64 { valid.map(\.journalFile).max() ?? 0 }

    /// Whether there are checkpoints and none is whole: then the journal must tell everything.
    var isNoneWhole: Bool { newest == nil && !damage.isEmpty }

    init(fileSystem: any FileSystem, directory: StoreDirectory) throws(FileError) {
        // A process that died may have renamed a checkpoint and not synced the name: what recovery begins
        // from must be there at the next one too.
        try fileSystem.syncDirectory(directory.checkpoints)
        let names = try fileSystem.list(directory.checkpoints)
        var withoutTails: CheckpointFile?
        for name in names.reversed() {
            guard let number = CheckpointFile.number(name, ".checkpoint") else { continue }
            newestNumber = max(newestNumber, number)
            guard valid.count < 2 else { continue }
            let bytes = try fileSystem.readableContents(directory.checkpoints + "/" + name) ?? []
            guard let file = CheckpointFile(bytes, number: number, storeID: directory.storeID) else {
                damage.append(
                    Damage(
                        file: "checkpoints/" + name, offset: 0,
                        reason: "the checkpoint is damaged; the one before it and the journal take its place")
                )
                if newest == nil { setAside.append(name) }
                continue
            }
            if newest == nil, try !Self.hasTails(file, fileSystem, directory) {
                withoutTails = withoutTails ?? file
                continue
            }
            if let newest {
                listedBefore = Self.segments(of: file, without: newest)
            } else {
                newest = file
            }
            valid.insert((number, file.place.file), at: 0)
        }
        if let withoutTails { try take(withoutTails, fileSystem, directory) }
        for name in names {
            if let number = CheckpointFile.number(name, ".tails") { newestNumber = max(newestNumber, number) }
        }
    }

    /// What to make of a newer checkpoint than those that are whole, of which blocks that channels were filling are damaged.
    private mutating func take(
        _ file: CheckpointFile, _ fileSystem: any FileSystem, _ directory: StoreDirectory
    ) throws(FileError) {
        guard let before = newest, try Self.journalReaches(from: before, to: file, fileSystem, directory)
        else {
            // Nothing can take its place: what it lacks is named when it is restored.
            if let newest { listedBefore = Self.segments(of: newest, without: file) }
            newest = file
            valid = valid.suffix(1) + [(file.number, file.place.file)]
            return
        }
        setAside.append(CheckpointFile.name(file.number, ".checkpoint"))
        damage.append(
            Damage(
                file: "checkpoints/" + CheckpointFile.name(file.number, ".tails"), offset: 0,
                reason:
                    "blocks of the checkpoint are damaged; the one before it and the journal take its place"))
    }

    /// Whether the journal has everything between two checkpoints.
    private static func journalReaches(
        from before: CheckpointFile, to file: CheckpointFile, _ fileSystem: any FileSystem,
        _ directory: StoreDirectory
    ) throws(FileError) -> Bool {
        var journal = JournalRecovery(
            fileSystem: fileSystem, directory: directory.journal, storeID: directory.storeID,
            start: before.place, covered: before.position, keptFrom: 0)
        unsafe try journal.run(taken: { _ in }, lost: { _ in nil })
        return journal.damage.isEmpty && journal.place.position >= file.position
    }

    /// Whether the blocks that channels were filling are whole.
    private static func hasTails(
        _ checkpoint: CheckpointFile, _ fileSystem: any FileSystem, _ directory: StoreDirectory
    ) throws(FileError) -> Bool {
        let tails = checkpoint.channels.compactMap { channel in channel.tail.map { (channel.id, $0) } }
        guard !tails.isEmpty else { return true }
        let file: OpenFile
        do throws(FileError) {
            file = try fileSystem.open(
                directory.checkpoints + "/" + CheckpointFile.name(checkpoint.number, ".tails"), .read)
        } catch {
            guard error.isMissing else { throw error }
            return false
        }
        defer { fileSystem.close(file) }
        let size = UInt64(try fileSystem.size(file))
        for (channel, tail) in tails {
            guard UInt64(tail.size) <= size else { return false }
            let bytes = try FileBytes(
                file, at: Int(tail.offset), length: Int(tail.size), fileSystem: fileSystem,
                skipsUnreadable: true)
            guard let header = BlockHeader(bytes, at: 0), header.channel == channel,
                header.storeMark == UInt32(truncatingIfNeeded: directory.storeID),
                header.summary == tail.summary
            else { return false }
        }
        return true
    }

    private static func segments(
        of older: CheckpointFile, without newer: CheckpointFile
    ) -> [UInt32: [UInt64]] {
        var known: [UInt32: Set<UInt64>] = [:]
        for channel in newer.channels { known[channel.id] = Set(channel.segments.firsts) }
        var found: [UInt32: [UInt64]] = [:]
        for channel in older.channels {
            let only = channel.segments.firsts.filter { known[channel.id]?.contains($0) == false }
            if !only.isEmpty { found[channel.id] = only }
        }
        return found
    }
}

extension SegmentStore.Channel {
    /// First sequences of its segments.
    fileprivate var firsts: [UInt64] { sealed.map(\.first) + [active?.first].compactMap { $0 } }
}
