/// Work that no publisher waits for: blocks into segments, checkpoints, journal files made ready, files
/// removed. One thread, or stepped by hand; jobs are done in order.
///
/// When the disk is full a job waits at the head of the queue until `retry`. Any other failure of a
/// write or a sync closes the log.
final class Background: @unchecked Sendable {
    // Sendable: what the loop and the thread share is touched under `monitor`; `segments` and
    // `checkpoints` belong to whoever steps, which is one thread.

    enum Job {
        case write(channel: UInt32, BlockStorage, BlockSummary)
        case drop(channel: UInt32, below: UInt64)
        case delete(channel: UInt32)
        /// Of the channel's front segment the first bytes are dead.
        case compact(channel: UInt32, below: UInt64, dead: UInt64)
        case checkpoint(CheckpointRequest)
    }

    enum Result {
        case written(channel: UInt32, BlockSummary, BlockLocation)
        case moved(MovedBlocks)
        /// The file of the segment with this first sequence, which a checkpoint has all of, is missing.
        case lost(channel: UInt32, segment: UInt64)
        /// A checkpoint is durable up to this position.
        case checkpoint(position: UInt64)
        /// Something that nobody needs could not be removed.
        case left(String)
        /// The disk was full; it may be tried again later.
        case checkpointFailed(String)
    }

    private let monitor = Monitor()
    private var queue: [Job] = []
    private var head = 0
    private var results: [Result] = []
    private var queuedBytes = 0
    private var fullReason: String?
    private var isWorking = false
    /// A write or a sync failed: nothing more is done.
    private var hasFailed = false
    private var stops = false
    /// Journal files that should be ready; 0 when nothing was asked.
    private var wantedFiles = 0
    /// The disk is full, and what removed files hold is wanted.
    private var wantsSpace = false
    /// What the space kept back comes to: two files of the journal are what a checkpoint may have to write, until a
    /// segment is.
    private var keptBytes: Int
    private var counters = (bytes: UInt64(0), segments: 0)

    private let segments: SegmentStore
    private let checkpoints: CheckpointWriter
    private let files: JournalFiles
    private let space: SpareSpace
    private let spaceBytes: Int
    private let clock: LogClock
    /// Whether a job was done since the last piece of a removed file went; whoever steps knows.
    private var isPieceNext = false
    private let wake: @Sendable () -> Void
    /// Called when a write or a sync failed.
    private let close: @Sendable (_ reason: String) -> Void

    init(
        segments: SegmentStore, checkpoints: CheckpointWriter, files: JournalFiles, space: SpareSpace,
        spaceBytes: Int, clock: LogClock, wake: @escaping @Sendable () -> Void,
        close: @escaping @Sendable (_ reason: String) -> Void
    ) {
        self.segments = segments
        self.checkpoints = checkpoints
        self.files = files
        self.space = space
        self.spaceBytes = spaceBytes
        self.clock = clock
        self.wake = wake
        self.close = close
        keptBytes = min(spaceBytes, 2 * files.nextBytes)
        counters.segments = segments.count
    }

    // MARK: For the loop and the committer

    /// Adds jobs at the end.
    func add(_ jobs: [Job]) {
        monitor.locked {
            for case .write(_, _, let summary) in jobs { queuedBytes += Int(summary.rawSize) }
            queue.append(contentsOf: jobs)
            monitor.signal()
        }
    }

    /// Asks for `count` journal files to be ready, unless they are.
    func prepareFiles(_ count: Int) {
        guard files.needsMore(than: count) else { return }
        monitor.locked {
            wantedFiles = max(wantedFiles, count)
            monitor.signal()
        }
    }

    /// What was done since it was asked before, why nothing is done, if the disk is full, and how many bytes of the
    /// disk are kept back for that case.
    func takeResults() -> (results: [Result], full: String?, keptBytes: Int) {
        monitor.locked {
            defer { results.removeAll(keepingCapacity: true) }
            return (results, fullReason, keptBytes)
        }
    }

    /// Tries again what waits for space.
    func retry() {
        monitor.locked {
            fullReason = nil
            monitor.signal()
        }
    }

    /// Bytes written to segments, and segment files.
    var statistics: (bytes: UInt64, segments: Int) { monitor.locked { counters } }

    /// Waits until nothing is left that can be done.
    func waitUntilIdle() {
        monitor.locked { while canWork || isWorking { monitor.wait() } }
    }

