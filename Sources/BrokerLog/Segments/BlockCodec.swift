import CBroker
import CLZ4

/// A block as it lies in a segment, at a multiple of 512 so that writing one never touches a sector that
/// holds another, or in a checkpoint's tails, at a multiple of 8. Little endian:
///
///      0  u32  magic "DJB1"
///      4  u32  CRC32C of bytes 8 to 87 and of the stored data
///      8  u32  length of the stored data
///     12  u32  length of the records
///     16  u32  channel
///     20  u32  number of records, at least 1; their sequences are consecutive
///     24  u64  first sequence of the segment, 0 in a checkpoint's tails
///     32  u64  first sequence
///     40  i64  first time
///     48  i64  last time
///     56  u64  first position
///     64  u64  last position
///     72  u64  accounted bytes of the records (`Record.accountedSize`)
///     80  u32  2: the data is an lz4 block of what `UUIDPacking` made of the records; 1: an lz4 block of the
///              records; 0: the records as they are (lz4 saved less than 10 %)
///     84  u32  low half of the store id
///     88       data; zeros up to the next block
///
/// Readers check bounds and checksum before they allocate, and the records' own lengths after.
@safe
struct BlockHeader: Equatable {
    static let size = 88
    static let magic: UInt32 = 0x3142_4A44
    /// lz4 cannot shrink further than 255 times, nor packing to less than half: bounds what a header can make
    /// a reader allocate.
    static let maximumRatio = 512

    /// What was done with the records.
    enum Encoding: UInt32 {
        case plain, compressed, packed
    }

    var storedLength: UInt32
    var encoding: Encoding
    var channel: UInt32
    var segment: UInt64
    var storeMark: UInt32
    var summary: BlockSummary
    var checksum: UInt32 = 0

    /// Bytes that header and data take, with padding to a multiple of `alignment`.
    func paddedSize(_ alignment: Int) -> Int {
        (Self.size + Int(storedLength) + alignment - 1) / alignment * alignment
    }

    init(
        storedLength: UInt32, encoding: Encoding, channel: UInt32, segment: UInt64, storeMark: UInt32,
        summary: BlockSummary
    ) {
        self.storedLength = storedLength
        self.encoding = encoding
        self.channel = channel
        self.segment = segment
        self.storeMark = storeMark
        self.summary = summary
    }

    /// Reads and verifies the block at `offset` of `bytes`; nil when it is not whole.
    init?(_ bytes: FileBytes, at offset: Int) {
        guard offset >= 0, offset + Self.size <= bytes.count else { return nil }
        let base = unsafe UnsafeRawPointer(bytes.base + offset)
        func u32(_ at: Int) -> UInt32 {
            unsafe UInt32(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt32.self))
        }
        func u64(_ at: Int) -> UInt64 {
            unsafe UInt64(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt64.self))
        }
        guard u32(0) == Self.magic else { return nil }
        let stored = Int(u32(8))
        let raw = Int(u32(12))
        guard stored <= bytes.count - offset - Self.size,
            unsafe cbroker_crc32c(0, base + 8, Self.size - 8 + stored) == u32(4)
        else { return nil }
        summary = BlockSummary(
            firstSequence: u64(32), count: u32(20), rawSize: u32(12),
            firstTimestamp: Int64(bitPattern: u64(40)),
            lastTimestamp: Int64(bitPattern: u64(48)), firstPosition: u64(56), lastPosition: u64(64),
            bytes: u64(72))
        guard summary.isPlausible, raw <= stored * Self.maximumRatio,
            let encoding = Encoding(rawValue: u32(80)), encoding != .plain || raw == stored
        else { return nil }
        storedLength = u32(8)
        self.encoding = encoding
        channel = u32(16)
        segment = u64(24)
        storeMark = u32(84)
        checksum = u32(4)
    }

    /// Writes the header in front of the data at `base + 88`.
    func seal(at base: UnsafeMutableRawPointer) {
        func store32(_ value: UInt32, _ at: Int) {
            unsafe base.storeBytes(of: value.littleEndian, toByteOffset: at, as: UInt32.self)
        }
        func store64(_ value: UInt64, _ at: Int) {
            unsafe base.storeBytes(of: value.littleEndian, toByteOffset: at, as: UInt64.self)
        }
        store32(Self.magic, 0)
        store32(storedLength, 8)
        store32(summary.rawSize, 12)
        store32(channel, 16)
        store32(summary.count, 20)
        store64(segment, 24)
        store64(summary.firstSequence, 32)
        store64(UInt64(bitPattern: summary.firstTimestamp), 40)
        store64(UInt64(bitPattern: summary.lastTimestamp), 48)
        store64(summary.firstPosition, 56)
        store64(summary.lastPosition, 64)
        store64(summary.bytes, 72)
        store32(encoding.rawValue, 80)
        store32(storeMark, 84)
        store32(unsafe cbroker_crc32c(0, base + 8, Self.size - 8 + Int(storedLength)), 4)
    }
}

