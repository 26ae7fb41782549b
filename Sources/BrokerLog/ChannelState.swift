/// The part of a channel that every append touches, in memory of its own so that appending costs no
/// reference counting and no exclusivity checks. Owned by the log's loop.
@unsafe
struct ChannelHot {
    var id: UInt32
    var subjectLength: Int
    var overhead: Int
    var nextSequence: UInt64 = 1
    var lastTimestamp: Int64 = 0
    /// Messages and bytes ever appended, counted from the opening.
    var appendedMessages: UInt64 = 0
    var appendedBytes: UInt64 = 0
    /// Serial number of the last chunk that lists this channel among its touches.
    var touchedChunk: UInt64 = 0
    /// The open block: its memory, bytes used, records, bytes in all.
    var base: UnsafeMutableRawPointer
    var used: Int = 0
    var count: Int = 0
    var capacity: Int
    /// First position in the open block; last position appended.
    var firstPosition: UInt64 = 0
    var lastPosition: UInt64 = 0
    /// Accounted bytes of the open block and time of its first message.
    var blockBytes: UInt64 = 0
    var blockFirstTimestamp: Int64 = 0
}

/// A channel as the log's loop knows it.
@safe
final class ChannelState {
    let id: ChannelID
    let name: [UInt8]
    var limits: ChannelLimits
    /// Allocated for the life of the state.
    let hot: UnsafeMutablePointer<ChannelHot>
    /// Memory behind `hot.base`.
    var openStorage: BlockStorage {
        didSet { account.bytes += openStorage.capacity - oldValue.capacity }
    }
    private let account: OpenBlocks
    /// Messages appended when `Log.sealAtRest` last looked.
    var appendedAtSweep: UInt64 = 0
    /// Sequence of the open block's first record (or of the next message when it is empty).
    var openFirstSequence: UInt64 = 1
    var index = BlockIndex()

    /// Sequence of the oldest message kept, as `ChannelInfo.firstSequence`.
    var firstSequence: UInt64 = 1
    /// Durable: last sequence, its time, and the appended counts up to it.
    var durableSequence: UInt64 = 0
    var durableTimestamp: Int64 = 0
    var durableAppendedMessages: UInt64 = 0
    var durableAppendedBytes: UInt64 = 0
    /// Durable messages kept and their bytes.
    var messages = 0
    var bytes = 0
    /// Bytes of the front block that were trimmed.
    var frontTrimmedBytes = 0
    /// Sequences lost to damage, oldest first.
    var damage: [ClosedRange<UInt64>] = []
    /// The highest first sequence that a recovered record names.
    var recoveredFloor: UInt64 = 0
    /// Trimming what is not younger than this waits for the front block to be read; `.min` where only limits on messages
    /// and bytes are applied.
    var waitingCutoff: Int64?
    /// Front segment, and its dead bytes, when the background was last asked to make room.
    var asked: (segment: UInt64, dead: UInt64)?

    init(id: ChannelID, name: [UInt8], limits: ChannelLimits, overhead: Int, account: OpenBlocks) {
        self.id = id
        self.name = name
        self.limits = limits
        self.account = account
        openStorage = BlockStorage(capacity: Self.smallestBlock)
        account.bytes += openStorage.capacity
        unsafe hot = .allocate(capacity: 1)
        unsafe hot.initialize(
            to: ChannelHot(
                id: id.rawValue, subjectLength: name.count, overhead: overhead, base: openStorage.base,
                capacity: openStorage.capacity))
    }

    deinit {
        account.bytes -= openStorage.capacity
        unsafe hot.deallocate()
    }

    /// Records of a block together stay below this, except that one record may be larger alone.
    static let blockLimit = 64 << 10
    /// Memory of a full block: records, and room for the offsets of 2048 records.
    static let fullBlock = blockLimit + (8 << 10)
    /// Memory of a channel's first block: ten thousand quiet channels cost 20 MB.
    static let smallestBlock = 2 << 10

    /// Summary of the open block, which is not empty.
    func openSummary() -> BlockSummary {
        unsafe BlockSummary(
            firstSequence: openFirstSequence, count: UInt32(hot.pointee.count),
            rawSize: UInt32(hot.pointee.used),
            firstTimestamp: hot.pointee.blockFirstTimestamp, lastTimestamp: hot.pointee.lastTimestamp,
            firstPosition: hot.pointee.firstPosition, lastPosition: hot.pointee.lastPosition,
            bytes: hot.pointee.blockBytes)
    }

    /// Makes `storage` the open block, holding `count` records from `firstSequence` on.
    func setOpen(_ storage: BlockStorage, firstSequence: UInt64, count: Int, bytes: UInt64) {
        openStorage = storage
        openFirstSequence = firstSequence
        unsafe hot.pointee.base = storage.base
        unsafe hot.pointee.capacity = storage.capacity
        unsafe hot.pointee.used = storage.usedBytes(count: count)
        unsafe hot.pointee.count = count
        unsafe hot.pointee.blockBytes = bytes
        if count > 0 {
            unsafe hot.pointee.firstPosition = Record.position(storage.record(0))
            unsafe hot.pointee.lastPosition = Record.position(storage.record(count - 1))
            unsafe hot.pointee.blockFirstTimestamp = Record.timestamp(storage.record(0))
        }
    }

    /// Makes room for a record of `length` bytes: a larger copy of the open block while that is below
    /// `blockLimit`, else a new one; then returns the entry that was sealed.
    func makeRoom(for length: Int) -> BlockEntry? {
        let used = unsafe hot.pointee.used
        let count = unsafe hot.pointee.count
        let needed = used + length + 4 * (count + 1)
        if count > 0, used + length > Self.blockLimit || needed > Self.fullBlock {
            let sealed = sealOpen()
            let capacity = max(Self.fullBlock, Self.rounded(length + 4))
            unsafe setOpen(
                BlockStorage(capacity: capacity), firstSequence: hot.pointee.nextSequence, count: 0, bytes: 0)
            return sealed
        }
        if unsafe needed > hot.pointee.capacity {
            var capacity = unsafe hot.pointee.capacity
            while capacity < needed { capacity *= 4 }
            capacity = max(min(capacity, Self.fullBlock), Self.rounded(needed))
            let larger = openStorage.copy(count: count, capacity: capacity)
            openStorage = larger
            unsafe hot.pointee.base = larger.base
            unsafe hot.pointee.capacity = capacity
        }
        return nil
    }

    /// Moves the open block, which is not empty, into the index; nil when all of it was trimmed already.
    func sealOpen() -> BlockEntry? {
        let summary = openSummary()
        if summary.lastSequence < firstSequence {
            frontTrimmedBytes = 0
            return nil
        }
        let entry = BlockEntry(summary: summary, location: nil, storage: openStorage)
        index.append(entry)
        return entry
    }

    private static func rounded(_ bytes: Int) -> Int { (bytes + 15) / 16 * 16 }

    /// Durable records that block `first`… of `count` records has, from its start.
    func durableCount(firstSequence first: UInt64, count: Int) -> Int {
        durableSequence < first ? 0 : Int(min(durableSequence - first + 1, UInt64(count)))
    }
}

/// Bytes of memory of all channels' open blocks. Owned by the log's loop.
final class OpenBlocks {
    var bytes = 0
}