    /// Has the space of removed files given back at once: the disk is full.
    func releaseSpace() {
        monitor.locked {
            wantsSpace = true
            monitor.signal()
        }
    }

    // MARK: For the thread

    /// Works until `stop`.
    func run() {
        while true {
            let goesOn = monitor.locked { () -> Bool in
                while !canWork && !stops {
                    let pause = hasFailed ? nil : segments.removed.pause(now: clock.now())
                    if pause == 0 { break }
                    monitor.wait(nanoseconds: pause)
                }
                return !stops
            }
            guard goesOn else { return }
            _ = step(keepsPauses: true)
        }
    }

    /// Lets `run` return.
    func stop() {
        monitor.locked {
            stops = true
            monitor.signal()
        }
    }

    /// Lets go of the files; after the thread ended.
    func finish() { segments.close() }

    /// Gives a segment an index of these blocks; see `SegmentStore.mend`. Where nobody else steps.
    func mend(_ channel: UInt32, _ first: UInt64, _ blocks: [SegmentFile.Block]?) throws(FileError) {
        try checkpoints.setAsideNewer()
        try segments.mend(channel: channel, first: first, blocks: blocks)
    }

    /// Does one job, or several writes at once, or gives back a piece of what was removed; false when there was nothing that
    /// could be done.
    ///
    /// - Parameter keepsPauses: whether the disk is left to others for a while after each piece.
    func step(keepsPauses: Bool = false) -> Bool {
        // Journal files first: the committer will want them soon.
        let (wanted, givesSpace) = monitor.locked { () -> (Int, Bool) in
            if hasFailed { return (0, false) }
            defer {
                wantedFiles = 0
                wantsSpace = false
            }
            isWorking = wantedFiles > 0 || wantsSpace
            return (wantedFiles, wantsSpace)
        }
        let gaveSpace = givesSpace && segments.removed.releaseAll()
        if wanted > 0 {
            prepare(wanted)
            return true
        }
        if givesSpace {
            monitor.locked {
                isWorking = false
                monitor.signal()
            }
        }
        let isDue = keepsPauses ? segments.removed.pause(now: clock.now()) == 0 : !segments.removed.isEmpty
        let (next, lot, isBehind) = monitor.locked { () -> (Job?, [SegmentStore.Block], Bool) in
            // Pieces and jobs take turns.
            guard hasJob, !(isDue && isPieceNext) else { return (nil, [], false) }
            isWorking = true
            return (queue[head], blocksAtHead(), queuedBytes > Self.behindBytes)
        }
        isPieceNext = next != nil
        guard let job = next else {
            guard isDue, !monitor.locked({ hasFailed }) else { return gaveSpace }
            if let failure = segments.removed.releasePiece(clock) {
                monitor.locked { results.append(.left("\(failure)")) }
                wake()
            }
            return true
        }
        var done: [Result] = []
        var failure: FileError?
        do throws(FileError) { done = try perform(job, lot, isBehind) } catch { failure = error }
        // What removed files hold is had at once: space, and descriptors.
        if let lack = failure, lack.mayPass, segments.removed.releaseAll() {
            failure = nil
            do throws(FileError) { done = try perform(job, lot, isBehind) } catch { failure = error }
        }
        // The space kept back is for what makes a checkpoint or gives space, and for what stands before it.
        if let full = failure, full.isNoSpace, full.mayPass, leadsToSpace(), space.release() {
            failure = nil
            do throws(FileError) { done = try perform(job, lot, isBehind) } catch { failure = error }
        }
        let left = segments.unremoved.takeUntold() + checkpoints.unremoved.takeUntold()
        monitor.locked { results.append(contentsOf: left.map { .left("\($0)") }) }
        finishJob(job, done, failure)
        if !done.isEmpty || !left.isEmpty || failure != nil { wake() }
        return true
    }

    /// What one write may take: blocks of one channel that wait one behind the other.
    private func blocksAtHead() -> [SegmentStore.Block] {
        var blocks: [SegmentStore.Block] = []
        var bytes = 0
        guard case .write(let channel, _, _) = queue[head] else { return [] }
        for job in queue[head...] {
            guard case .write(channel, let storage, let summary) = job, bytes < Self.lotBytes else { break }
            blocks.append((storage, summary))
            bytes += Int(summary.rawSize)
        }
        return blocks
    }

