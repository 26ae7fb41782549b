/// Writes protobuf fields in ascending order into memory of known size.
///
/// Zero values are omitted (proto3). Each field has a size function beside its write function; the
/// message types add the sizes up first, and `finish` holds the two against each other.
/// Invariant: `position` stays within the memory given to `init`; each write checks it.
@unsafe struct WireWriter {
    private var position: UnsafeMutablePointer<UInt8>
    private let start: UnsafeMutablePointer<UInt8>
    private let end: UnsafeMutablePointer<UInt8>

    /// `memory` must not be empty.
    init(_ memory: UnsafeMutableRawBufferPointer) {
        guard let base = memory.baseAddress else {
            preconditionFailure("an empty message needs no writer: callers check the size first")
        }
        unsafe start = base.assumingMemoryBound(to: UInt8.self)
        unsafe position = start
        unsafe end = start + memory.count
    }

    /// Bytes written so far.
    var count: Int { unsafe position - start }

    @inline(__always)
    private mutating func reserve(_ count: Int) {
        precondition(unsafe end - position >= count, "the size function and the encoder disagree")
    }

    @inline(__always)
    private mutating func varint(_ value: UInt64) {
        unsafe reserve(varintSize(value))
        var rest = value
        while rest >= 0x80 {
            unsafe position.pointee = UInt8(truncatingIfNeeded: rest) | 0x80
            unsafe position += 1
            rest >>= 7
        }
        unsafe position.pointee = UInt8(truncatingIfNeeded: rest)
        unsafe position += 1
    }

    /// A `string` or `bytes` field; nothing when empty.
    @inline(__always)
    mutating func field(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        unsafe varint(number << 3 | 2)
        unsafe varint(UInt64(bytes.count))
        unsafe reserve(bytes.count)
        unsafe UnsafeMutableRawPointer(position).copyMemory(from: base, byteCount: bytes.count)
        unsafe position += bytes.count
    }

    mutating func field(_ number: UInt64, _ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe field(number, $0) }
    }

    /// A varint field (`uint64`, `bool`, and signed types by sign extension); nothing when zero.
    @inline(__always)
    mutating func field(_ number: UInt64, _ value: UInt64) {
        guard value != 0 else { return }
        unsafe varint(number << 3)
        unsafe varint(value)
    }

    /// Makes an array of exactly `size` bytes that `write` fills.
    static func bytes(size: Int, _ write: (inout WireWriter) -> Void) -> [UInt8] {
        guard size > 0 else { return [] }
        return unsafe [UInt8](unsafeUninitializedCapacity: size) { memory, count in
            var writer = unsafe WireWriter(UnsafeMutableRawBufferPointer(memory))
            unsafe write(&writer)
            precondition(unsafe writer.count == size, "the size function and the encoder disagree")
            count = size
        }
    }
}

/// Bytes that `value` takes as a varint: 1 to 10.
@inline(__always)
func varintSize(_ value: UInt64) -> Int {
    // 9/64 approximates 1/7 exactly enough for 0...64 significant bits.
    (((64 - (value | 1).leadingZeroBitCount) &* 9) &+ 64) &>> 6
}

/// Bytes of a `string` or `bytes` field with its key; 0 when empty, as it is omitted then.
@inline(__always)
func fieldSize(_ number: UInt64, count: Int) -> Int {
    count == 0 ? 0 : varintSize(number << 3) + varintSize(UInt64(count)) + count
}

/// Bytes of a varint field with its key; 0 when zero, as it is omitted then.
@inline(__always)
func fieldSize(_ number: UInt64, _ value: UInt64) -> Int {
    value == 0 ? 0 : varintSize(number << 3) + varintSize(value)
}

/// A signed value as its varint carries it: `int32` is sign-extended to 64 bits.
@inline(__always)
func varintValue(_ value: some SignedInteger & FixedWidthInteger) -> UInt64 {
    UInt64(bitPattern: Int64(value))
}
