extension Log {
    /// Opens a log and recovers what is there.
    ///
    /// - Parameters:
    ///   - fileSystem: where files are; not used with memory storage.
    ///   - wake: called from the log's threads when `poll()` has news; also by `submit()` with memory storage.
    ///   - report: called on the loop, from methods of the log, with what an operator should know.
    /// - Throws: `LogError` with a sentence for the person who starts the broker.
    public static func open(
        _ configuration: LogConfiguration, fileSystem: any FileSystem = RealFileSystem(),
        clock: LogClock = .system,
        wake: @escaping @Sendable () -> Void, report: @escaping (LogEvent) -> Void = { _ in }
    ) throws(LogError) -> Log {
        try open(configuration, lock: nil, fileSystem: fileSystem, clock: clock, wake: wake, report: report)
    }

    /// The same, of a directory whose lock was taken before; it is closed when this throws.
    static func open(
        _ configuration: LogConfiguration, lock: OpenFile?, fileSystem: any FileSystem,
        clock: LogClock = .system,
        wake: @escaping @Sendable () -> Void, report: @escaping (LogEvent) -> Void = { _ in }
    ) throws(LogError) -> Log {
        let log = Log(configuration: configuration, clock: clock, wake: wake, report: report)
        if case .file(let path) = configuration.storage {
            guard configuration.journalSizeBytes >= 1 << 20 else {
                throw LogError(
                    .invalidConfiguration, "the journal size must be at least 1 MiB (--journal-size 1MiB)")
            }
            try log.openStore(path, lock, fileSystem)
        }
        return log
    }

    private func openStore(
        _ path: String, _ lock: OpenFile?, _ fileSystem: any FileSystem
    ) throws(LogError) {
        let began = clock.now()
        let directory = try StoreDirectory.open(
            path, clusterID: configuration.clusterID, newStoreID: configuration.newStoreID,
            lock: lock, fileSystem: fileSystem)
        do {
            try recover(directory, fileSystem)
        } catch let error as LogError {
            fileSystem.close(directory.lock)
            throw error
        } catch {
            fileSystem.close(directory.lock)
            throw LogError(.fileSystem, "the store in \(path) cannot be read (\(error))")
        }
        recovery.isNew = directory.isNew
        recovery.nanoseconds = clock.now() &- began
        if let warning = StoreDirectory.volumeWarning(path, fileSystem) { report(.warning(warning)) }
        if let cut = recovery.cutTail { report(.warning("cut \(cut)")) }
        for damage in recovery.damage { report(.error("damage: \(damage)")) }
        if configuration.writesOnLoop, configuration.sync == .always, disk?.committer.isOnLoop == false {
            report(
                .notice(
                    "there are no asynchronous writes to be had (io_setup(2), eventfd(2)): every batch goes through a "
                        + "thread, which takes small ones longer"))
        }
        startThreads()
    }

    private func recover(_ directory: StoreDirectory, _ fileSystem: any FileSystem) throws {
        let reader = BlockReader(
            fileSystem: fileSystem, directory: directory.channels, storeID: directory.storeID)
        recoveryReader = reader
        let found = try CheckpointsFound(fileSystem: fileSystem, directory: directory)
        recovery.damage = found.damage
        if let damage = directory.damage { recovery.damage.append(damage) }
        let checkpoint = found.newest
        let covered = checkpoint?.position ?? 0
        if let checkpoint { try restore(checkpoint, directory, fileSystem) }

        var journal = JournalRecovery(
            fileSystem: fileSystem, directory: directory.journal, storeID: directory.storeID,
            start: checkpoint?.place, covered: covered, keptFrom: found.keptJournalFile)
        var first: UInt64?
        try unsafe journal.run(
            taken: { record in
                first = unsafe first ?? Record.position(record)
                unsafe self.recover(record, covered: covered)
            },
            lost: { unsafe self.recoverLost($0, covered: covered) })
        if found.newest == nil { try refuseUnknown(directory, fileSystem, found, journal, first: first) }
        recovery.cutTail = journal.cutTail
        recovery.damage += journal.damage + namelessChannels
        if !lostByGap.isEmpty {
            recovery.damage.append(
                Damage(
                    file: "journal", offset: 0, reason: "messages are missing between others", lost: lostByGap
                ))
        }
        unsafe hot.pointee.nextPosition = journal.place.position + 1
        durable = LogPosition(rawValue: journal.place.position)
        for state in states {
            raise(state, to: state.recoveredFloor)
            trim(state, below: state.recoveredFloor)
        }
        if recoveryLacks {
            throw LogError(
                .fileSystem,
                "a segment in \(directory.channels) cannot be opened just now (too many open files?); start again when "
                    + "that is over. Nothing was changed")
        }
        setAsideMissing()
        for damage in recovery.damage where !counters.damage.contains(damage) {
            counters.damage.append(damage)
        }
        recoveryReader = nil
        reader.close()
        assemble(directory, fileSystem, found, journal)
    }

    /// Refuses a store without a checkpoint that once had one, unless the journal tells everything: whose messages lie in the
    /// segments nobody could say, and the next checkpoint would let their files go.
    ///
    /// - Parameter first: position of the first record that the journal gave.
    private func refuseUnknown(
        _ directory: StoreDirectory, _ fileSystem: any FileSystem, _ found: CheckpointsFound,
        _ journal: JournalRecovery, first: UInt64?
    ) throws(LogError) {
        let what: String
        if found.isNoneWhole {
            if journal.isComplete(fromFirst: first) { return }
            what = "is whole (\(found.damage.map(\.file).joined(separator: ", ")))"
        } else {
            // Only what two checkpoints cover is taken from the journal's front.
            let isFreed = journal.positionBefore > 0
            guard isFreed || first == nil && hasSegments(without: journal, directory, fileSystem) else {
                return
            }
            what = "is there"
        }
        throw LogError(
            .damaged,
            "no checkpoint in \(directory.checkpoints) \(what), and the journal does not reach back to the first record "
                + "without a gap: names and limits of channels are not known. Restore a checkpoint with its tails from a copy "
                + "of the directory. Nothing was changed")
    }