    private func prepare(_ count: Int) {
        var closes: String?
        do throws(FileError) {
            do throws(FileError) {
                while try files.prepare(upTo: count) {}
            } catch {
                guard error.mayPass, segments.removed.releaseAll() else { throw error }
                while try files.prepare(upTo: count) {}
            }
        } catch {
            // On a full disk the committer meets the same error when it needs the file.
            if !error.mayPass { closes = "\(error)" }
        }
        let kept = min(spaceBytes, 2 * files.nextBytes)
        monitor.locked {
            isWorking = false
            keptBytes = kept
            hasFailed = hasFailed || closes != nil
            monitor.signal()
        }
        if let closes { closeLog(closes) }
    }

    private func leadsToSpace() -> Bool {
        monitor.locked {
            queue[head...].contains { if case .write = $0 { false } else { true } }
        }
    }

    /// Does a job, or as many writes of `lot`, of which it is the first, as the segment takes.
    private func perform(
        _ job: Job, _ lot: [SegmentStore.Block], _ isBehind: Bool
    ) throws(FileError) -> [Result] {
        try checkpoints.setAsideNewer()
        switch job {
        case .write(let channel, _, _):
            if let segment = try segments.leaveMissing(channel) {
                monitor.locked { results.append(.lost(channel: channel, segment: segment)) }
            }
            // Where lz4 cannot keep up with publishers, blocks are stored as they are.
            let locations = try segments.write(lot, channel: channel, compresses: !isBehind)
            return zip(lot, locations).map { .written(channel: channel, $0.summary, $1) }
        case .drop(let channel, let first):
            try segments.drop(channel: channel, below: first)
        case .delete(let channel):
            try segments.delete(channel: channel)
        case .compact(let channel, let first, let dead):
            let moved = try segments.compact(channel: channel, below: first, dead: dead)
            return moved.map { [.moved($0)] } ?? []
        case .checkpoint(let request):
            try segments.findWritten()
            if let unneeded = try checkpoints.write(request, segments: segments) {
                files.release(below: unneeded)
            }
            segments.noteCheckpoint(at: request.position)
            let wanted = min(spaceBytes, 2 * files.nextBytes)
            if !space.keep(wanted), segments.removed.releaseAll() { _ = space.keep(wanted) }
            return [.checkpoint(position: request.position)]
        }
        return []
    }

    private func finishJob(_ job: Job, _ done: [Result], _ failure: FileError?) {
        var closes: String?
        monitor.locked {
            isWorking = false
            counters = (segments.bytesWritten, segments.count)
            results.append(contentsOf: done)
            var isDone = true
            if let failure {
                switch job {
                case .checkpoint where failure.mayPass: results.append(.checkpointFailed("\(failure)"))
                case _ where failure.mayPass:
                    fullReason = "\(failure)"
                    isDone = false
                default:
                    // Nothing may follow: a checkpoint would miss what this job should have written.
                    closes = "\(failure)"
                    if failure.isMissing {
                        closes? +=
                            "; what came since the last checkpoint is in the journal, for the next start"
                    }
                    hasFailed = true
                    isDone = false
                }
            }
            // Each block that was written was a job.
            if isDone { for _ in 0..<max(done.count, 1) { removeHead() } }
            monitor.signal()
        }
        if let closes { closeLog(closes) }
    }

    /// Nothing more is done: what removed files hold would be held until the end.
    private func closeLog(_ reason: String) {
        _ = segments.removed.releaseAll()
        close(reason)
    }

    private func removeHead() {
        if case .write(_, _, let summary) = queue[head] { queuedBytes -= Int(summary.rawSize) }
        queue[head] = .drop(channel: 0, below: 0)
        head += 1
        if head >= 64, head * 2 >= queue.count {
            queue.removeFirst(head)
            head = 0
        }
    }

    /// Blocks that wait, in bytes of records, from which on lz4 is what keeps them waiting.
    private static let behindBytes = 16 << 20
    /// Bytes of records that one write takes. The slower the disk, the more blocks wait for the next write; while one is under
    /// way, so are the journal's syncs.
    private static let lotBytes = 1 << 20
    private var canWork: Bool {
        !hasFailed && (wantedFiles > 0 || wantsSpace || hasJob)
    }
    private var hasJob: Bool { !hasFailed && head < queue.count && fullReason == nil }
}
