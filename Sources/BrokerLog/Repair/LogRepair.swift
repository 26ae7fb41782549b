/// Repairs a data directory: what is damaged is set aside, what is whole stays as it is, and a broker that
/// starts on it finds no damage.
///
/// It may be ended at any moment and begun again: until the new checkpoints are made everything is read as
/// before, and what a checkpoint lists is not changed but for indexes, which are added to, not replaced.
public enum LogRepair {
    /// What was done.
    public struct Outcome: Equatable, Sendable {
        /// What the check before found.
        public var before: LogCheckReport
        /// What was done, or with a dry run would be.
        public var plan: RepairPlan
        /// Where the copies of the damaged files are, below the data directory; nil when there are none.
        public var setAside: String?
        /// What the check afterwards found: no damage. Nil where nothing was done.
        public var after: LogCheckReport?
    }

    /// What repairing a data directory does of which a check found this.
    public static func plan(
        for report: LogCheckReport, directory: String, fileSystem: any FileSystem = RealFileSystem()
    ) -> RepairPlan {
        RepairPlan(report) { file in
            (try? fileSystem.list("\(directory)/\(file)")) != nil
                || (try? fileSystem.contents("\(directory)/\(file)", limit: 0)) != nil
        }
    }

    /// Checks a data directory and repairs it.
    ///
    /// - Parameters:
    ///   - clusterID: the cluster that the store belongs to; needed where the file that says it is damaged or missing.
    ///   - isDryRun: only says what would be done.
    /// - Throws: `LogError`: what `LogCheck.run` throws; `.inUse` when a broker runs on the directory;
    ///   `.otherCluster` when the store says another `clusterID`, `.invalidConfiguration` when none is said and it is needed;
    ///   `.damaged` when too little is whole to go by; `.fileSystem` when a file cannot be written, as on a
    ///   full disk.
    public static func run(
        directory: String, clusterID: String? = nil, isDryRun: Bool = false,
        fileSystem: any FileSystem = RealFileSystem()
    ) throws(LogError) -> Outcome {
        let before = try LogCheck.run(directory: directory, fileSystem: fileSystem)
        if before.isInUse {
            throw LogError(
                .inUse, "a broker runs on the data directory \(directory); stop it before the repair")
        }
        if let clusterID { try check(clusterID, before, directory) }
        var outcome = Outcome(
            before: before, plan: plan(for: before, directory: directory, fileSystem: fileSystem))
        guard !outcome.plan.steps.isEmpty, !isDryRun else { return outcome }
        guard let cluster = before.clusterID ?? clusterID else {
            throw LogError(
                .invalidConfiguration,
                "\(directory)/store is damaged or missing, and nothing else says which cluster the store belongs to: give "
                    + "the broker's -cid with --cluster-id. Nothing was changed")
        }
        // From here to the new checkpoints no broker may start.
        let lock = try StoreDirectory.takeLock(directory, fileSystem)
        let repair = Repair(directory: directory, storeID: before.storeID, fileSystem: fileSystem)
        var isHandedOver = false
        do {
            // What hides behind a missing directory shows once it is there.
            if try repair.makeDirectories(outcome.plan) {
                let found = try LogCheck.run(directory: directory, fileSystem: fileSystem)
                outcome.plan.add(plan(for: found, directory: directory, fileSystem: fileSystem))
            }
            try repair.refuseUnknown(outcome.plan)
            outcome.setAside = try repair.setAside(outcome.plan.files)
            if outcome.plan.steps.contains(.writeStore) {
                try StoreDirectory.writeStore(directory, before.storeID, cluster, fileSystem)
            }
            try repair.removeCheckpoints(outcome.plan)
            isHandedOver = true
            try repair.run(outcome.plan, clusterID: cluster, lock: lock)
        } catch {
            if !isHandedOver { fileSystem.close(lock) }
            throw error as? LogError
                ?? LogError(
                    .fileSystem, "the data directory \(directory) cannot be repaired (\(error))")
        }
        let after = try LogCheck.run(directory: directory, fileSystem: fileSystem)
        outcome.after = after
        guard after.damage.isEmpty else {
            throw LogError(
                .damaged,
                "the repair of \(directory) left damage, which is a fault of the broker: "
                    + after.damage.map(\.description).joined(separator: "; "))
        }
        return outcome
    }

    /// Refuses a cluster id that is not the store's, or that no broker could be started with.
    private static func check(
        _ clusterID: String, _ report: LogCheckReport, _ directory: String
    ) throws(LogError) {
        if let stored = report.clusterID, clusterID != stored {
            throw LogError(
                .otherCluster(stored),
                "the store in \(directory) belongs to the cluster id \"\(stored)\", not \"\(clusterID)\"; leave "
                    + "--cluster-id away. Nothing was changed")
        }
        guard LogConfiguration.isClusterID(clusterID) else {
            throw LogError(
                .invalidConfiguration,
                "a cluster id is a name that can be part of a subject (no blanks, no * and >), not \"\(clusterID)\". "
                    + "Nothing was changed")
        }
    }
}

/// One repair.
private struct Repair {
    let directory: String
    let storeID: UInt64
    let fileSystem: any FileSystem

    /// Copies files, durably, to a new directory below `damaged`; returns its path below the data directory.
    func setAside(_ files: [String]) throws(FileError) -> String? {
        guard !files.isEmpty else { return nil }
        try makeDirectory("damaged")
        let numbers = try fileSystem.list("\(directory)/damaged").compactMap { Int($0) }
        let target = "damaged/\((numbers.max() ?? 0) + 1)"
        try makeDirectory(target)
        for file in files {
            var path = target
            for part in file.split(separator: "/").dropLast() {
                path += "/\(part)"
                try makeDirectory(path)
            }
            try copy(file, to: "\(target)/\(file)")
            try fileSystem.syncDirectory("\(directory)/\(path)")
        }
        return target
    }

