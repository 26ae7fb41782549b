import NIOCore

/// Bytes that are only added to: an array asks at each addition whether it is shared, which took a third of the time of
/// writing a list.
///
/// Invariants: `memory` has room for `capacity` bytes, of which the first `count` are written; `count <= capacity`.
@safe struct JSONBytes: ~Copyable {
    private var memory: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var count = 0

    init(capacity: Int) {
        self.capacity = max(capacity, 64)
        unsafe memory = .allocate(byteCount: self.capacity, alignment: 1)
    }

    deinit { unsafe memory.deallocate() }

    /// What was added, in a buffer of its own.
    var buffer: ByteBuffer { unsafe ByteBuffer(bytes: UnsafeRawBufferPointer(start: memory, count: count)) }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        makeRoom(for: 1)
        unsafe memory.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        makeRoom(for: bytes.count)
        unsafe (memory + count).copyMemory(from: source, byteCount: bytes.count)
        count += bytes.count
    }

    mutating func append(_ text: StaticString) {
        unsafe append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inline(__always)
    private mutating func makeRoom(for size: Int) {
        if capacity - count < size { grow(for: size) }
    }

    @inline(never)
    private mutating func grow(for size: Int) {
        capacity = max(capacity * 2, count + size)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 1)
        unsafe larger.copyMemory(from: memory, byteCount: count)
        unsafe memory.deallocate()
        unsafe memory = larger
    }
}
