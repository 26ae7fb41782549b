/// A durable log of many channels: one journal for all, segments per channel, or memory alone.
///
///     let log = try Log.open(configuration, fileSystem: RealFileSystem(), clock: .system, wake: { … })
///     let orders = try log.createChannel(named: Array("orders".utf8), limits: ChannelLimits())
///     let appended = try log.append(to: orders, wallClock: now, reply: none, headers: none, payload: bytes)
///     log.submit()                            // end of the tick
///     // later, after `wake` was called and `poll()` said `durableAdvanced`:
///     log.durable >= appended.position        // on disk: acknowledge
///
/// A log is owned by one thread of control, the loop that opened it: every method is called there. Its
/// slow work is done by threads of its own (`LogExecution.threads`), which call `wake` when `poll()` has
/// news, or by its owner through `stepCommit()`, `stepBackground()` and `stepReader()` (`.manual`).
/// No method but `open` and `close` waits for a disk; with `LogConfiguration.writesOnLoop` `submit` and `poll` begin writes.
///
/// **What the caller may rely on.** A message is durable when `durable` has reached its position, not
/// before. What was durable is there after any crash, unaltered, once, in sequence. What was not may be
/// there or not. Messages that are refused (`LogNews.refused`) or fail (`LogNews.closed`) take no
/// sequence: the next message of the channel gets the number. `read`, `info` and limits know durable
/// messages only.
///
/// Where this differs from the first sketch of the interface: `poll()` is also right after `submit()`
/// with memory storage (it calls `wake` too); `channel(named:)` finds ids; `deleteChannel` frees the name
/// at once.
@safe
public final class Log {
    let configuration: LogConfiguration
    let clock: LogClock
    let wake: @Sendable () -> Void
    let report: (LogEvent) -> Void
    /// What every append touches, in memory of its own; allocated for the life of the log.
    let hot: UnsafeMutablePointer<LogHot>
    /// Channel by id.
    let states = ChannelTable()
    let openBlocks = OpenBlocks()
    var names: [[UInt8]: ChannelID] = [:]
    /// The chunk that is being filled, and emptied ones for reuse.
    var chunk = JournalChunk()
    var spareChunks: [JournalChunk] = []
    /// Capacity of `spareChunks`, at most `spareLimit`.
    var spareBytes = 0
    /// Channels with a record in `chunk`.
    var touched: [UInt32] = []

    /// Everything at or below it is on disk (file storage, `.always`: the sync that covers it has ended).
    public internal(set) var durable = LogPosition.start
    /// Position of the last record appended that is not a message.
    var lastControl: UInt64 = 0
    var news = LogNews()
    /// Why the log is closed for writing; nil while it is open.
    public internal(set) var closedReason: String?
    var lateAnswers: LateAnswers?
    var disk: Disk?
    /// While the log is being opened: reads at once, and the blocks sealed.
    var recoveryReader: BlockReader?
    /// A block that recovery has to read could not be opened just now.
    var recoveryLacks = false
    var sealedInRecovery: [(ChannelID, BlockEntry)] = []
    /// Messages that gaps in the recovered journal show to be lost.
    var lostByGap: [LostRange] = []
    /// Channels whose creation damage took from the journal.
    var namelessChannels: [Damage] = []
    /// Channels of which only a damaged record tells: one that is whole takes their place.
    var guessedChannels: Set<ChannelID> = []
    /// What opening the store found.
    public internal(set) var recovery = LogRecovery()
    var counters = LogStatistics()
    var recoveredSnapshot: [UInt8]?
    var recoveredRecords: [[UInt8]] = []

    init(
        configuration: LogConfiguration, clock: LogClock, wake: @escaping @Sendable () -> Void,
        report: @escaping (LogEvent) -> Void
    ) {
        self.configuration = configuration
        self.clock = clock
        self.wake = wake
        self.report = report
        unsafe hot = .allocate(capacity: 1)
        unsafe hot.initialize(to: LogHot(chunkBase: chunk.base, chunkCapacity: chunk.capacity))
        lateAnswers = configuration.lateAnswerSeed.map(LateAnswers.init(seed:))
    }

    deinit {
        unsafe hot.deallocate()
    }

    /// Bytes that NATS Streaming's store of this kind counts per message beside the MsgProto.
    var overhead: Int { configuration.storage == .memory ? 0 : 40 }

    /// What the engine gave its newest durable checkpoint, and the state records appended after it, in order.
    public var recoveredState: (snapshot: [UInt8]?, records: [[UInt8]]) {
        (recoveredSnapshot, recoveredRecords)
    }

    /// Lets go of the recovered state once the engine took it in.
    public func releaseRecoveredState() {
        recoveredSnapshot = nil
        recoveredRecords = []
    }

    /// Counters for monitoring.
    public var statistics: LogStatistics {
        var counters = counters
        if let disk {
            let committed = disk.committer.statistics
            counters.journalBytesWritten = committed.bytes
            counters.syncs = committed.syncs
            counters.batches = committed.batches
            counters.journalFileBytes = UInt64(disk.files.bytes)
            (counters.segmentBytesWritten, counters.segments) = disk.background.statistics
            counters.cachedBytes = disk.cachedBytes
            counters.unwrittenBytes = disk.unwrittenBytes
            counters.openBytes = openBlocks.bytes
        }
        return counters
    }

    /// Whether messages are written to disk.
    var isJournaled: Bool { configuration.storage != .memory }
}

/// The part of the log that every append touches. Owned by the log's loop.
@unsafe
struct LogHot {
    var nextPosition: UInt64 = 1
    /// Serial number of the chunk that is being filled.
    var serial: UInt64 = 1
    var chunkBase: UnsafeMutableRawPointer
    var chunkUsed = JournalChunk.headerRoom
    var chunkCapacity: Int
    var chunkRecords = 0
    var chunkHasMessages = false
    var isClosed = false
    /// The disk is full, and as much waits for it as may: messages are refused.
    var isFull = false
    /// `ChannelTable.directory`, and its count.
    var pages: UnsafeMutablePointer<UnsafeMutablePointer<ChannelTable.Slot>?>?
    var pageCount = 0
}

/// Something that an operator should know, said when it happens.
public enum LogEvent: Equatable, Sendable {
    /// Worth a line at level info.
    case notice(String)
    /// Worth a line at level warning.
    case warning(String)
    /// Worth a line at level error: damage, or the log closed for writing.
    case error(String)
}