/// Memory in which blocks are encoded one after the other. Owned by one thread.
@safe
final class BlockEncoder {
    private(set) var base: UnsafeMutableRawPointer
    private var capacity: Int
    /// Bytes encoded.
    private(set) var count = 0
    /// Where records are packed, and the places of the UUIDs in them.
    private let packed: UnsafeMutableRawPointer
    private var places: [Int32] = []

    init(capacity: Int = 256 << 10) {
        unsafe base = .allocate(byteCount: capacity, alignment: 4096)
        self.capacity = capacity
        unsafe packed = .allocate(byteCount: UUIDPacking.largestInput, alignment: 16)
    }

    deinit {
        unsafe base.deallocate()
        unsafe packed.deallocate()
    }

    /// Forgets what was encoded.
    func removeAll() { count = 0 }

    /// Adds the first records of `storage`, as `summary` says; returns the bytes added.
    ///
    /// - Parameters:
    ///   - compresses: whether lz4 is tried; the data is raw when it saves less than 10 %.
    ///   - alignment: the next block begins at a multiple of it.
    func add(
        _ storage: BlockStorage, _ summary: BlockSummary, channel: UInt32, segment: UInt64, storeMark: UInt32,
        compresses: Bool, alignment: Int
    ) -> Int {
        let raw = Int(summary.rawSize)
        reserve(BlockHeader.size + max(raw, Int(LZ4_compressBound(Int32(raw)))) + alignment)
        let data = unsafe base + count + BlockHeader.size
        var stored = 0
        var encoding = BlockHeader.Encoding.plain
        if compresses {
            (stored, encoding) = unsafe compress(storage.base, raw, into: data)
        }
        if stored == 0 || stored >= raw - raw / 10 {
            unsafe data.copyMemory(from: storage.base, byteCount: raw)
            (stored, encoding) = (raw, .plain)
        }
        let header = BlockHeader(
            storedLength: UInt32(stored), encoding: encoding, channel: channel, segment: segment,
            storeMark: storeMark, summary: summary)
        unsafe header.seal(at: base + count)
        let used = BlockHeader.size + stored
        let padded = header.paddedSize(alignment)
        unsafe (base + count + used).initializeMemory(
            as: UInt8.self, repeating: 0, count: padded - used)
        count += padded
        return padded
    }

    /// Acceleration 4: 323 ns a message at ratio 1.62, against 607 at 1.69. Where there are UUIDs packing
    /// halves that time, and what is stored (docs/decisions/0010).
    private func compress(
        _ records: UnsafeMutableRawPointer, _ raw: Int, into data: UnsafeMutableRawPointer
    ) -> (Int, BlockHeader.Encoding) {
        let length = unsafe UUIDPacking.pack(records, raw, into: packed, places: &places)
        let source = unsafe length == nil ? records : packed
        let stored = unsafe LZ4_compress_fast(
            source.assumingMemoryBound(to: CChar.self), data.assumingMemoryBound(to: CChar.self),
            Int32(length ?? raw), LZ4_compressBound(Int32(raw)), 4)
        return (Int(stored), length == nil ? .compressed : .packed)
    }

    private func reserve(_ bytes: Int) {
        guard count + bytes > capacity else { return }
        let larger = max(capacity * 2, count + bytes)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 4096)
        unsafe memory.copyMemory(from: base, byteCount: count)
        unsafe base.deallocate()
        unsafe base = memory
        capacity = larger
    }
}

extension BlockHeader {
    /// The records of the block at `offset` of `bytes`, which this header was read from; nil when they
    /// are not what the header says.
    func records(_ bytes: FileBytes, at offset: Int) -> BlockStorage? {
        let raw = Int(summary.rawSize)
        let count = Int(summary.count)
        let storage = BlockStorage(capacity: (raw + 4 * count + 15) / 16 * 16)
        let data = unsafe bytes.base + offset + Self.size
        func decompress(into target: UnsafeMutableRawPointer) -> Int {
            unsafe Int(
                LZ4_decompress_safe(
                    data.assumingMemoryBound(to: CChar.self), target.assumingMemoryBound(to: CChar.self),
                    Int32(storedLength), Int32(raw)))
        }
        switch encoding {
        case .plain: unsafe storage.base.copyMemory(from: data, byteCount: raw)
        case .compressed: guard unsafe decompress(into: storage.base) == raw else { return nil }
        case .packed:
            // Packed is never longer than what it came from.
            let packed = UnsafeMutableRawPointer.allocate(byteCount: raw, alignment: 16)
            defer { unsafe packed.deallocate() }
            let length = unsafe decompress(into: packed)
            guard unsafe UUIDPacking.unpack(packed, length, into: storage.base, raw) else { return nil }
        }
        var at = 0
        for index in 0..<count {
            let record = unsafe UnsafeRawPointer(storage.base + at)
            guard unsafe Record.isWhole(record, available: raw - at),
                unsafe Record.kind(record) == Record.Kind.message.rawValue,
                unsafe Record.sequence(record) == summary.firstSequence + UInt64(index)
            else { return nil }
            storage.setOffset(at, of: index)
            at += unsafe Record.length(record)
        }
        return at == raw ? storage : nil
    }
}
