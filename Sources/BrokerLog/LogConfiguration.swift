/// When a batch of the journal counts as durable.
public enum SyncPolicy: Equatable, Sendable {
    /// After the `fdatasync` that covers it returned.
    case always
    /// After it was written; a sync follows at most this many nanoseconds later. A power cut may
    /// take what was acknowledged in between.
    case interval(nanoseconds: UInt64)
    /// After it was written; only checkpoints sync, and the journal when it goes on to its next file. A power cut may take what
    /// was acknowledged since.
    case never
}

/// Where a log keeps its messages.
public enum LogStorage: Equatable, Sendable {
    /// In this directory, which is created if absent.
    case file(directory: String)
    /// In memory: what was acknowledged ends with the process.
    case memory
}

/// Who runs the log's slow work.
public enum LogExecution: Equatable, Sendable {
    /// Threads of the log: committer, background, reader.
    case threads
    /// Nobody: the owner calls `Log.stepCommit`, `stepBackground` and `stepReader`. For simulations
    /// and for tools that read a store offline.
    case manual
}

/// How a log is opened.
public struct LogConfiguration: Sendable {
    /// Where messages are kept.
    public var storage: LogStorage
    /// When a batch counts as durable.
    public var sync: SyncPolicy = .always
    /// Bound of the journal's files taken together, in bytes, at least 1 MiB. A checkpoint is asked for
    /// whenever a quarter of it was written.
    public var journalSizeBytes: Int = 512 << 20
    /// Most bytes of messages kept in memory, with file storage: blocks that are on disk already, blocks on
    /// their way there, and the blocks that channels are filling, which take a few kilobytes each at least.
    public var cacheBytes: Int = 128 << 20
    /// Bytes at which a channel's segment file is sealed and the next one begun.
    public var segmentBytes: Int = 64 << 20
    /// The cluster that the store belongs to; an existing store of another cluster is refused.
    public var clusterID: String = ""
    /// Who runs the slow work.
    public var execution: LogExecution = .threads
    /// Whether the loop that owns the log gives small batches to the disk itself, where each batch is synced and the file system
    /// can: it calls `poll()` then whenever `Log.events` is readable, too.
    public var writesOnLoop = false
    /// Identity of a store that is created by this opening; drawn at random when nil.
    public var newStoreID: UInt64?
    /// Memory storage only, for tests: with a seed, durability and reads are answered late, after a
    /// number of calls of `poll()` drawn from the seed.
    public var lateAnswerSeed: UInt64?

    /// Whether a name can be a cluster id, which becomes a token, or several, of every subject of the protocol.
    public static func isClusterID(_ name: String) -> Bool {
        !name.isEmpty && !name.utf8.contains { $0 <= 0x20 || "*>".utf8.contains($0) }
            && !name.hasPrefix(".") && !name.hasSuffix(".") && !name.contains("..")
    }

    /// Bytes of sealed blocks that may wait for their segments before publishers are held back.
    var unwrittenLimit: Int { min(48 << 20, max(4 << 20, cacheBytes / 2)) }

    /// Bytes of open blocks above which those of channels at rest are sealed ahead of their time.
    var openLimit: Int { cacheBytes / 2 }

    /// Dead bytes at the front of a segment that are worth doing something about.
    var leastDeadBytes: UInt64 { UInt64(max(1, min(256 << 10, segmentBytes / 8))) }

    /// A configuration with the defaults above.
    public init(storage: LogStorage) { self.storage = storage }
}

/// The monotonic clock of a log.
public struct LogClock: Sendable {
    /// Nanoseconds since some fixed moment; never goes back.
    public let now: @Sendable () -> UInt64

    /// A clock read by `now`.
    public init(now: @escaping @Sendable () -> UInt64) { self.now = now }
}
