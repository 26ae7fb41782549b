/// Takes chunks in order, writes them as frames, syncs, and says what is durable. While one batch
/// syncs, and until the loop has taken in its end, the next one fills: no timer.
///
/// It has one thread, or is stepped by hand. Where the disk can be told to write without a thread that waits for it, the loop
/// begins small batches itself (`FramesUnderWay`), and the thread has what is left: large batches, other journal files, what
/// could not be begun. When the disk is full it stops until the loop took back the refused chunks; when a write or a sync failed
/// it stops for good.
final class Committer: @unchecked Sendable {
    // Sendable: what the loop and the thread share is touched under `monitor`; `writer` belongs to the thread while
    // `isThreads`, to the loop otherwise; `lastSync` and `gathered` to the thread, `underWay` to the loop.

    struct News {
        var results: [CommitResult] = []
        var refused: String?
        var closed: String?
        /// The greatest position that a sync between batches covered.
        var synced: UInt64 = 0
    }

    private let monitor = Monitor()
    private var queue: [JournalChunk] = []
    private var results: [CommitResult] = []
    private var refused: String?
    private var closed: String?
    /// A write or a sync of the journal failed: its files are not touched any more.
    private var hasFailed = false
    private var syncedBetween: UInt64 = 0
    private var isStalled = false
    private var isWorking = false
    private var stops = false
    /// Whether the queue is the thread's, which has the loop's frames all behind it then.
    private var isThreads: Bool
    /// What comes next has to be written by the thread, once the loop's frames have ended.
    private var needsThread = false
    /// Refusals of the loop's writes since one has ended well, and the number of the journal file in which it tries no more.
    private var refusals = 0
    private var barredFile: UInt64?
    private static let mostRefusals = 8
    /// Bytes of records from which on the thread writes one batch after the other without asking the loop (decision 0037).
    private static let largeBatch = 64 << 10
    /// Bytes of records up to which chunks that wait are put together at once.
    static let fewBytes = 16 << 10
    private var syncedElsewhere: UInt64 = 0
    private var counters = (bytes: UInt64(0), syncs: UInt64(0), batches: UInt64(0))

    private let writer: JournalWriter
    private let underWay: FramesUnderWay?
    private let policy: SyncPolicy
    private let clock: LogClock
    private let wake: @Sendable () -> Void
    /// Called after a batch when another journal file should be made ready.
    private let wantsFiles: @Sendable (_ count: Int) -> Void
    /// Called when the disk is full.
    private let wantsSpace: @Sendable () -> Void
    private var lastSync: UInt64
    /// Where chunks are put together into the thread's frames.
    private let gathered = JournalChunk(capacity: JournalFrame.headerSize + Log.frameLimit)

    /// - Parameter underWay: how the loop writes; nil if all is the thread's.
    init(
        writer: JournalWriter, underWay: FramesUnderWay? = nil, policy: SyncPolicy, clock: LogClock,
        wake: @escaping @Sendable () -> Void,
        wantsFiles: @escaping @Sendable (_ count: Int) -> Void,
        wantsSpace: @escaping @Sendable () -> Void
    ) {
        self.writer = writer
        self.underWay = underWay
        isThreads = underWay == nil
        self.policy = policy
        self.clock = clock
        self.wake = wake
        self.wantsFiles = wantsFiles
        self.wantsSpace = wantsSpace
        lastSync = clock.now()
    }

    // MARK: For the loop

    /// Adds a chunk at the end. Few records are copied behind those that wait there, so that a disk that hangs is waited for by
    /// little more memory than records need.
    ///
    /// - Returns: whether they were, and the chunk is free for others.
    func submit(_ chunk: JournalChunk) -> Bool {
        let isFree = monitor.locked { () -> Bool in
            isStalled = false
            if isThreads { monitor.signal() }
            if let last = queue.last, last.recordBytes + chunk.recordBytes <= Self.fewBytes,
                last.isFollowed(by: chunk)
            {
                last.absorb(chunk)
                return true
            }
            queue.append(chunk)
            return false
        }
        beginFrames()
        return isFree
    }

    /// What happened since it was asked before.
    func takeNews() -> News {
        collectFrames()
        beginFrames()
        return monitor.locked {
            let news = News(results: results, refused: refused, closed: closed, synced: syncedBetween)
            results.removeAll(keepingCapacity: true)
            return news
        }
    }

    /// After `refused`: every chunk that is not durable. The committer goes on with what is submitted next.
    func takeRefused() -> [JournalChunk] {
        monitor.locked {
            defer {
                queue = []
                refused = nil
            }
            return queue
        }
    }