    private func makeDirectory(_ path: String) throws(FileError) {
        do throws(FileError) {
            try fileSystem.makeDirectory("\(directory)/\(path)")
        } catch {
            guard error.exists else { throw error }
        }
        let parent = path.split(separator: "/").dropLast().joined(separator: "/")
        try fileSystem.syncDirectory(parent.isEmpty ? directory : "\(directory)/\(parent)")
    }

    private func copy(_ file: String, to target: String) throws(FileError) {
        let source = try fileSystem.open("\(directory)/\(file)", .read)
        defer { fileSystem.close(source) }
        let copy = try fileSystem.open("\(directory)/\(target)", .create)
        defer { fileSystem.close(copy) }
        let size = try fileSystem.size(source)
        var offset = 0
        // A page at a time where the disk cannot read some: there are zeros in their place in the copy.
        var most = 1 << 20
        while offset < size {
            let bytes: FileBytes
            do throws(FileError) {
                bytes = try FileBytes(
                    source, at: offset, length: min(most, size - offset), fileSystem: fileSystem,
                    skipsUnreadable: most == FileBytes.page)
            } catch {
                guard error.isUnreadable, most > FileBytes.page else { throw error }
                most = FileBytes.page
                continue
            }
            guard bytes.count > 0 else { break }
            try unsafe fileSystem.write(
                copy, UnsafeRawBufferPointer(start: bytes.base, count: bytes.count), at: offset)
            offset += bytes.count
        }
        try fileSystem.sync(copy)
    }

    /// Makes the directories that are missing; false when none is.
    func makeDirectories(_ plan: RepairPlan) throws(FileError) -> Bool {
        var made = false
        for case .makeDirectory(let path) in plan.steps {
            try makeDirectory(path)
            made = true
        }
        return made
    }

    /// Does the steps of `plan` behind setting aside.
    func run(_ plan: RepairPlan, clusterID: String, lock: OpenFile) throws {
        var configuration = LogConfiguration(storage: .file(directory: directory))
        configuration.clusterID = clusterID
        configuration.execution = .manual
        let log = try Log.open(configuration, lock: lock, fileSystem: fileSystem, wake: {})
        do {
            try mend(log, plan)
        } catch {
            log.abandon()
            throw error
        }
    }

    /// Refuses a store of which neither a checkpoint nor the journal's beginning is whole.
    func refuseUnknown(_ plan: RepairPlan) throws {
        let broken = brokenCheckpoints(plan)
        let path = directory + "/checkpoints"
        let names = try fileSystem.list(path).filter { $0.hasSuffix(".checkpoint") }
        let isAnyWhole = names.contains { !broken.contains("checkpoints/\($0)") }
        guard isAnyWhole || hasWholeJournal() else {
            throw LogError(
                .damaged,
                "no checkpoint in \(path) is whole, and the journal does not reach back to the beginning: names "
                    + "and limits of the channels are not known. Restore the newest checkpoint with its tails from a "
                    + "copy of the directory. Nothing was changed")
        }
    }

    func removeCheckpoints(_ plan: RepairPlan) throws {
        let broken = brokenCheckpoints(plan)
        if broken.isEmpty { return }
        for file in broken { try fileSystem.remove("\(directory)/\(file)") }
        try fileSystem.syncDirectory(directory + "/checkpoints")
    }

    private func brokenCheckpoints(_ plan: RepairPlan) -> [String] {
        plan.steps.compactMap { step in
            if case .removeCheckpoint(let file) = step { file } else { nil }
        }
    }

    /// Whether the journal holds everything from the store's first record on.
    private func hasWholeJournal() -> Bool {
        var journal = JournalRecovery(
            fileSystem: ReadOnlyFileSystem(fileSystem, readsInUse: true), directory: directory + "/journal",
            storeID: storeID, start: nil, covered: 0, keptFrom: 0)
        var first: UInt64?
        do throws(FileError) {
            unsafe try journal.run(
                taken: { record in
                    let position = unsafe Record.position(record)
                    first = first ?? position
                }, lost: { _ in nil })
        } catch {
            return false
        }
        let isUnused = first == nil && (try? fileSystem.list(directory + "/channels"))?.isEmpty == true
        return first == 1 && journal.damage.isEmpty || isUnused
    }

    private func mend(_ log: Log, _ plan: RepairPlan) throws {
        // Reading finds what recovery does not look at.
        for channel in log.channels { unsafe try log.forEachMessage(of: channel) { _ in true } }
        guard let disk = log.disk else { return }
        for step in plan.steps {
            switch step {
            case .mendSegment(_, let channel, let first):
                try disk.background.mend(channel, first, log.blocks(of: channel, inSegment: first))
            case .forgetSegment(_, let channel, let first): try disk.background.mend(channel, first, nil)
            default: break
            }
        }
        // State records follow each other in a snapshot as they do in the journal.
        let state = log.recoveredState
        let snapshot = (state.snapshot ?? []) + state.records.joined()
        log.forgetDamage()
        for _ in 0..<2 {
            // The first record goes to a new journal file; the second checkpoint frees those before.
            unsafe log.appendState(UnsafeRawBufferPointer(start: nil, count: 0))
            log.submit()
            log.finishWork(disk)
            log.checkpoint(state: Array(snapshot))
            log.finishWork(disk)
        }
        let made = log.statistics.checkpoints
        log.close(state: Array(snapshot))
        guard made >= 2 else {
            throw LogError(
                .fileSystem,
                "no checkpoints could be made in \(directory) (\(log.closedReason ?? "the disk is full")); "
                    + "make room and repair it again")
        }
    }
}
