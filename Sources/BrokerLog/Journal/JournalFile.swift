/// A journal file `journal/NUMBER.wal`, NUMBER being 16 hexadecimal digits that rise with every file put
/// to use or made ready:
///
///      0        header, and the same again at 2048; zeros up to 4096
///   4096        frames (`JournalFrame`), each at a multiple of 512
///
/// The header, little endian:
///
///      0  u32  magic "DJH1"
///      4  u32  version 1
///      8  u64  store id
///     16  u64  number: that of the name. A recycled file was renamed before; until its new header is
///              written the old one tells that it is not in use.
///     24  u64  generation: higher than that of every file before, by a number nobody can guess. A frame of another
///              generation is old.
///     32  u64  position of the last record before the first frame, 0 if none
///     40  u32  checksum of the frame before the first one of this file, 0 if none. With the position it
///              says where the file continues the journal: whatever follows that frame in the file
///              before this one was cut.
///     44  u32  CRC32C of bytes 0 to 43
///
/// Files are written through once before use (zeros, synced) or recycled, so that syncing a frame is a
/// pure data flush. The header is covered by the sync of the file's first frame.
struct JournalFileHeader: Equatable {
    static let magic: UInt32 = 0x3148_4A44
    static let version: UInt32 = 1
    static let size = 48
    static let copyOffset = 2048
    /// Offset of the first frame.
    static let pageSize = 4096

    var storeID: UInt64
    var number: UInt64
    var generation: UInt64
    var previousPosition: UInt64
    var previousChecksum: UInt32

    /// No generation reaches it, though each is some 2^31 above the one before.
    static let generationLimit: UInt64 = 1 << 63

    /// The generation of the file that is put to use next. Publishers cannot know it, nor the store's id, from which it follows:
    /// a frame of it that somebody hid in a message would count, were the file with the message used again.
    static func generation(after last: UInt64, storeID: UInt64) -> UInt64 {
        var generator = SeededGenerator(seed: storeID ^ last)
        return last + 1 + generator.next() >> 32
    }

    /// The first 4096 bytes of a file.
    func page() -> [UInt8] {
        var copy: [UInt8] = []
        copy.appendInteger(Self.magic)
        copy.appendInteger(Self.version)
        copy.appendInteger(storeID)
        copy.appendInteger(number)
        copy.appendInteger(generation)
        copy.appendInteger(previousPosition)
        copy.appendInteger(previousChecksum)
        copy.appendInteger(checksum(copy))
        var page = [UInt8](repeating: 0, count: Self.pageSize)
        page.replaceSubrange(0..<Self.size, with: copy)
        page.replaceSubrange(Self.copyOffset..<(Self.copyOffset + Self.size), with: copy)
        return page
    }

    /// What the first page of a file says.
    enum Reading: Equatable {
        /// In use: at least one copy is whole.
        case used(JournalFileHeader)
        /// Made ready and not used yet: zeros, or the header of an earlier life.
        case unused
        /// Neither copy can be read, and they are not zeros.
        case damaged
    }

    /// Reads a first page, short if the file is.
    static func read(_ page: [UInt8], number: UInt64, storeID: UInt64) -> Reading {
        let copies = [0, copyOffset].map { offset -> Copy in
            guard page.count >= offset + size else { return .unreadable }
            return readCopy(Array(page[offset..<(offset + size)]))
        }
        let valid = copies.compactMap { if case .valid(let header) = $0 { header } else { nil } }
        if let header = valid.first {
            guard header.number == number, header.storeID == storeID else { return .unused }
            return .used(header)
        }
        if page.count < pageSize || copies.allSatisfy({ if case .zero = $0 { true } else { false } }) {
            return .unused
        }
        return .damaged
    }

    /// Offsets of the copies in a first page that cannot be read.
    static func damagedCopies(_ page: [UInt8]) -> [Int] {
        [0, copyOffset].filter { offset in
            guard page.count >= offset + size else { return true }
            if case .unreadable = readCopy(Array(page[offset..<(offset + size)])) { return true }
            return false
        }
    }

    /// The store ids in the copies that are whole.
    static func storeIDs(_ page: [UInt8]) -> [UInt64] {
        [0, copyOffset].compactMap { offset in
            guard page.count >= offset + size,
                case .valid(let header) = readCopy(Array(page[offset..<(offset + size)]))
            else { return nil }
            return header.storeID
        }
    }

    private enum Copy {
        case valid(JournalFileHeader)
        case zero
        case unreadable
    }

    private static func readCopy(_ bytes: [UInt8]) -> Copy {
        if bytes.allSatisfy({ $0 == 0 }) { return .zero }
        var reader = ByteReader(bytes)
        guard reader.integer(UInt32.self) == magic, reader.integer(UInt32.self) == version,
            let storeID = reader.integer(UInt64.self), let number = reader.integer(UInt64.self),
            let generation = reader.integer(UInt64.self), let position = reader.integer(UInt64.self),
            let previous = reader.integer(UInt32.self),
            reader.integer(UInt32.self) == checksum(Array(bytes.prefix(44))),
            generation < generationLimit, position < Record.numberLimit
        else { return .unreadable }
        return .valid(
            JournalFileHeader(
                storeID: storeID, number: number, generation: generation, previousPosition: position,
                previousChecksum: previous))
    }

    /// File name of a number.
    static func name(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits + ".wal"
    }

    /// Number of a file name, nil if it is none of ours.
    static func number(_ name: String) -> UInt64? {
        guard name.hasSuffix(".wal"), let number = UInt64(name.dropLast(4), radix: 16),
            number < Record.numberLimit, Self.name(number) == name
        else { return nil }
        return number
    }
}
