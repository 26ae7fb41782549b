#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Growable memory that one owner fills and empties again and again, without a reference count.
///
/// Invariant: `0 <= count <= capacity`, and `start` is valid for `capacity` bytes (it is dangling, and
/// never read, while `capacity` is 0). Memory above 4 KiB is given back when the store is emptied.
@safe public struct ByteStore: ~Copyable {
    private var memory: UnsafeMutablePointer<UInt8>?
    /// Bytes in use.
    public private(set) var count = 0
    private var capacity = 0

    /// An empty store; allocates nothing.
    public init() {}

    deinit { unsafe free(memory) }

    /// The bytes in use; valid until the store is changed.
    public var bytes: UnsafeRawBufferPointer { unsafe UnsafeRawBufferPointer(start: memory, count: count) }

    /// The first byte. The store must not be empty.
    var start: UnsafePointer<UInt8> {
        guard let memory = unsafe memory else { preconditionFailure("an empty store has no first byte") }
        return unsafe UnsafePointer(memory)
    }

    /// Makes room for `total` bytes in all.
    public mutating func reserve(_ total: Int) {
        guard total > capacity else { return }
        let size = max(total, 64)
        guard let grown = unsafe realloc(memory, size) else { fatalError("out of memory: \(size) bytes") }
        unsafe memory = grown.assumingMemoryBound(to: UInt8.self)
        capacity = size
    }

    /// Adds a copy of `bytes`, which must not lie in this store.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        let total = count + bytes.count
        if total > capacity { reserve(max(total, capacity * 2)) }
        guard let memory = unsafe memory else { preconditionFailure("reserve made room") }
        unsafe UnsafeMutableRawPointer(memory + count).copyMemory(from: source, byteCount: bytes.count)
        count = total
    }

    /// Adds one byte.
    public mutating func append(_ byte: UInt8) {
        if count == capacity { reserve(max(capacity * 2, 64)) }
        guard let memory = unsafe memory else { preconditionFailure("reserve made room") }
        unsafe memory[count] = byte
        count += 1
    }

    /// Adds the digits of `number`, which must not be negative.
    public mutating func append(decimal number: Int) {
        precondition(number >= 0, "sizes are not negative")
        var divisor = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            append(UInt8(truncatingIfNeeded: 0x30 + number / divisor % 10))
            divisor /= 10
        }
    }

    /// Forgets the bytes from `newCount` on.
    public mutating func truncate(to newCount: Int) {
        precondition(newCount >= 0 && newCount <= count, "a store is truncated to a part of itself")
        count = newCount
    }

    /// Forgets all bytes, and gives memory above 4 KiB back.
    public mutating func removeAll() {
        count = 0
        if capacity > 4096 {
            unsafe free(memory)
            unsafe memory = nil
            capacity = 0
        }
    }
}
