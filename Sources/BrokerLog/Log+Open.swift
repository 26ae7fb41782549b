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
        let log = Log(configuration: configuration, clock: clock, wake: wake, report: report)
        if case .file(let path) = configuration.storage {
            guard configuration.journalSizeBytes >= 1 << 20 else {
                throw LogError(
                    .invalidConfiguration, "the journal size must be at least 1 MiB (--journal-size 1MiB)")
            }
            try log.openStore(path, fileSystem)
        }
        return log
    }

    private func openStore(_ path: String, _ fileSystem: any FileSystem) throws(LogError) {
        let began = clock.now()
        let directory = try StoreDirectory.open(
            path, clusterID: configuration.clusterID, newStoreID: configuration.newStoreID,
            fileSystem: fileSystem)
        do throws(FileError) {
            try recover(directory, fileSystem)
        } catch {
            fileSystem.close(directory.lock)
            throw LogError(.fileSystem, "the store in \(path) cannot be read (\(error))")
        }
        recovery.isNew = directory.isNew
        recovery.nanoseconds = clock.now() &- began
        if let warning = StoreDirectory.volumeWarning(path, fileSystem) { report(.warning(warning)) }
        if let cut = recovery.cutTail { report(.warning("cut \(cut)")) }
        for damage in recovery.damage { report(.error("damage: \(damage)")) }
        startThreads()
    }

    private func recover(_ directory: StoreDirectory, _ fileSystem: any FileSystem) throws(FileError) {
        var journal = JournalRecovery(
            fileSystem: fileSystem, directory: directory.journal, storeID: directory.storeID, start: nil,
            covered: 0)
        try unsafe journal.run(
            taken: { unsafe self.recover($0, covered: 0) }, lost: { unsafe self.recoverLost($0, covered: 0) })
        recovery.cutTail = journal.cutTail
        recovery.damage = journal.damage
        if !lostByGap.isEmpty {
            recovery.damage.append(
                Damage(
                    file: "journal", offset: 0, reason: "messages are missing between others", lost: lostByGap
                ))
        }
        counters.damage = recovery.damage

        let files = JournalFiles(
            fileSystem: fileSystem, directory: directory.journal,
            journalSizeBytes: configuration.journalSizeBytes,
            used: journal.used, free: journal.free)
        let writer = JournalWriter(
            fileSystem: fileSystem, files: files, storeID: directory.storeID, place: journal.place,
            generation: journal.generation, synced: journal.synced)
        let committer = Committer(
            writer: writer, policy: configuration.sync, clock: clock, wake: wake, wantsFiles: { _ in })
        disk = Disk(
            fileSystem: fileSystem, directory: directory, files: files, committer: committer,
            place: journal.place,
            synced: journal.synced)
        unsafe hot.pointee.nextPosition = journal.place.position + 1
        durable = LogPosition(rawValue: journal.place.position)
        for case let state? in states { settle(state) }
    }

    /// What was recovered is durable.
    private func settle(_ state: ChannelState) {
        applyLimits(to: state)
    }

    private func startThreads() {
        guard let disk, configuration.execution == .threads else { return }
        let committer = disk.committer
        disk.threads.append(WorkerThread(name: "log-commit") { committer.run() })
    }

    /// Keeps the engine's snapshot, taken now, which covers everything appended before this call.
    /// The rest happens in the background. Nothing to do with memory storage.
    public func checkpoint(state: [UInt8]) {}

    /// Submits and syncs what was appended, makes a last checkpoint, stops the log's threads and releases
    /// the directory. Blocks; call it once, at shutdown; nothing may be called after it.
    public func close(state: [UInt8]) {
        submit()
        guard let disk else { return }
        if configuration.execution == .threads {
            disk.committer.waitUntilIdle()
            disk.committer.stop()
            for thread in disk.threads { thread.join() }
        } else {
            while stepCommit() {}
        }
        _ = poll()
        disk.committer.finish()
        disk.fileSystem.close(disk.directory.lock)
        self.disk = nil
    }

    /// Commits one batch, as the committer's thread does; false when there was nothing to do. For
    /// `LogExecution.manual`.
    public func stepCommit() -> Bool { disk?.committer.step() ?? false }

    /// A block was sealed: with file storage it goes to its segment once it is durable.
    func blockSealed(_ entry: BlockEntry, of state: ChannelState) {}

    /// The front block of a channel is about to go.
    func frontDropped(_ state: ChannelState) {}

    /// Asks the reader for a block.
    func requestLoad(of position: Int, in state: ChannelState) {}
}
