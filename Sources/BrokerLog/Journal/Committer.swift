/// What became durable by one step of the committer.
struct CommitResult {
    /// Its chunk, whose touches say which channels.
    var chunk: JournalChunk
    /// Emptied chunks that were merged into it.
    var emptied: [JournalChunk]
    /// Behind its frame.
    var place: JournalPlace
    var synced: UInt64
    /// Bytes that the journal was given since it was opened.
    var journalBytes: UInt64
    /// Nanoseconds from `submit` to durable.
    var latency: UInt64
}

/// Takes chunks in order, writes them as frames, syncs, and says what is durable. While one batch
/// syncs the next one fills: no timer.
///
/// It has one thread, or is stepped by hand. When the disk is full it stops until the loop took back
/// the refused chunks; when a write or a sync failed it stops for good.
final class Committer: @unchecked Sendable {
    // Sendable: what the loop and the thread share is touched under `monitor`; `writer` and `lastSync`
    // belong to whoever steps, which is one thread.

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
    private var syncedElsewhere: UInt64 = 0
    private var counters = (bytes: UInt64(0), syncs: UInt64(0), batches: UInt64(0))

    private let writer: JournalWriter
    private let policy: SyncPolicy
    private let clock: LogClock
    private let wake: @Sendable () -> Void
    /// Called after a batch when another journal file should be made ready.
    private let wantsFiles: @Sendable (_ count: Int) -> Void
    private var lastSync: UInt64

    init(
        writer: JournalWriter, policy: SyncPolicy, clock: LogClock, wake: @escaping @Sendable () -> Void,
        wantsFiles: @escaping @Sendable (_ count: Int) -> Void
    ) {
        self.writer = writer
        self.policy = policy
        self.clock = clock
        self.wake = wake
        self.wantsFiles = wantsFiles
        lastSync = clock.now()
    }

    // MARK: For the loop

    /// Adds a chunk at the end.
    func submit(_ chunk: JournalChunk) {
        monitor.locked {
            queue.append(chunk)
            isStalled = false
            monitor.signal()
        }
    }

    /// What happened since it was asked before.
    func takeNews() -> News {
        monitor.locked {
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
        monitor.locked { while canWork || isWorking { monitor.wait() } }
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
        if case .interval = policy, !monitor.locked({ hasFailed }) {
            do throws(JournalFailure) { try writer.sync() } catch { fail(error, nil) }
        }
        writer.close()
    }

    /// Lets go of the files and writes nothing.
    func abandon() { writer.close() }

    /// Commits one batch; false when there was nothing to do.
    func step() -> Bool {
        var emptied: [JournalChunk] = []
        let taken = monitor.locked { () -> JournalChunk? in
            guard canWork else { return nil }
            isWorking = true
            let first = queue.removeFirst()
            while let next = queue.first, next.firstPosition == first.lastPosition + 1,
                first.recordBytes + next.recordBytes <= Log.frameLimit
            {
                first.absorb(next)
                emptied.append(queue.removeFirst())
            }
            writer.noteSynced(syncedElsewhere)
            return first
        }
        guard let chunk = taken else { return false }
        do throws(JournalFailure) {
            try writer.write(chunk)
            if policy == .always {
                try writer.sync()
                lastSync = clock.now()
            }
        } catch {
            fail(error, chunk)
            wake()
            return true
        }
        let now = clock.now()
        let result = CommitResult(
            chunk: chunk, emptied: emptied, place: writer.place, synced: writer.synced,
            journalBytes: writer.bytesWritten, latency: now &- chunk.submittedAt)
        monitor.locked {
            results.append(result)
            counters = (writer.bytesWritten, writer.syncs, counters.batches + 1)
            isWorking = false
            monitor.signal()
        }
        wantsFiles(writer.isHalfUsed ? 2 : 1)
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
            fail(error, nil)
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

    private var canWork: Bool { !queue.isEmpty && refused == nil && closed == nil && !isStalled }

    private func fail(_ failure: JournalFailure, _ chunk: JournalChunk?) {
        monitor.locked {
            if let chunk { queue.insert(chunk, at: 0) }
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
