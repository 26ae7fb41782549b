/// A part of a store's files that means something, found by reading the formats as their comments describe them,
/// without the product's code.
struct Region {
    enum Kind: Equatable {
        /// A frame of the journal, and the positions of its records.
        case frame(ClosedRange<UInt64>)
        /// A block of a channel in a segment, and its sequences.
        case block(UInt32, ClosedRange<UInt64>)
        /// The same in a checkpoint's tails.
        case tail(UInt32, ClosedRange<UInt64>)
        /// Something that is there twice, or that only tells what else would be missed.
        case spare
        /// Something that holds no message: headers, indices, checkpoints, the store file.
        case frameless
    }

    var file: String
    var range: Range<Int>
    var kind: Kind

    /// Every region of a store below `/data`. Frames of earlier lives of a journal file are left out.
    static func all(_ files: [String: [UInt8]]) -> [Region] {
        files.sorted { $0.key < $1.key }.flatMap { path, bytes -> [Region] in
            if path.hasSuffix(".wal") { return journal(path, bytes) }
            if path.hasSuffix(".seg") { return segment(path, bytes) }
            if path.hasSuffix(".tails") { return blocks(path, bytes, from: 0, step: 8) }
            if path.hasSuffix("/store") {
                // What seems to be of a newer version is refused.
                return [0..<8, 12..<bytes.count].map { Region(file: path, range: $0, kind: .frameless) }
            }
            if path.hasSuffix(".checkpoint") {
                return [Region(file: path, range: 0..<bytes.count, kind: .frameless)]
            }
            return []
        }
    }

    private static func journal(_ path: String, _ bytes: [UInt8]) -> [Region] {
        guard bytes.count >= 4096, word(bytes, 0) == 0x3148_4A44 else { return [] }
        let number = UInt64(path.split(separator: "/").last?.dropLast(4) ?? "", radix: 16)
        // A file made ready for another life is not in use.
        guard number == long(bytes, 16) else { return [] }
        let generation = long(bytes, 24)
        var found = [
            Region(file: path, range: 0..<48, kind: .spare),
            Region(file: path, range: 2048..<2096, kind: .spare),
        ]
        var offset = 4096
        while offset + 48 <= bytes.count {
            let length = Int(word(bytes, offset + 4))
            guard word(bytes, offset) == 0x3146_4A44, long(bytes, offset + 8) == generation,
                offset + 48 + length <= bytes.count
            else { break }
            let first = long(bytes, offset + 16)
            let count = UInt64(word(bytes, offset + 32))
            let range = offset..<(offset + 48 + length)
            found.append(
                Region(
                    file: path, range: range,
                    kind: count == 0 ? .spare : .frame(first...(first + count - 1))))
            offset = (range.upperBound + 511) / 512 * 512
        }
        return found
    }

    private static func segment(_ path: String, _ bytes: [UInt8]) -> [Region] {
        var found = [Region(file: path, range: 0..<64, kind: .frameless)]
        found += blocks(path, bytes, from: 512, step: 512)
        if bytes.count >= 32, word(bytes, bytes.count - 32) == 0x4553_4A44 {
            let start = Int(long(bytes, bytes.count - 24))
            found.append(Region(file: path, range: start..<bytes.count, kind: .frameless))
        }
        return found
    }

    private static func blocks(_ path: String, _ bytes: [UInt8], from: Int, step: Int) -> [Region] {
        var found: [Region] = []
        var offset = from
        while offset + 88 <= bytes.count, word(bytes, offset) == 0x3142_4A44 {
            let range = offset..<(offset + 88 + Int(word(bytes, offset + 8)))
            let first = long(bytes, offset + 32)
            let sequences = first...(first + UInt64(word(bytes, offset + 20)) - 1)
            let channel = word(bytes, offset + 16)
            found.append(
                Region(
                    file: path, range: range,
                    kind: step == 8 ? .tail(channel, sequences) : .block(channel, sequences)))
            offset = (range.upperBound + step - 1) / step * step
        }
        return found
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes[offset..<(offset + 4)].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func long(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        bytes[offset..<(offset + 8)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
