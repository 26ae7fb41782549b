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

    /// Why a repair leaves a data directory alone of which a check found this; nil where it does not. It goes by the rule by
    /// which a broker starts: the check has tried that.
    public static func refusal(for report: LogCheckReport, directory: String) -> LogError? {
        if report.isComplete { return nil }
        return LogError(
            .damaged,
            "no checkpoint in \(directory)/checkpoints is whole, and the journal does not reach back to the beginning "
                + "without a gap: names and limits of the channels are not known. Restore the newest checkpoint with its "
                + "tails from a copy of the directory. Nothing was changed")
    }

    /// Checks a data directory and repairs it.
    ///
    /// - Parameters:
    ///   - clusterID: the cluster that the store belongs to; needed where the file that says it is damaged or missing.
    ///   - isDryRun: only says what would be done.
    /// - Throws: `LogError`: what `LogCheck.run` throws; `.inUse` when a broker runs on the directory;
    ///   `.otherCluster` when the store says another `clusterID`, `.invalidConfiguration` when none is said and it is needed;
    ///   `.damaged` when too little is whole to go by, with a dry run too; `.fileSystem` when a file cannot be written, as on
    ///   a full disk.
    public static func run(
        directory: String, clusterID: String? = nil, isDryRun: Bool = false,
        fileSystem: any FileSystem = RealFileSystem()
    ) throws(LogError) -> Outcome {
        let before = try checkAlone(directory, fileSystem)
        if let clusterID { try check(clusterID, before, directory) }
        if let refused = refusal(for: before, directory: directory) { throw refused }
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
        let repair = Repair(directory: directory, fileSystem: fileSystem)
        var isHandedOver = false
        do {
            try repair.makeDirectories(outcome.plan)
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

    /// Checks a directory while no broker can start on it.
    private static func checkAlone(
        _ directory: String, _ fileSystem: any FileSystem
    ) throws(LogError) -> LogCheckReport {
        do throws(LogError) {
            var check = try StoreCheck(
                directory, ReadOnlyFileSystem(fileSystem, directory, readsInUse: false))
            return try check.run()
        } catch {
            guard error.code == .inUse else { throw error }
            throw LogError(
                .inUse, "a broker runs on the data directory \(directory); stop it before the repair")
        }
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

    /// Makes the directories that are missing.
    func makeDirectories(_ plan: RepairPlan) throws(FileError) {
        for case .makeDirectory(let path) in plan.steps { try makeDirectory(path) }
        // A file of that name is none, nor is a link to where no disk is mounted: nothing may be given up for it.
        for path in RepairPlan.directories { _ = try fileSystem.list("\(directory)/\(path)") }
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

    func removeCheckpoints(_ plan: RepairPlan) throws {
        let broken: [String] = plan.steps.compactMap { step in
            if case .removeCheckpoint(let file) = step { file } else { nil }
        }
        if broken.isEmpty { return }
        for file in broken { try fileSystem.remove("\(directory)/\(file)") }
        try fileSystem.syncDirectory(directory + "/checkpoints")
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
