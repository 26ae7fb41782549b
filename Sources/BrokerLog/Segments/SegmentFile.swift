/// A segment: the blocks of one channel, `channels/ID/SEQUENCE.seg`, ID being the channel's number in
/// decimal and SEQUENCE the first sequence in 20 digits. Little endian:
///
///      0  u32  magic "DJS1"
///      4  u32  version 1
///      8  u64  store id
///     16  u32  channel
///     20  u32  0
///     24  u64  first sequence, as in the name
///     32       zeros
///     60  u32  CRC32C of bytes 0 to 59
///     64       zeros up to 512
///    512       blocks (`BlockHeader`), each at the next multiple of 512
///
/// A sealed segment ends with its index and a trailer:
///
///      entries of 72 bytes, one per block: u64 offset, u32 size, u32 count, u64 first sequence, i64 first
///      time, i64 last time, u64 first position, u64 last position, u64 accounted bytes, u32 length of
///      the records, u32 0
///
///      0  u32  magic "DJSE"
///      4  u32  number of entries
///      8  u64  offset of the first entry
///     16  u64  first sequence of the segment
///     24  u32  channel
///     28  u32  CRC32C of the entries and of bytes 0 to 27
///
/// Until a checkpoint lists them, bytes at the end of a segment are nothing: they are in the journal
/// too, and are cut before the segment is written to again. The checkpoint carries the index of
/// segments that are not sealed. A sealed one whose trailer is damaged is scanned from the front.
enum SegmentFile {
    static let magic: UInt32 = 0x3153_4A44
    static let trailerMagic: UInt32 = 0x4553_4A44
    static let version: UInt32 = 1
    static let headerSize = 512
    /// Bytes of the header that say something.
    static let headerRead = 64
    static let alignment = 512
    static let entrySize = 72
    static let trailerSize = 32

    /// A block of a segment.
    struct Block: Equatable {
        var summary: BlockSummary
        var offset: UInt64
        var size: UInt32
    }

    static func name(_ first: UInt64) -> String {
        let digits = String(first)
        return String(repeating: "0", count: 20 - digits.count) + digits + ".seg"
    }

    static func path(_ channels: String, _ channel: UInt32, _ first: UInt64) -> String {
        "\(channels)/\(channel)/\(name(first))"
    }

    static func header(storeID: UInt64, channel: UInt32, first: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendInteger(magic)
        bytes.appendInteger(version)
        bytes.appendInteger(storeID)
        bytes.appendInteger(channel)
        bytes.appendInteger(UInt32(0))
        bytes.appendInteger(first)
        bytes.append(contentsOf: repeatElement(0, count: 60 - bytes.count))
        bytes.appendInteger(checksum(bytes))
        bytes.append(contentsOf: repeatElement(0, count: headerSize - bytes.count))
        return bytes
    }

    /// Index and trailer that seal a segment of `offset` bytes.
    static func footer(_ blocks: [Block], offset: UInt64, channel: UInt32, first: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(blocks.count * entrySize + trailerSize)
        for block in blocks { append(block, to: &bytes) }
        bytes.appendInteger(trailerMagic)
        bytes.appendInteger(UInt32(blocks.count))
        bytes.appendInteger(offset)
        bytes.appendInteger(first)
        bytes.appendInteger(channel)
        bytes.appendInteger(checksum(bytes))
        return bytes
    }

    static func append(_ block: Block, to bytes: inout [UInt8]) {
        bytes.appendInteger(block.offset)
        bytes.appendInteger(block.size)
        bytes.appendInteger(block.summary.count)
        bytes.appendInteger(block.summary.firstSequence)
        bytes.appendInteger(block.summary.firstTimestamp)
        bytes.appendInteger(block.summary.lastTimestamp)
        bytes.appendInteger(block.summary.firstPosition)
        bytes.appendInteger(block.summary.lastPosition)
        bytes.appendInteger(block.summary.bytes)
        bytes.appendInteger(block.summary.rawSize)
        bytes.appendInteger(UInt32(0))
    }

