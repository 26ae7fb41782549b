import Glibc

/// Events carry UUIDs as text, 36 bytes for 16 that lz4 cannot shrink. Before lz4 a block's UUIDs are taken
/// out of its bytes:
///
///      0  u32  number of UUIDs, n
///      4       n times u16: bytes of text between the UUID before (or the start) and this one
///      +       n times 16 bytes: the UUIDs
///      +       the text without them
///
/// Little endian. Only lower-case UUIDs count (RFC 9562 section 4), so that the text comes back as it was.
enum UUIDPacking {
    static let textLength = 36
    private static let dash = UInt8(ascii: "-")

    /// Records whose first bytes, so many, hold no UUID are taken for such that have none: to look through all of them takes
    /// as long as a third of what lz4 does.
    private static let lookedBytes = 4_096

    /// Gaps are 16 bits.
    static let largestInput = 65_535

    /// Packs `count` bytes at `source`.
    ///
    /// - Parameter target: has `count` bytes.
    /// - Returns: bytes written to `target`, fewer than `count`; nil where packing does not pay: there is less
    ///   than a UUID for each 512 bytes, or none at the front.
    static func pack(
        _ source: UnsafeRawPointer, _ count: Int, into target: UnsafeMutableRawPointer,
        places: inout [Int32]
    ) -> Int? {
        guard count <= largestInput else { return nil }
        unsafe find(source, count, &places)
        let number = places.count
        guard number > 0, number * 512 >= count else { return nil }
        unsafe target.storeBytes(of: UInt32(number).littleEndian, as: UInt32.self)
        let identities = unsafe target + 4 + 2 * number
        var text = unsafe identities + 16 * number
        var end = 0
        for index in 0..<number {
            let place = Int(places[index])
            let gap = place - end
            unsafe (target + 4 + 2 * index).storeBytes(of: UInt16(gap).littleEndian, as: UInt16.self)
            unsafe text.copyMemory(from: source + end, byteCount: gap)
            unsafe text += gap
            unsafe read(source + place, into: identities + 16 * index)
            end = place + textLength
        }
        unsafe text.copyMemory(from: source + end, byteCount: count - end)
        return 4 + 18 * number + count - textLength * number
    }

    /// Brings back what was packed; false when the bytes are not `packed` ones that give exactly `count`.
    static func unpack(
        _ packed: UnsafeRawPointer, _ length: Int, into target: UnsafeMutableRawPointer, _ count: Int
    ) -> Bool {
        guard length >= 4 else { return false }
        let number = unsafe Int(UInt32(littleEndian: packed.loadUnaligned(as: UInt32.self)))
        guard number <= (length - 4) / 18, length - 4 - 18 * number + textLength * number == count else {
            return false
        }
        let identities = unsafe packed + 4 + 2 * number
        var text = unsafe identities + 16 * number
        var left = length - 4 - 18 * number
        var out = unsafe target
        for index in 0..<number {
            let gap = unsafe Int(
                UInt16(littleEndian: packed.loadUnaligned(fromByteOffset: 4 + 2 * index, as: UInt16.self)))
            guard gap <= left else { return false }
            unsafe out.copyMemory(from: text, byteCount: gap)
            unsafe text += gap
            left -= gap
            unsafe write(identities + 16 * index, to: out + gap)
            unsafe out += gap + textLength
        }
        unsafe out.copyMemory(from: text, byteCount: left)
        return true
    }

    /// Offsets of the UUIDs, which do not overlap.
    private static func find(_ source: UnsafeRawPointer, _ count: Int, _ places: inout [Int32]) {
        places.removeAll(keepingCapacity: true)
        var from = 0
        // The first dash is the ninth byte, and 28 follow from it on.
        var at = 8
        while at + 28 <= count {
            if places.isEmpty, at > lookedBytes { return }
            guard let found = unsafe memchr(source + at, Int32(dash), count - 27 - at) else { return }
            let place = unsafe UnsafeRawPointer(found) - source - 8
            if place >= from, unsafe isIdentity(source + place) {
                places.append(Int32(place))
                from = place + textLength
                at = from + 8
            } else {
                at = place + 9
            }
        }
    }

    private static func isIdentity(_ text: UnsafeRawPointer) -> Bool {
        func byte(_ offset: Int) -> UInt8 { unsafe text.load(fromByteOffset: offset, as: UInt8.self) }
        guard byte(13) == dash, byte(18) == dash, byte(23) == dash else { return false }
        var all: UInt8 = 0
        for offset in 0..<textLength where offset != 8 && offset != 13 && offset != 18 && offset != 23 {
            all |= digit(byte(offset))
        }
        return all < 16
    }

    /// The value of a digit; above 15 for what is none.
    @inline(__always)
    private static func digit(_ byte: UInt8) -> UInt8 {
        let decimal = byte &- UInt8(ascii: "0")
        let letter = byte &- UInt8(ascii: "a")
        return decimal < 10 ? decimal : letter < 6 ? letter &+ 10 : 0xF0
    }

    private static func read(_ text: UnsafeRawPointer, into identity: UnsafeMutableRawPointer) {
        for index in 0..<16 {
            let at = index * 2 + dashes(before: index)
            let high = unsafe digit(text.load(fromByteOffset: at, as: UInt8.self))
            let low = unsafe digit(text.load(fromByteOffset: at + 1, as: UInt8.self))
            unsafe identity.storeBytes(of: high << 4 | low, toByteOffset: index, as: UInt8.self)
        }
    }

    private static func write(_ identity: UnsafeRawPointer, to text: UnsafeMutableRawPointer) {
        func letter(_ value: UInt8) -> UInt8 { value < 10 ? value &+ 0x30 : value &+ 0x57 }
        for index in 0..<16 {
            let byte = unsafe identity.load(fromByteOffset: index, as: UInt8.self)
            let at = index * 2 + dashes(before: index)
            unsafe text.storeBytes(of: letter(byte >> 4), toByteOffset: at, as: UInt8.self)
            unsafe text.storeBytes(of: letter(byte & 15), toByteOffset: at + 1, as: UInt8.self)
        }
        unsafe text.storeBytes(of: dash, toByteOffset: 8, as: UInt8.self)
        unsafe text.storeBytes(of: dash, toByteOffset: 13, as: UInt8.self)
        unsafe text.storeBytes(of: dash, toByteOffset: 18, as: UInt8.self)
        unsafe text.storeBytes(of: dash, toByteOffset: 23, as: UInt8.self)
    }

    /// Dashes before byte `index` of a UUID: behind bytes 4, 6, 8 and 10.
    @inline(__always)
    private static func dashes(before index: Int) -> Int {
        index < 4 ? 0 : index < 6 ? 1 : index < 8 ? 2 : index < 10 ? 3 : 4
    }
}