    /// Tries again what waits for space.
    func retry() {
        monitor.locked {
            isStalled = false
            monitor.signal()
        }
    }

    /// Closes the log for writing because another part of it failed.
    func close(reason: String) {
        monitor.locked {
            if closed == nil { closed = reason }
            // Who waits for the queue to be done waits no longer: it never will be.
            monitor.signal()
        }
        wake()
    }

    /// A sync of the whole file system covered everything up to `position`.
    func noteSynced(_ position: UInt64) {
        monitor.locked { syncedElsewhere = max(syncedElsewhere, position) }
    }

    /// Journal bytes written, syncs, batches.
    var statistics: (bytes: UInt64, syncs: UInt64, batches: UInt64) { monitor.locked { counters } }

    /// Waits until nothing is left that can be done.
    func waitUntilIdle() {
        repeat {
            monitor.locked { while canWork || isWorking { monitor.wait() } }
        } while stepFrames()
    }

    // MARK: What the loop writes itself

    /// Whether the loop may write at all.
    var isOnLoop: Bool { underWay != nil }

    /// Readable when frames of the loop have ended: then there may be news. Nil where it writes none.
    var events: Int32? { underWay?.events }

    /// Waits for a frame of the loop, or begins one; false when there was nothing to do.
    func stepFrames() -> Bool {
        guard let underWay else { return false }
        if underWay.isEmpty {
            beginFrames()
            return !underWay.isEmpty || monitor.locked { canWork || isWorking }
        }
        underWay.collect(waits: true)
        collectFrames()
        return true
    }

    /// Begins what can be.
    private func beginFrames() {
        guard let underWay else { return }
        while let chunks = takeForLoop(underWay) {
            guard let refusal = underWay.begin(chunks, by: writer) else { continue }
            monitor.locked {
                queue.insert(contentsOf: chunks, at: 0)
                leaveToThread(refusal)
            }
        }
    }

    /// What was refused is the thread's; where the loop's way does not work, so is the rest of the file.
    private func leaveToThread(_ refusal: WriteRefusal) {
        if !needsThread { refusals += 1 }
        needsThread = true
        if refusal == .unsupported || refusals >= Self.mostRefusals { barredFile = writer.place.file }
    }

    /// The next batch that the loop may begin; hands the queue to the thread where that is its turn.
    private func takeForLoop(_ underWay: FramesUnderWay) -> [JournalChunk]? {
        monitor.locked {
            guard !isThreads, isReady, !underWay.isFull else { return nil }
            if let oldest = underWay.submittedAt, clock.now() &- oldest > FramesUnderWay.patience {
                needsThread = true
            }
            let room = min(FramesUnderWay.limit - underWay.bytes, writer.roomToBegin)
            if needsThread || queueExceeds(room) {
                if underWay.isEmpty {
                    isThreads = true
                    needsThread = false
                    monitor.signal()
                }
                return nil
            }
            guard underWay.admits(queue.reduce(0) { $0 + $1.recordCount }) else { return nil }
            writer.noteSynced(syncedElsewhere)
            return takeBatch(limit: room)
        }
    }

    /// Takes in which frames have ended, in order.
    private func collectFrames() {
        guard let underWay, !underWay.isEmpty else { return }
        underWay.collect()
        while let (frame, outcome) = underWay.firstEnded {
            if monitor.locked({ hasFailed }) {
                _ = underWay.removeFirst()
                continue
            }
            switch outcome {
            case .durable:
                _ = underWay.removeFirst()
                refusals = 0
                writer.noteDurable(frame.after.position)
                monitor.locked { note(frame.chunks, frame.after) }
                wantsFiles(writer.isHalfUsed ? 2 : 1)
            case .failed(let error):
                fail(.failed("\(error)"))
            case .refused(let refusal):
                monitor.locked { leaveToThread(refusal) }
                // What follows it in the journal is written again behind it, over what is on its way now.
                guard underWay.haveAllEnded else { return }
                if let error = underWay.failure {
                    fail(.failed("\(error)"))
                    continue
                }
                var chunks: [JournalChunk] = []
                while !underWay.isEmpty { chunks += underWay.removeFirst().chunks }
                writer.takeBack(to: frame.before)
                monitor.locked { queue.insert(contentsOf: chunks, at: 0) }
            }
        }
    }

    // MARK: For the thread

    /// Works until `stop`.
    func run() {
        while true {
            let goesOn = monitor.locked { () -> Bool in
                while !canWork && !stops {
                    if let pause = unsyncedPause(hasFailed: hasFailed) {
                        if pause == 0 { return true }
                        monitor.wait(nanoseconds: pause)
                    } else {
                        monitor.wait()
                    }
                }
                return !stops
            }
            guard goesOn else { return }
            if !step() { syncIfDue() }
        }
    }

