/// The memory of one block: records of one channel with consecutive sequences.
///
/// Invariants:
/// - `base` has `capacity` bytes for the life of the object. Records lie back to back from the front;
///   the offset of record i is a UInt32 at `capacity - 4 * (i + 1)`, so both grow towards each other.
/// - Bytes of a record that is durable never change. The owner of the log alone writes behind them;
///   other threads read only records that were complete when the object was handed to them.
@safe
// Sendable: the log's loop owns `base` as said above; the committer never sees it, background and
// reader threads get it through a queue's lock.
final class BlockStorage: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let capacity: Int

    /// Memory for records and offsets together of `capacity` bytes, a multiple of 4.
    init(capacity: Int) {
        precondition(capacity > 0 && capacity % 4 == 0, "offsets are 4-byte integers at the end")
        unsafe base = .allocate(byteCount: capacity, alignment: 16)
        self.capacity = capacity
    }

    deinit { unsafe base.deallocate() }

    /// Where record `index` begins.
    @inline(__always)
    func offset(of index: Int) -> Int {
        unsafe Int(base.load(fromByteOffset: capacity &- 4 &* (index &+ 1), as: UInt32.self))
    }

    /// Notes where record `index` begins.
    @inline(__always)
    func setOffset(_ offset: Int, of index: Int) {
        unsafe base.storeBytes(
            of: UInt32(truncatingIfNeeded: offset), toByteOffset: capacity &- 4 &* (index &+ 1),
            as: UInt32.self)
    }

    /// Record `index`, which exists.
    @inline(__always)
    func record(_ index: Int) -> UnsafeRawPointer { unsafe UnsafeRawPointer(base + offset(of: index)) }

    /// Bytes that `count` records take, given that they were written.
    func usedBytes(count: Int) -> Int {
        guard count > 0 else { return 0 }
        return unsafe offset(of: count - 1) + Record.length(record(count - 1))
    }

    /// A copy with more room that holds the first `count` records.
    func copy(count: Int, capacity: Int) -> BlockStorage {
        let used = usedBytes(count: count)
        precondition(used + 4 * count <= capacity, "a copy is never smaller than its content")
        let copy = BlockStorage(capacity: capacity)
        unsafe copy.base.copyMemory(from: base, byteCount: used)
        unsafe (copy.base + capacity - 4 * count).copyMemory(
            from: base + self.capacity - 4 * count, byteCount: 4 * count)
        return copy
    }
}
