import CBroker

/// A frame: one batch of records in a journal file, written by one call and made durable by one sync. Frames begin at
/// multiples of 512 bytes, so that writing one never touches a sector that holds another. What follows a frame up to the next
/// multiple of 4096 is written as zeros, so that the kernel never reads a page to fill it; up to the next multiple of 512
/// where the frame behind it may be written at the same time. Little endian:
///
///      0  u32  magic "DJF1"
///      4  u32  length of the records that follow the header, at least 1 record
///      8  u64  generation: that of the file's header
///     16  u64  position of the first record; record i of the frame has this plus i
///     24  u64  D: the greatest position known synced when the frame was written
///     32  u32  number of records
///     36  u32  checksum of the frame before it in the journal, 0 for the first of a store
///     40  u32  0
///     44  u32  CRC32C of bytes 0 to 43 and of the records
///     48       records (`Record`)
///
/// A frame without records, at the end of a file that is left, is a mark: D was synced to the file that follows.
///
/// A frame counts only if magic, generation, bounds, checksum and the checksum of the frame before it
/// are right. What to make of one that does not is said in `JournalRecovery`.
struct JournalFrame: Equatable {
    static let headerSize = 48
    static let alignment = 512
    static let pageSize = 4096
    static let magic: UInt32 = 0x3146_4A44

    var length: UInt32
    var generation: UInt64
    var firstPosition: UInt64
    var knownSynced: UInt64
    var recordCount: UInt32
    var previousChecksum: UInt32
    var checksum: UInt32 = 0

    /// Whether the numbers are below what anyone reaches (`Record.numberLimit`, `JournalFileHeader.generationLimit`).
    var isPlausible: Bool {
        generation < JournalFileHeader.generationLimit && firstPosition < Record.numberLimit
            && knownSynced < Record.numberLimit
    }

    var lastPosition: UInt64 { firstPosition &+ UInt64(recordCount) &- 1 }

    /// Bytes from the frame's start to where the next may begin.
    var stride: Int { Self.stride(recordBytes: Int(length)) }

    static func stride(recordBytes: Int) -> Int {
        (headerSize + recordBytes + alignment - 1) / alignment * alignment
    }

    /// Writes the header in front of the records at `frame + 48`; returns its checksum.
    func seal(at frame: UnsafeMutableRawPointer) -> UInt32 {
        unsafe frame.storeBytes(of: Self.magic.littleEndian, as: UInt32.self)
        unsafe frame.storeBytes(of: length.littleEndian, toByteOffset: 4, as: UInt32.self)
        unsafe frame.storeBytes(of: generation.littleEndian, toByteOffset: 8, as: UInt64.self)
        unsafe frame.storeBytes(of: firstPosition.littleEndian, toByteOffset: 16, as: UInt64.self)
        unsafe frame.storeBytes(of: knownSynced.littleEndian, toByteOffset: 24, as: UInt64.self)
        unsafe frame.storeBytes(of: recordCount.littleEndian, toByteOffset: 32, as: UInt32.self)
        unsafe frame.storeBytes(of: previousChecksum.littleEndian, toByteOffset: 36, as: UInt32.self)
        unsafe frame.storeBytes(of: 0, toByteOffset: 40, as: UInt32.self)
        let sum = unsafe Self.checksum(frame, length: Int(length))
        unsafe frame.storeBytes(of: sum.littleEndian, toByteOffset: 44, as: UInt32.self)
        return sum
    }

    /// Reads a header from 48 bytes; nil if the magic is not there. Nothing else is verified.
    init?(header: UnsafeRawPointer) {
        func u32(_ offset: Int) -> UInt32 {
            unsafe UInt32(littleEndian: header.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        func u64(_ offset: Int) -> UInt64 {
            unsafe UInt64(littleEndian: header.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        guard u32(0) == Self.magic else { return nil }
        length = u32(4)
        generation = u64(8)
        firstPosition = u64(16)
        knownSynced = u64(24)
        recordCount = u32(32)
        previousChecksum = u32(36)
        checksum = u32(44)
    }

    init(
        length: UInt32, generation: UInt64, firstPosition: UInt64, knownSynced: UInt64, recordCount: UInt32,
        previousChecksum: UInt32
    ) {
        self.length = length
        self.generation = generation
        self.firstPosition = firstPosition
        self.knownSynced = knownSynced
        self.recordCount = recordCount
        self.previousChecksum = previousChecksum
    }

    /// The mark at the end of a file that is left, behind the frame with this checksum.
    static func mark(after position: UInt64, _ checksum: UInt32, generation: UInt64) -> JournalFrame {
        JournalFrame(
            length: 0, generation: generation, firstPosition: position &+ 1, knownSynced: position,
            recordCount: 0, previousChecksum: checksum)
    }

    /// A mark's bytes.
    func sector() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Self.alignment)
        unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            _ = unsafe seal(at: base)
        }
        return bytes
    }

    /// The checksum that a frame of `length` record bytes at `frame` should carry.
    static func checksum(_ frame: UnsafeRawPointer, length: Int) -> UInt32 {
        let head = unsafe cbroker_crc32c(0, frame, 44)
        return unsafe cbroker_crc32c(head, frame + headerSize, length)
    }
}
