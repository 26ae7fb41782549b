/// A channel of one store: its number in the journaled catalogue. Numbers start at 1 and are never
/// given twice in a store, so a stale id finds nothing rather than another channel.
public struct ChannelID: Hashable, Sendable, Comparable {
    /// The number in the catalogue.
    public let rawValue: UInt32

    /// Wraps a number that came from a catalogue.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Orders channels by age.
    public static func < (left: ChannelID, right: ChannelID) -> Bool { left.rawValue < right.rawValue }
}

/// The place of a record in the one order of the whole journal: 1 for the first record of a store.
/// Positions rise by one per record; numbers that refused records would have had are left out.
public struct LogPosition: Hashable, Comparable, Sendable {
    /// The number; 0 is before the first record.
    public let rawValue: UInt64

    /// Wraps a number that came from the log.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Before every record.
    public static let start = LogPosition(rawValue: 0)

    /// Orders records as they stand in the journal.
    public static func < (left: LogPosition, right: LogPosition) -> Bool { left.rawValue < right.rawValue }
}

/// What a channel keeps. The oldest messages go first; the newest is always kept, whatever its
/// size. 0 means unlimited.
public struct ChannelLimits: Equatable, Sendable {
    /// Most messages.
    public var maxMessages: Int
    /// Most bytes, counted as the store kind counts them (see `ChannelInfo.bytes`).
    public var maxBytes: Int
    /// Greatest age in nanoseconds.
    public var maxAge: UInt64

    /// Limits; each 0 by default, which means unlimited.
    public init(maxMessages: Int = 0, maxBytes: Int = 0, maxAge: UInt64 = 0) {
        self.maxMessages = maxMessages
        self.maxBytes = maxBytes
        self.maxAge = maxAge
    }
}

/// What a channel holds: durable messages only.
public struct ChannelInfo: Equatable, Sendable {
    /// Sequence of the oldest message kept; `lastSequence + 1` when there is none.
    public var firstSequence: UInt64
    /// Sequence of the newest message ever made durable, kept or not; 0 before the first.
    public var lastSequence: UInt64
    /// Messages kept.
    public var messages: Int
    /// Bytes kept, as NATS Streaming counts them: the length of the encoded MsgProto, and 40 more
    /// per message with file storage (8 record header, 32 index entry).
    public var bytes: Int
    /// Time of the newest message in nanoseconds since 1970; 0 before the first.
    public var lastTimestamp: Int64
    /// Ranges of sequences that were lost to damage, oldest first.
    public var damage: [ClosedRange<UInt64>]
}

/// What `Log.append` gave a message.
public struct Appended: Equatable, Sendable {
    /// Its sequence in the channel, one above the message before it.
    public let sequence: UInt64
    /// Its time in nanoseconds since 1970: the wall clock, or the time of the message before it
    /// where the clock went back.
    public let timestamp: Int64
    /// Durable, and so to be acknowledged, when `Log.durable` has reached it.
    public let position: LogPosition
}
