/// The checkpoints of a store, read at opening.
struct CheckpointsFound {
    /// The newest one that is whole.
    private(set) var newest: CheckpointFile?
    /// The two newest that are whole, oldest first: number and first journal file they need.
    private(set) var valid: [(number: UInt64, journalFile: UInt64)] = []
    /// The highest number seen, whole or not.
    private(set) var newestNumber: UInt64 = 0
    private(set) var damage: [Damage] = []
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
        if let withoutTails { take(withoutTails) }
        for name in names {
            if let number = CheckpointFile.number(name, ".tails") { newestNumber = max(newestNumber, number) }
        }
    }

    /// What to make of a newer checkpoint than those that are whole, of which blocks that channels were filling are damaged.
    private mutating func take(_ file: CheckpointFile) {
        guard newest != nil else {
            // There is nothing else: what it lacks is named when it is restored.
            newest = file
            valid = [(file.number, file.place.file)]
            return
        }
        damage.append(
            Damage(
                file: "checkpoints/" + CheckpointFile.name(file.number, ".tails"), offset: 0,
                reason:
                    "blocks of the checkpoint are damaged; the one before it and the journal take its place"))
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