    /// Lets `run` return once nothing can be done.
    func stop() {
        monitor.locked {
            stops = true
            monitor.signal()
        }
    }

    /// Syncs what an interval left unsynced, and lets go of the files.
    func finish() {
        underWay?.close()
        if case .interval = policy, !monitor.locked({ hasFailed }) {
            do throws(JournalFailure) { try writer.sync() } catch { fail(error) }
        }
        writer.close()
    }

    /// Lets go of the files and writes nothing.
    func abandon() {
        underWay?.close()
        writer.close()
    }

    /// Commits one batch; false when there was nothing to do.
    func step() -> Bool {
        let chunks = monitor.locked { () -> [JournalChunk] in
            guard canWork else { return [] }
            isWorking = true
            writer.noteSynced(syncedElsewhere)
            return takeBatch(limit: Log.frameLimit)
        }
        guard let first = chunks.first else { return false }
        do throws(JournalFailure) {
            if chunks.count > 1 { gathered.gather(chunks) }
            try writer.write(chunks.count > 1 ? gathered : first)
            if policy == .always {
                try writer.sync()
                lastSync = clock.now()
            }
        } catch {
            fail(error, chunks)
            wake()
            return true
        }
        let isHalfUsed = writer.isHalfUsed
        monitor.locked {
            note(chunks, writer.place)
            isWorking = false
            // The loop goes on. It has to take in this batch anyway, and has more for the next one when it has done that: the
            // fewer syncs, the more of the processors is left.
            if underWay != nil, barredFile != writer.place.file, !queueExceeds(Self.largeBatch) {
                isThreads = false
            }
            monitor.signal()
        }
        wantsFiles(isHalfUsed ? 2 : 1)
        wake()
        if policy != .always { syncIfDue() }
        return true
    }

    /// With an interval: syncs when it has passed.
    func syncIfDue() {
        guard unsyncedPause(hasFailed: monitor.locked { hasFailed }) == 0 else { return }
        do throws(JournalFailure) {
            try writer.sync()
            lastSync = clock.now()
            monitor.locked {
                counters.syncs = writer.syncs
                syncedBetween = writer.synced
            }
        } catch {
            fail(error)
        }
        wake()
    }

    /// Nanoseconds until the next sync of an interval is due; nil when none is.
    private func unsyncedPause(hasFailed: Bool) -> UInt64? {
        guard case .interval(let interval) = policy, writer.synced < writer.place.position, !hasFailed else {
            return nil
        }
        let passed = clock.now() &- lastSync
        return passed >= interval ? 0 : interval - passed
    }

    /// Whether the thread has something to do.
    private var canWork: Bool { isThreads && isReady }
    private var isReady: Bool { !queue.isEmpty && refused == nil && closed == nil && !isStalled }

    /// Whether more bytes of records wait than these.
    private func queueExceeds(_ bytes: Int) -> Bool {
        var sum = 0
        return queue.contains { chunk in
            sum += chunk.recordBytes
            return sum > bytes
        }
    }

    /// The chunks that make the next frame: the first, and what follows it up to `limit` bytes of records.
    private func takeBatch(limit: Int) -> [JournalChunk] {
        var bytes = queue[0].recordBytes
        var count = 1
        while count < queue.count, queue[count - 1].isFollowed(by: queue[count]),
            bytes + queue[count].recordBytes <= limit
        {
            bytes += queue[count].recordBytes
            count += 1
        }
        defer { queue.removeFirst(count) }
        return Array(queue.prefix(count))
    }

    /// Keeps the news that a frame is written, and synced where each is.
    private func note(_ chunks: [JournalChunk], _ place: JournalPlace) {
        results.append(
            CommitResult(
                chunks: chunks, place: place, synced: writer.synced,
                journalBytes: writer.bytesWritten, latency: clock.now() &- chunks[0].submittedAt))
        counters = (writer.bytesWritten, writer.syncs, counters.batches + 1)
    }

    private func fail(_ failure: JournalFailure, _ chunks: [JournalChunk] = []) {
        if case .noSpace = failure { wantsSpace() }
        monitor.locked {
            queue.insert(contentsOf: chunks, at: 0)
            switch failure {
            case .noSpace(let reason):
                // Control records wait for space; messages are given back.
                if queue.contains(where: \.hasMessages) { refused = reason } else { isStalled = true }
            case .failed(let reason):
                hasFailed = true
                if closed == nil { closed = reason }
            }
            isWorking = false
            monitor.signal()
        }
    }
}
