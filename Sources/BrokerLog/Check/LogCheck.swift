/// Verifies a data directory without changing anything.
public enum LogCheck {
    /// Verifies every checksum of a data directory: the store file, checkpoints and their tails, journal, segments. The
    /// broker's own recovery is run in memory and every message read; then what recovery has no need of is verified too.
    ///
    /// A broker may run on the directory, or start meanwhile: this neither waits for it nor keeps it from starting, and
    /// `LogCheckReport.isInUse` says so.
    ///
    /// - Throws: `LogError` when the directory cannot be read as a store: `.noStore`, `.foreignStore`, `.newerVersion`,
    ///   `.damaged` (the store file, and no journal says which store it is), `.fileSystem`.
    public static func run(
        directory: String, fileSystem: any FileSystem = RealFileSystem()
    ) throws(LogError) -> LogCheckReport {
        let files = ReadOnlyFileSystem(fileSystem, directory, readsInUse: true)
        var attempts = 1
        while true {
            do throws(LogError) {
                var check = try StoreCheck(directory, files)
                return try check.run()
            } catch {
                // A broker that runs, maybe only since a moment ago, may take a file away just when it is to be read.
                try? files.lookForBroker()
                guard files.isInUse, error.code == .fileSystem, attempts < 5 else { throw error }
                attempts += 1
            }
        }
    }
}

/// One check of a data directory.
struct StoreCheck {
    let directory: String
    let fileSystem: ReadOnlyFileSystem
    let identity: StoreIdentity
    var report: LogCheckReport
    /// Whole checkpoints, oldest first.
    private var checkpoints: [CheckpointFile] = []

    init(_ directory: String, _ fileSystem: ReadOnlyFileSystem) throws(LogError) {
        self.directory = directory
        self.fileSystem = fileSystem
        identity = try StoreIdentity(directory, fileSystem)
        report = LogCheckReport(identity)
    }

    mutating func run() throws(LogError) -> LogCheckReport {
        do {
            try findParts()
            if let damage = identity.damage { report.add(damage) }
            try readCheckpoints()
            try readMessages()
            try fileSystem.lookForBroker()
        } catch let error as LogError {
            throw error
        } catch {
            throw LogError(.fileSystem, "the store in \(directory) cannot be read (\(error))")
        }
        report.isInUse = fileSystem.isInUse
        report.damage.sort { ($0.file, $0.offset) < ($1.file, $1.offset) }
        return report
    }

    /// Names directories that are missing. They are read as if they were empty, which tells what is gone with them.
    private mutating func findParts() throws(FileError) {
        for part in RepairPlan.directories {
            guard try fileSystem.isMissing("\(directory)/\(part)") else { continue }
            report.add(Damage(file: part, offset: 0, reason: "the directory is missing"))
        }
    }

    private mutating func readCheckpoints() throws(FileError) {
        let path = directory + "/checkpoints"
        for name in try fileSystem.list(path) {
            guard let number = CheckpointFile.number(name, ".checkpoint") else { continue }
            let bytes = try fileSystem.readableContents("\(path)/\(name)") ?? []
            if let file = CheckpointFile(bytes, number: number, storeID: identity.storeID) {
                checkpoints.append(file)
            } else {
                report.add(
                    Damage(file: "checkpoints/" + name, offset: 0, reason: "the checkpoint is damaged"))
            }
        }
        report.checkpoints = checkpoints.count
    }

    /// Recovers the store in memory and reads every message; then verifies the rest.
    private mutating func readMessages() throws {
        let reader: OfflineReader
        do throws(LogError) {
            reader = try OfflineReader(directory, identity, fileSystem)
        } catch {
            guard error.code == .damaged else { throw error }
            report.isComplete = false
            // No checkpoint is whole, and each of them is named already; or none is there.
            if !report.damage.contains(where: { $0.file.hasPrefix("checkpoints") }) {
                report.add(Damage(file: "checkpoints", offset: 0, reason: error.description))
            }
            return
        }
        for channel in reader.channels {
            var found = 0
            var payload = 0
            unsafe try reader.forEachMessage(of: channel.name) { message in
                found += 1
                unsafe payload += message.payload.count
                return true
            }
            report.payloadBytes += payload
            // Damage that reading found has moved first sequence and bytes.
            guard let info = reader.log.info(of: channel.id) else { continue }
            report.channels.append(
                StoredChannel(
                    id: channel.id, name: channel.name, firstSequence: info.firstSequence,
                    lastSequence: info.lastSequence, messages: found, bytes: info.bytes))
        }
        noteDamage(reader.log)
        if let oldest = checkpoints.first, checkpoints.count > 1 { try checkTails(oldest) }
        try checkJournal()
        if let newest = checkpoints.last { try checkSegments(newest, reader.log) }
    }

    /// Takes in what recovery and reading found. Channels remember what they lost when the damage is repaired.
    private mutating func noteDamage(_ log: Log) {
        let known = log.statistics.damage
        // Recovery tells more of a place, of which it may have several things to say.
        report.damage.removeAll { damage in
            known.contains { $0.file == damage.file && $0.offset == damage.offset }
        }
        report.damage += known
        for id in log.channels {
            for range in log.info(of: id)?.damage ?? [] {
                let isNamed = known.contains { damage in
                    damage.lost.contains { $0.channel == id && $0.sequences.overlaps(range) }
                }
                if isNamed { continue }
                report.lostBefore.append(
                    LostRange(channel: id, name: log.name(of: id) ?? [], sequences: range))
            }
        }
    }

    /// Verifies the journal from the oldest checkpoint on.
    private mutating func checkJournal() throws(FileError) {
        let oldest = checkpoints.first
        var journal = JournalRecovery(
            fileSystem: fileSystem, directory: directory + "/journal", storeID: identity.storeID,
            start: oldest?.place, covered: oldest?.position ?? 0, keptFrom: oldest?.place.file ?? 0)
        unsafe try journal.run(taken: { _ in }, lost: { _ in nil })
        report.journal.files = journal.used.count + journal.free.count
        report.journal.frames = journal.frames
        report.journal.bytes = journal.bytes
        for damage in journal.damage { report.add(damage) }
        if let newest = checkpoints.last, journal.place.position < newest.position {
            // What a checkpoint covers was synced: the journal cannot end before.
            let file =
                journal.place.file == 0 ? "journal" : "journal/" + JournalFileHeader.name(journal.place.file)
            report.add(
                Damage(
                    file: file, offset: journal.place.offset,
                    reason:
                        "records after position \(journal.place.position), which a checkpoint covers, are damaged"
                ))
        } else {
            report.journal.tornTail = journal.tornTail
        }
        for file in journal.used where file.number <= journal.place.file { try checkHeader(file.number) }
    }

    /// Verifies both copies of a journal file's header, which was synced with the file's first frame.
    private mutating func checkHeader(_ number: UInt64) throws(FileError) {
        let name = JournalFileHeader.name(number)
        // Reading the journal has named what the disk cannot read.
        guard
            let page = try fileSystem.readableContents(
                "\(directory)/journal/\(name)", limit: JournalFileHeader.pageSize)
        else { return }
        for offset in JournalFileHeader.damagedCopies(page) {
            report.add(
                Damage(
                    file: "journal/" + name, offset: UInt64(offset),
                    reason: "one of the two copies of the file's header is damaged"))
        }
    }
}
