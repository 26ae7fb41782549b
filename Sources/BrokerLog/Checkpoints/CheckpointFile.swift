/// A channel as a checkpoint knows it.
struct CheckpointChannel: Equatable {
    var id: UInt32
    var name: [UInt8]
    var limits: ChannelLimits
    var firstSequence: UInt64
    /// Last sequence at the checkpoint's position, and its time.
    var lastSequence: UInt64
    var lastTimestamp: Int64
    var messages: UInt64
    var bytes: UInt64
    var frontTrimmedBytes: UInt64
    var damage: [ClosedRange<UInt64>]
    var segments: SegmentStore.Channel
    /// The channel's records behind its last full block, in the checkpoint's tails.
    var tail: SegmentFile.Block?
}

/// A checkpoint: everything that the journal said up to a position. `checkpoints/NUMBER.checkpoint`,
/// NUMBER being 16 hexadecimal digits that rise, beside `NUMBER.tails`, the blocks (`BlockHeader`, back
/// to back) of what does not fill a block. Little endian:
///
///      0  u32  magic "DJC1"
///      4  u32  version 1
///      8  u64  length of the file
///     16  u64  store id
///     24  u64  number
///     32  u64  position: every record up to it is covered
///     40       where recovery begins in the journal: u64 file, u64 offset, u64 position and u32 checksum
///              of the frame before
///     68  u32  next channel id
///     72  u32  number of channels, then for each: u32 id; counted name; limits (3 x u64); u64 first, u64
///              last sequence; i64 last time; u64 messages, u64 bytes, u64 trimmed bytes of the front
///              block; u32 count of damage, each u64 first, u64 last; u32 count of sealed segments, each
///              u64 first, u64 last, u64 size, u64 messages, u64 bytes; u8 1 and the active segment, or
///              u8 0: u64 first, u64 size, u32 count of blocks, blocks as in a segment's footer; u8 1 and
///              the tail as a block of a footer, or u8 0
///      +       u32 number of damages, each: counted file, u64 offset, counted reason, u32 count of
///              ranges, each u32 channel, counted name, u64 first, u64 last
///      +       u64 length of the engine's snapshot, snapshot
///      +  u32  CRC32C of all before it
///
/// (Counted: u32 length and that many bytes.) It is written under another name, synced, renamed, and its
/// directory synced, before anything it replaces is freed.
struct CheckpointFile: Equatable {
    static let magic: UInt32 = 0x3143_4A44
    static let version: UInt32 = 1

    var storeID: UInt64
    var number: UInt64
    var position: UInt64
    var place: JournalPlace
    var nextChannelID: UInt32
    var channels: [CheckpointChannel]
    var damage: [Damage]
    var snapshot: [UInt8]

    static func name(_ number: UInt64, _ suffix: String) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits + suffix
    }

    /// Number of a file name, nil if it is none of ours.
    static func number(_ name: String, _ suffix: String) -> UInt64? {
        guard name.hasSuffix(suffix), let number = UInt64(name.dropLast(suffix.count), radix: 16),
            number < Record.numberLimit, Self.name(number, suffix) == name
        else { return nil }
        return number
    }

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendInteger(Self.magic)
        bytes.appendInteger(Self.version)
        bytes.appendInteger(UInt64(0))
        bytes.appendInteger(storeID)
        bytes.appendInteger(number)
        bytes.appendInteger(position)
        bytes.appendInteger(place.file)
        bytes.appendInteger(place.offset)
        bytes.appendInteger(place.position)
        bytes.appendInteger(place.checksum)
        bytes.appendInteger(nextChannelID)
        bytes.appendInteger(UInt32(channels.count))
        for channel in channels { channel.append(to: &bytes) }
        bytes.appendInteger(UInt32(damage.count))
        for damage in damage { damage.append(to: &bytes) }
        bytes.appendInteger(UInt64(snapshot.count))
        bytes.append(contentsOf: snapshot)
        let length = UInt64(bytes.count + 4)
        for index in 0..<8 { bytes[8 + index] = UInt8(truncatingIfNeeded: length >> (8 * UInt64(index))) }
        bytes.appendInteger(checksum(bytes))
        return bytes
    }

    init(
        storeID: UInt64, number: UInt64, position: UInt64, place: JournalPlace, nextChannelID: UInt32,
        channels: [CheckpointChannel], damage: [Damage], snapshot: [UInt8]
    ) {
        self.storeID = storeID
        self.number = number
        self.position = position
        self.place = place
        self.nextChannelID = nextChannelID
        self.channels = channels
        self.damage = damage
        self.snapshot = snapshot
    }

    /// Reads a checkpoint; nil when anything about it is wrong. A checksum that is right says that nothing happened to
    /// the bytes, not who wrote them: numbers are held to what they can be, and memory to the bytes that are there.
    init?(_ bytes: [UInt8], number: UInt64, storeID: UInt64) {
        guard bytes.count >= 76 else { return nil }
        var end = ByteReader(Array(bytes.suffix(4)))
        guard end.integer(UInt32.self) == checksum(Array(bytes.dropLast(4))) else { return nil }
        var reader = ByteReader(bytes)
        guard reader.integer(UInt32.self) == Self.magic, reader.integer(UInt32.self) == Self.version,
            reader.integer(UInt64.self) == UInt64(bytes.count), reader.integer(UInt64.self) == storeID,
            reader.integer(UInt64.self) == number, let position = reader.integer(UInt64.self),
            let file = reader.integer(UInt64.self), let offset = reader.integer(UInt64.self),
            let before = reader.integer(UInt64.self), let sum = reader.integer(UInt32.self),
            position < Record.numberLimit, file < Record.numberLimit, offset < Record.offsetLimit,
            before <= position, let nextChannelID = reader.integer(UInt32.self),
            let count = reader.integer(UInt32.self)
        else { return nil }
        self.storeID = storeID
        self.number = number
        self.position = position
        self.nextChannelID = nextChannelID
        place = JournalPlace(file: file, offset: offset, position: before, checksum: sum)
        channels = []
        damage = []
        for _ in 0..<count {
            guard let channel = CheckpointChannel(&reader), channel.id > channels.last?.id ?? 0,
                channel.id < nextChannelID
            else { return nil }
            channels.append(channel)
        }
        guard Set(channels.map(\.name)).count == channels.count else { return nil }
        guard let damages = reader.integer(UInt32.self) else { return nil }
        for _ in 0..<damages {
            guard let one = Damage(&reader) else { return nil }
            damage.append(one)
        }
        guard let length = reader.integer(UInt64.self), length <= UInt64(reader.remaining),
            let snapshot = reader.bytes(Int(length)), reader.remaining == 4
        else { return nil }
        self.snapshot = snapshot
    }
}
