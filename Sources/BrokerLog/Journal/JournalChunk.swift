import Glibc

/// What became of a channel within a chunk: the values after the chunk's last record of it.
struct ChannelTouch {
    var channel: UInt32
    var lastSequence: UInt64
    var lastTimestamp: Int64
    /// Messages and bytes ever appended, counted from the opening.
    var messages: UInt64
    var bytes: UInt64
}

/// Records on their way to the journal: filled by the log's loop, then handed to the committer, then
/// handed back. One owner at a time.
@safe
// Sendable: owned by the loop until `submit`, by the committer until it reports, never by both.
final class JournalChunk: @unchecked Sendable {
    /// Room before the first record for the frame's header, so that a chunk is written as it is.
    static let headerRoom = JournalFrame.headerSize

    private(set) var base: UnsafeMutableRawPointer
    private(set) var capacity: Int
    /// Bytes used, `headerRoom` included.
    var used = JournalChunk.headerRoom
    /// Position of the first record.
    var firstPosition: UInt64 = 0
    var recordCount = 0
    var hasMessages = false
    var touches: [ChannelTouch] = []
    /// Record bytes when it was submitted, those of chunks merged into it included.
    var submittedBytes = 0
    /// When it was submitted (monotonic nanoseconds).
    var submittedAt: UInt64 = 0

    init(capacity: Int = 64 << 10) {
        unsafe (base, self.capacity) = Self.pages(capacity)
    }

    deinit { unsafe Self.release(base, capacity) }

    /// Capacity in bytes from which memory is the kernel's. Among the blocks of messages, which live long, `malloc` would be
    /// left with holes as large as chunks. Smaller ones are too many on a disk that hangs: a process may have 65,530 mappings.
    private static let leastMapped = 256 << 10

    /// Memory of at least `bytes` in whole pages, so that it goes straight to the disk.
    private static func pages(_ bytes: Int) -> (base: UnsafeMutableRawPointer, capacity: Int) {
        let page = JournalFrame.pageSize
        let capacity = (bytes + page - 1) / page * page
        guard capacity >= leastMapped else {
            return (.allocate(byteCount: capacity, alignment: page), capacity)
        }
        let memory = unsafe mmap(nil, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
            fatalError("no memory for \(capacity) bytes of the journal: a process without memory cannot work")
        }
        return unsafe (memory, capacity)
    }

    /// Gives back what `pages` gave.
    private static func release(_ base: UnsafeMutableRawPointer, _ capacity: Int) {
        if capacity >= leastMapped { unsafe munmap(base, capacity) } else { unsafe base.deallocate() }
    }

    var isEmpty: Bool { recordCount == 0 }
    var recordBytes: Int { used - Self.headerRoom }
    var lastPosition: UInt64 { firstPosition + UInt64(recordCount) - 1 }

    /// Makes room for `bytes` more, keeping what is there.
    func reserve(_ bytes: Int) {
        guard used + bytes > capacity else { return }
        let larger = unsafe Self.pages(max(capacity * 2, used + bytes))
        unsafe larger.base.copyMemory(from: base, byteCount: used)
        unsafe Self.release(base, capacity)
        unsafe (base, capacity) = larger
    }

    /// Adds the records of `other`, which follow this chunk's without a gap.
    func absorb(_ other: JournalChunk) {
        precondition(
            other.firstPosition == firstPosition + UInt64(recordCount), "a frame's positions are consecutive")
        reserve(other.recordBytes)
        unsafe (base + used).copyMemory(from: other.base + Self.headerRoom, byteCount: other.recordBytes)
        used += other.recordBytes
        recordCount += other.recordCount
        hasMessages = hasMessages || other.hasMessages
        touches.append(contentsOf: other.touches)
        submittedBytes += other.submittedBytes
    }

    /// Empties the chunk for its next use.
    func reset() {
        used = Self.headerRoom
        recordCount = 0
        hasMessages = false
        submittedBytes = 0
        touches.removeAll(keepingCapacity: true)
    }

    /// Calls `body` with each record in order.
    func forEachRecord(_ body: (UnsafeRawPointer) -> Void) {
        var offset = Self.headerRoom
        while offset < used {
            let record = unsafe UnsafeRawPointer(base + offset)
            unsafe body(record)
            offset += unsafe Record.length(record)
        }
    }
}
