/// Walks the fields of one protobuf message in place.
///
/// Encoding: https://protobuf.dev/programming-guides/encoding. The reader owns nothing; every view that it
/// hands out lies inside the input. Invariant: `0 <= position <= input.count`, and each read
/// holds its length against what is left, so nothing outside the input is ever read.
@unsafe struct WireReader {
    /// Number and wire type of a field, as one varint carries them.
    struct Key {
        let number: UInt64
        let wireType: UInt8
    }

    private let input: UnsafeRawBufferPointer
    private var position = 0

    init(_ input: UnsafeRawBufferPointer) {
        unsafe self.input = input
    }

    private var remaining: Int { unsafe input.count - position }

    /// True when all of the input was consumed: a message that ends here is whole.
    var isAtEnd: Bool { unsafe position == input.count }

    /// The next field's key; nil at the end, and for a malformed key (then `isAtEnd` is false).
    mutating func key() -> Key? {
        guard unsafe position != input.count else { return nil }
        let start = unsafe position
        guard let raw = unsafe varint(), raw >> 3 != 0, raw >> 3 <= 0x1FFF_FFFF else {
            unsafe position = start
            return nil
        }
        return Key(number: raw >> 3, wireType: UInt8(truncatingIfNeeded: raw & 7))
    }

    /// A base-128 varint of at most ten bytes whose value fits in 64 bits.
    @inline(__always)
    mutating func varint() -> UInt64? {
        guard unsafe position != input.count else { return nil }
        let first = unsafe input[position]
        if first < 0x80 {
            unsafe position += 1
            return UInt64(first)
        }
        return unsafe longVarint()
    }

    private mutating func longVarint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while unsafe position != input.count {
            let byte = unsafe input[position]
            unsafe position += 1
            // The tenth byte has room for one bit; more of it, or an eleventh, is overlong.
            if shift == 63, byte > 1 { return nil }
            value |= UInt64(byte & 0x7F) &<< shift
            if byte < 0x80 { return value }
            shift &+= 7
        }
        return nil
    }

    /// Reads a `string` or `bytes` field as a view into the input.
    @inline(__always)
    mutating func read(_ key: Key, into field: inout UnsafeRawBufferPointer) -> Bool {
        guard key.wireType == 2, let length = unsafe varint(),
            unsafe length <= UInt64(remaining)
        else { return false }
        unsafe field = UnsafeRawBufferPointer(rebasing: input[position..<position + Int(length)])
        unsafe position += Int(length)
        return true
    }

    /// Reads a `string` or `bytes` field as a copy.
    mutating func read(_ key: Key, into field: inout [UInt8]) -> Bool {
        var view = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        guard unsafe read(key, into: &view) else { return false }
        unsafe field = [UInt8](view)
        return true
    }

    @inline(__always)
    mutating func read(_ key: Key, into field: inout UInt64) -> Bool {
        guard key.wireType == 0, let value = unsafe varint() else { return false }
        field = value
        return true
    }

    @inline(__always)
    mutating func read(_ key: Key, into field: inout Int64) -> Bool {
        guard key.wireType == 0, let value = unsafe varint() else { return false }
        field = Int64(bitPattern: value)
        return true
    }

    /// `int32`, also as the ten bytes of a sign-extended negative value; higher bits are dropped, as the
    /// protobuf libraries do.
    mutating func read(_ key: Key, into field: inout Int32) -> Bool {
        guard key.wireType == 0, let value = unsafe varint() else { return false }
        field = Int32(truncatingIfNeeded: value)
        return true
    }

    mutating func read(_ key: Key, into field: inout UInt32) -> Bool {
        guard key.wireType == 0, let value = unsafe varint() else { return false }
        field = UInt32(truncatingIfNeeded: value)
        return true
    }

    mutating func read(_ key: Key, into field: inout Bool) -> Bool {
        guard key.wireType == 0, let value = unsafe varint() else { return false }
        field = value != 0
        return true
    }

    /// Skips a field that this version does not know. Groups (deprecated before proto3) are refused.
    mutating func skip(_ key: Key) -> Bool {
        switch key.wireType {
        case 0: return unsafe varint() != nil
        case 1: return unsafe advance(by: 8)
        case 2:
            guard let length = unsafe varint(), unsafe length <= UInt64(remaining) else { return false }
            return unsafe advance(by: Int(length))
        case 5: return unsafe advance(by: 4)
        default: return false
        }
    }

    private mutating func advance(by count: Int) -> Bool {
        guard unsafe remaining >= count else { return false }
        unsafe position += count
        return true
    }
}