    static func readBlock(_ reader: inout ByteReader) -> Block? {
        guard let offset = reader.integer(UInt64.self), let size = reader.integer(UInt32.self),
            let count = reader.integer(UInt32.self), let first = reader.integer(UInt64.self),
            let firstTime = reader.integer(Int64.self), let lastTime = reader.integer(Int64.self),
            let firstPosition = reader.integer(UInt64.self), let lastPosition = reader.integer(UInt64.self),
            let bytes = reader.integer(UInt64.self), let raw = reader.integer(UInt32.self),
            reader.integer(UInt32.self) != nil, offset < Record.offsetLimit
        else { return nil }
        let summary = BlockSummary(
            firstSequence: first, count: count, rawSize: raw, firstTimestamp: firstTime,
            lastTimestamp: lastTime, firstPosition: firstPosition, lastPosition: lastPosition, bytes: bytes)
        // What a reader takes from the disk for it: no more than its records, which lz4 cannot make grow by more.
        guard summary.isPlausible, Int(size) <= BlockHeader.size + Int(raw) + alignment else { return nil }
        return Block(summary: summary, offset: offset, size: size)
    }

    /// The index of a sealed segment of `size` bytes; nil when it is damaged or there is none.
    static func readFooter(
        _ file: OpenFile, size: Int, channel: UInt32, first: UInt64, fileSystem: any FileSystem
    ) throws(FileError) -> [Block]? {
        guard size >= headerSize + trailerSize else { return nil }
        let end = try FileBytes(
            file, at: size - trailerSize, length: trailerSize, fileSystem: fileSystem, skipsUnreadable: true)
        guard end.count == trailerSize else { return nil }
        var reader = ByteReader(end.array(0..<trailerSize))
        guard reader.integer(UInt32.self) == trailerMagic, let count = reader.integer(UInt32.self),
            let offset = reader.integer(UInt64.self), reader.integer(UInt64.self) == first,
            reader.integer(UInt32.self) == channel,
            Int(count) <= (size - headerSize - trailerSize) / entrySize,
            offset == UInt64(size - trailerSize - Int(count) * entrySize)
        else { return nil }
        let length = Int(count) * entrySize + trailerSize
        let footer = try FileBytes(
            file, at: Int(offset), length: length, fileSystem: fileSystem, skipsUnreadable: true)
        guard footer.count == length else { return nil }
        let bytes = footer.array(0..<length)
        guard let stored = reader.integer(UInt32.self), checksum(Array(bytes.dropLast(4))) == stored else {
            return nil
        }
        var entries = ByteReader(bytes)
        var blocks: [Block] = []
        for _ in 0..<count {
            guard let block = readBlock(&entries) else { return nil }
            blocks.append(block)
        }
        return blocks
    }

    /// The whole blocks found by reading a segment from its front, in order of sequence, and the offsets
    /// at which something else lies. For segments whose footer is damaged, and for checking.
    static func scan(
        _ bytes: FileBytes, channel: UInt32, first: UInt64, end: Int
    ) -> (blocks: [Block], damaged: [Int]) {
        var blocks: [Block] = []
        var damaged: [Int] = []
        var offset = headerSize
        var isLost = false
        while offset + BlockHeader.size <= end {
            if let header = BlockHeader(bytes, at: offset), header.channel == channel,
                header.segment == first,
                offset + header.paddedSize(alignment) <= end,
                header.summary.firstSequence > (blocks.last?.summary.lastSequence ?? 0)
            {
                let size = header.paddedSize(alignment)
                blocks.append(Block(summary: header.summary, offset: UInt64(offset), size: UInt32(size)))
                offset += size
                isLost = false
            } else {
                if !isLost { damaged.append(offset) }
                isLost = true
                offset += alignment
            }
        }
        return (blocks, damaged)
    }
}
