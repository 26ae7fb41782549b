extension Log {
    /// Takes in what the log's threads did since, and says it once.
    public func poll() -> LogNews {
        answerLate()
        if disk != nil {
            takeCommitted()
            takeBackgroundResults()
            takeReads()
            sealAtRest()
            sendPending()
            news.checkpointWanted = wantsCheckpoint
        }
        defer { news = LogNews() }
        return news
    }

    /// A descriptor that is readable when batches that the loop gave to the disk have ended, for `poll()` to see; nil where it
    /// gives none (`LogConfiguration.writesOnLoop`). It is the log's: who watches it reads it empty, and does not close it.
    public var events: Int32? { disk?.committer.events }

    /// Bytes appended that are not durable yet, and bytes of messages beyond what may wait in memory for
    /// their segments. Above 32 MiB the engine should stop reading from publishers. What waits while the disk is full, or when
    /// the log is closed for writing, may wait for ever: it does not count, and publishers get errors.
    public var bytesInFlight: Int {
        if closedReason != nil { return 0 }
        let waits = unsafe hot.pointee.isFull ? 0 : 1
        return unsafe (hot.pointee.chunkUsed - JournalChunk.headerRoom) + (lateAnswers?.bytes ?? 0)
            + (disk.map {
                $0.bytesInFlight + waits * max(0, $0.unwrittenBytes - configuration.unwrittenLimit)
            } ?? 0)
    }

    /// Takes in what the committer did.
    private func takeCommitted() {
        guard let disk else { return }
        let committed = disk.committer.takeNews()
        disk.synced = max(disk.synced, committed.synced)
        // What was under way when another part of the log failed was taken back.
        for result in committed.results where closedReason == nil {
            disk.place = result.place
            disk.journalBytes = max(disk.journalBytes, disk.recoveredBytes + result.journalBytes)
            disk.synced = max(disk.synced, result.synced)
            counters.commitLatency.record(nanoseconds: result.latency)
            for chunk in result.chunks {
                disk.bytesInFlight -= chunk.recordBytes
                counters.records += UInt64(chunk.recordCount)
                becameDurable(chunk)
            }
        }
        if let reason = committed.closed {
            closeForWriting(reason)
        } else if let reason = committed.refused {
            takeBackRefused(reason)
        }
    }

    private func answerLate() {
        guard lateAnswers != nil else { return }
        while let chunk = lateAnswers?.nextChunk() { becameDurable(chunk) }
        if lateAnswers?.finishesReads() == true { news.readsFinished = true }
        if lateAnswers?.isPending == true { wake() }
    }
}

/// Memory storage that answers late, for tests of the engine: what becomes durable and which reads are
/// done is drawn from a seed at every poll.
struct LateAnswers {
    private var random: SeededGenerator
    var chunks: [JournalChunk] = []
    private var waitingReads = false
    private var mayRead = false

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    var bytes: Int { chunks.reduce(0) { $0 + $1.recordBytes } }
    var isPending: Bool { !chunks.isEmpty || waitingReads }

    /// The next chunk that becomes durable now, if any.
    mutating func nextChunk() -> JournalChunk? {
        guard !chunks.isEmpty, random.next() % 3 == 0 else { return nil }
        return chunks.removeFirst()
    }

    /// Whether a read has to wait for the next time reads finish.
    mutating func delaysRead() -> Bool {
        if mayRead {
            mayRead = false
            return false
        }
        if random.next() % 2 == 0 { return false }
        waitingReads = true
        return true
    }

    mutating func finishesReads() -> Bool {
        guard waitingReads, random.next() % 2 == 0 else { return false }
        waitingReads = false
        mayRead = true
        return true
    }
}