    /// Whether there are segments, of which a journal without a record says nothing. Without a sync for each batch a power
    /// cut in a store's first moments may leave a segment and no record: then only a journal without files is proof.
    private func hasSegments(
        without journal: JournalRecovery, _ directory: StoreDirectory, _ fileSystem: any FileSystem
    ) -> Bool {
        guard configuration.sync == .always || journal.used.isEmpty && journal.free.isEmpty else {
            return false
        }
        let channels = (try? fileSystem.list(directory.channels)) ?? []
        return channels.contains { id in
            (try? fileSystem.list("\(directory.channels)/\(id)"))?.contains { $0.hasSuffix(".seg") } == true
        }
    }

    /// Puts together the parts that write, now that it is known where they go on.
    private func assemble(
        _ directory: StoreDirectory, _ fileSystem: any FileSystem, _ found: CheckpointsFound,
        _ journal: JournalRecovery
    ) {
        let files = JournalFiles(
            fileSystem: fileSystem, directory: directory.journal,
            journalSizeBytes: configuration.journalSizeBytes, writesDirect: configuration.sync == .always,
            used: journal.used, free: journal.free,
            lastNumber: max(found.lastJournalFile, journal.place.file), damaged: counters.damage)
        let writer = JournalWriter(
            fileSystem: fileSystem, files: files, storeID: directory.storeID, place: journal.place,
            generation: journal.generation, synced: journal.synced,
            recovered: journal.damage.isEmpty
                ? journal.used.first { $0.number == journal.place.file }.map {
                    (file: $0, generation: journal.placeGeneration)
                } : nil)
        var segments: [UInt32: SegmentStore.Channel] = [:]
        for channel in found.newest?.channels ?? [] {
            segments[channel.id] = channel.segments
        }
        let store = SegmentStore(
            fileSystem: fileSystem, directory: directory.channels, storeID: directory.storeID,
            segmentBytes: configuration.segmentBytes,
            leastDead: configuration.leastDeadBytes, channels: segments,
            listedBefore: found.listedBefore, checkpointPosition: found.newest?.position ?? 0,
            sweeps: found.newest != nil)
        let checkpoints = CheckpointWriter(
            fileSystem: fileSystem, directory: directory, valid: found.valid, newest: found.newestNumber,
            notCounting: found.setAside)
        // The committer asks the background for files, which tells the committer of failures.
        let link = CommitterLink()
        let background = Background(
            segments: store, checkpoints: checkpoints, files: files,
            space: SpareSpace(fileSystem: fileSystem, directory: directory.path),
            spaceBytes: configuration.segmentBytes, clock: clock, wake: wake,
            close: { reason in link.committer?.close(reason: reason) })
        let durableWrites =
            configuration.writesOnLoop && configuration.sync == .always
            ? fileSystem.makeDurableWrites(depth: FramesUnderWay.depth) : nil
        let committer = Committer(
            writer: writer, underWay: durableWrites.map(FramesUnderWay.init), policy: configuration.sync,
            clock: clock, wake: wake,
            wantsFiles: { count in background.prepareFiles(count) },
            wantsSpace: { background.releaseSpace() })
        link.committer = committer
        let readers = ReaderQueue(
            reader: BlockReader(
                fileSystem: fileSystem, directory: directory.channels, storeID: directory.storeID), wake: wake
        )
        let disk = Disk(
            fileSystem: fileSystem, directory: directory, files: files, committer: committer,
            background: background,
            readers: readers, place: journal.place, synced: journal.synced,
            checkpointPosition: found.newest?.position ?? 0, now: clock.now())
        // Recovery took this much from the journal: it counts towards the next checkpoint.
        disk.recoveredBytes = journal.bytes
        disk.journalBytes = journal.bytes
        self.disk = disk
        for (id, entry) in sealedInRecovery {
            if let state = state(id) { blockSealed(entry, of: state) }
        }
        sealedInRecovery = []
        // Trimming may have read the front block of a channel.
        for state in states where state.index.first?.location != nil { keepCached(state, 0) }
        disk.recoveredSegments = found.newest?.channels ?? []
        for channel in disk.recoveredSegments where states[Int(channel.id)] == nil {
            disk.drops.append((durable.rawValue, .delete(channel: channel.id)))
        }
    }

    private func startThreads() {
        guard let disk, configuration.execution == .threads else { return }
        let (committer, background, readers) = (disk.committer, disk.background, disk.readers)
        disk.threads = [
            WorkerThread(name: "log-commit") { committer.run() },
            // No publisher waits for it, and compressing a block takes it as long as many batches (decision 0037).
            WorkerThread(name: "log-background", yields: 5) { background.run() },
            WorkerThread(name: "log-read") { readers.run() },
        ]
    }
}

/// Lets the background thread reach the committer, which is made after it and refers to it.
private final class CommitterLink: @unchecked Sendable {
    // Sendable: set once, before any thread starts. Weak, or the parts of a log would keep each other for ever.
    weak var committer: Committer?
}
