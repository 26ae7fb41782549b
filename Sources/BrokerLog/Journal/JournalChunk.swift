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
    /// Room behind `capacity` for the zeros up to the end of the frame's last page, and a page of them where it makes its file
    /// grow.
    static let paddingRoom = 2 * JournalFrame.pageSize

    private(set) var base: UnsafeMutableRawPointer
    private(set) var capacity: Int
    /// Bytes used, `headerRoom` included.
    var used = JournalChunk.headerRoom
    /// Position of the first record.
    var firstPosition: UInt64 = 0
    var recordCount = 0
    var hasMessages = false
    var touches: [ChannelTouch] = []
    /// When it was submitted (monotonic nanoseconds).
    var submittedAt: UInt64 = 0

    /// Enough for what the loop reads from a connection in one go. Only what is used of it is memory.
    static let usualCapacity = 256 << 10

    init(capacity: Int = usualCapacity) {
        unsafe (base, self.capacity) = Self.pages(capacity)
    }

    deinit { unsafe Self.release(base, capacity) }

    /// Memory of at least `bytes` in whole pages, so that it goes straight to the disk, and of `paddingRoom` behind them. It is
    /// the kernel's: among the blocks of messages, which live long, `malloc` would be left with holes as large as chunks.
    private static func pages(_ bytes: Int) -> (base: UnsafeMutableRawPointer, capacity: Int) {
        let page = JournalFrame.pageSize
        let capacity = (bytes + page - 1) / page * page
        let memory = unsafe mmap(
            nil, capacity + paddingRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
            fatalError("no memory for \(capacity) bytes of the journal: a process without memory cannot work")
        }
        return unsafe (memory, capacity)
    }

    /// Gives back what `pages` gave.
    private static func release(_ base: UnsafeMutableRawPointer, _ capacity: Int) {
        unsafe munmap(base, capacity + paddingRoom)
    }

    var isEmpty: Bool { recordCount == 0 }
    var recordBytes: Int { used - Self.headerRoom }
    var lastPosition: UInt64 { firstPosition + UInt64(recordCount) - 1 }

    /// Whether the first record of `next` has the position behind the last one here.
    func isFollowed(by next: JournalChunk) -> Bool {
        next.firstPosition == firstPosition + UInt64(recordCount)
    }

    /// Makes room for `bytes` more, keeping what is there.
    func reserve(_ bytes: Int) {
        guard used + bytes > capacity else { return }
        let larger = unsafe Self.pages(max(capacity * 2, used + bytes))
        unsafe larger.base.copyMemory(from: base, byteCount: used)
        unsafe Self.release(base, capacity)
        unsafe (base, capacity) = larger
    }

    /// Adds the records of `other`, which follow without a gap, and what they touched.
    func absorb(_ other: JournalChunk) {
        add(recordsOf: other)
        for touch in other.touches {
            if touches.last?.channel == touch.channel { touches.removeLast() }
            touches.append(touch)
        }
    }

    /// Becomes one frame of the records of `chunks`, of which each follows the one before without a gap. They stay as they
    /// are, and what they touched is said by them alone.
    func gather(_ chunks: [JournalChunk]) {
        reset()
        firstPosition = chunks[0].firstPosition
        reserve(chunks.reduce(0) { $0 + $1.recordBytes })
        for chunk in chunks { add(recordsOf: chunk) }
    }

    private func add(recordsOf other: JournalChunk) {
        precondition(isFollowed(by: other), "a frame's positions are consecutive")
        reserve(other.recordBytes)
        unsafe (base + used).copyMemory(from: other.base + Self.headerRoom, byteCount: other.recordBytes)
        used += other.recordBytes
        recordCount += other.recordCount
        hasMessages = hasMessages || other.hasMessages
    }

    /// Empties the chunk for its next use.
    func reset() {
        used = Self.headerRoom
        recordCount = 0
        hasMessages = false
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
