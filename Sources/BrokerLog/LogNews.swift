/// What `Log.poll()` found since it was called before.
public struct LogNews: Equatable, Sendable {
    /// `Log.durable` rose.
    public var durableAdvanced = false
    /// Messages above `Log.durable` were refused and took no sequence; the reason, a sentence. State
    /// records are not among them. `append` works again.
    public var refused: String?
    /// The log closed for writing; the reason, a sentence. Every message above `Log.durable` failed.
    public var closed: String?
    /// A read that answered `.loading` can be asked again.
    public var readsFinished = false
    /// Enough was written: the engine should call `Log.checkpoint(state:)`.
    public var checkpointWanted = false

    /// Nothing happened.
    public init() {}
}

/// The answer of `Log.read`.
public enum ReadOutcome {
    /// Messages from the sequence that was asked for; at least one.
    case messages(MessageBatch)
    /// The block is being read; ask again when `poll()` says `readsFinished`.
    case loading
    /// That message was trimmed or lost; the next one kept, or `lastSequence + 1`.
    case missing(next: UInt64)
    /// Nothing is durable at or above that sequence.
    case end
}

/// The answer of `Log.purge`.
public enum PurgeOutcome: Equatable, Sendable {
    /// So many messages are gone; they and those that were gone before, for good once the log is durable up to the
    /// position.
    case purged(messages: Int, LogPosition)
    /// Nothing was done: a block is being read; ask again when `poll()` says `readsFinished`.
    case loading
}

/// The answer of `Log.sequence(_:atOrAfter:)`.
public enum SequenceLookup: Equatable, Sendable {
    /// The oldest message whose time is not before the one asked for.
    case found(UInt64)
    /// A block is being read; ask again when `poll()` says `readsFinished`.
    case loading
    /// Every message is older.
    case end
}
