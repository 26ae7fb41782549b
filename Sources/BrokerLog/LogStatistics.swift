/// Counters of a log for monitoring, taken at one moment.
public struct LogStatistics: Equatable, Sendable {
    /// `fdatasync` calls of the journal that returned.
    public var syncs: UInt64 = 0
    /// Batches written to the journal.
    public var batches: UInt64 = 0
    /// Records written to the journal, messages among them.
    public var records: UInt64 = 0
    /// Bytes written to the journal.
    public var journalBytesWritten: UInt64 = 0
    /// Bytes that the journal's files take.
    public var journalFileBytes: UInt64 = 0
    /// Time from `submit` to durable, by batch.
    public var commitLatency = LatencyHistogram()
    /// Segment files.
    public var segments: Int = 0
    /// Bytes written to segments, stored size.
    public var segmentBytesWritten: UInt64 = 0
    /// Bytes of blocks in memory that are on disk too.
    public var cachedBytes: Int = 0
    /// Bytes of blocks in memory that are not in a segment yet.
    public var unwrittenBytes: Int = 0
    /// Bytes of memory of the blocks that channels are filling.
    public var openBytes: Int = 0
    /// Checkpoints made since the log was opened.
    public var checkpoints: UInt64 = 0
    /// Messages that were refused because the disk was full.
    public var refusedMessages: UInt64 = 0
    /// Damage found, at opening or since, until it is repaired.
    public var damage: [Damage] = []
    /// Why the log is closed for writing; nil while it is open.
    public var closedReason: String?

    /// All zero.
    public init() {}
}

/// A histogram of durations by powers of two.
public struct LatencyHistogram: Equatable, Sendable {
    /// `counts[i]` durations were below `2^i` microseconds and not below half of that; the last
    /// bucket takes all longer ones.
    public private(set) var counts = [UInt64](repeating: 0, count: 24)
    /// Sum of all durations in nanoseconds.
    public private(set) var totalNanoseconds: UInt64 = 0
    /// Number of durations.
    public private(set) var count: UInt64 = 0

    /// An empty histogram.
    public init() {}

    /// Counts one duration.
    public mutating func record(nanoseconds: UInt64) {
        let microseconds = nanoseconds / 1000
        let bucket = min(counts.count - 1, UInt64.bitWidth - microseconds.leadingZeroBitCount)
        counts[bucket] += 1
        totalNanoseconds &+= nanoseconds
        count += 1
    }
}

/// Bytes on disk that are not what was written there. They are set aside: readers go on behind them.
public struct Damage: Equatable, Sendable, CustomStringConvertible {
    /// Path of the file below the data directory.
    public var file: String
    /// Offset of the damaged block, frame or header in bytes.
    public var offset: UInt64
    /// What is wrong, a sentence.
    public var reason: String
    /// The messages that are lost by it, as far as they can be told.
    public var lost: [LostRange]

    /// A report of one damaged place.
    public init(file: String, offset: UInt64, reason: String, lost: [LostRange] = []) {
        self.file = file
        self.offset = offset
        self.reason = reason
        self.lost = lost
    }

    /// One line for a log or a terminal.
    public var description: String {
        let ranges = lost.map { "\($0)" }.joined(separator: ", ")
        return "\(file) at offset \(offset): \(reason)\(ranges.isEmpty ? "" : "; lost: \(ranges)")"
    }
}

/// Messages of one channel that are lost.
public struct LostRange: Hashable, Sendable, CustomStringConvertible {
    /// Number of the channel.
    public var channel: ChannelID
    /// Name of the channel; empty where it is not known.
    public var name: [UInt8]
    /// First and last sequence lost.
    public var sequences: ClosedRange<UInt64>

    /// A range of lost messages.
    public init(channel: ChannelID, name: [UInt8], sequences: ClosedRange<UInt64>) {
        self.channel = channel
        self.name = name
        self.sequences = sequences
    }

    /// As in `channel "orders" sequences 5-9`.
    public var description: String {
        "channel \"\(String(decoding: name, as: UTF8.self))\" (\(channel.rawValue)) sequences "
            + "\(sequences.lowerBound)-\(sequences.upperBound)"
    }
}

/// What opening a store found.
public struct LogRecovery: Equatable, Sendable {
    /// The store did not exist before.
    public var isNew = false
    /// Number of the checkpoint that recovery began from; nil when there was none.
    public var checkpoint: UInt64?
    /// Journal records taken in after it.
    public var records: UInt64 = 0
    /// The unsynced tail that was cut: file, offset and bytes looked at. Nothing of it was acknowledged.
    public var cutTail: String?
    /// Damage found, earlier damage included.
    public var damage: [Damage] = []
    /// Time it took in nanoseconds.
    public var nanoseconds: UInt64 = 0

    /// Nothing found.
    public init() {}
}
