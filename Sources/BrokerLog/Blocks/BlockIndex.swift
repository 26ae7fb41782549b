/// Where a block lies on disk.
struct BlockLocation: Equatable, Sendable {
    /// First sequence of the segment file, which is its name.
    var segment: UInt64
    /// Byte offset of the block's header in the file.
    var offset: UInt64
    /// Bytes of header and stored data together.
    var size: UInt32
}

/// What is known of one sealed block without its bytes.
struct BlockSummary: Equatable, Sendable {
    var firstSequence: UInt64
    var count: UInt32
    var rawSize: UInt32
    var firstTimestamp: Int64
    var lastTimestamp: Int64
    var firstPosition: UInt64
    var lastPosition: UInt64
    /// Sum of the accounted sizes of its messages.
    var bytes: UInt64

    var lastSequence: UInt64 { firstSequence + UInt64(count) - 1 }

    /// Whether a block that is on disk may say this of itself.
    var isPlausible: Bool {
        count > 0 && firstSequence > 0 && firstSequence < Record.numberLimit && rawSize <= Record.maximumSize
            && Int(rawSize) >= Int(count) * Record.headerSize && firstPosition < Record.numberLimit
            && lastPosition < Record.numberLimit && bytes < Self.mostBytes
    }

    /// Above what the accounted sizes of a block come to, each with the longest name of a channel.
    private static let mostBytes: UInt64 = 1 << 40
}

/// A sealed block of a channel.
struct BlockEntry {
    var summary: BlockSummary
    /// Nil until the background thread wrote it.
    var location: BlockLocation?
    /// Nil when only the disk has it.
    var storage: BlockStorage?
    /// Read since the cache looked at it.
    var referenced = false
    /// A read is under way.
    var loading = false
}

/// The sealed blocks of a channel in order of sequence, in pages. Adding at the end and dropping from the front never move
/// more than one page: the log's loop does both, and every publisher waits for it.
struct BlockIndex {
    /// Each but the last has `pageSize` entries; none is empty.
    private var pages: [[BlockEntry]] = []
    /// Entries at the front of the first page that are gone; fewer than the page has.
    private var head = 0
    private(set) var count = 0

    /// Entries of a page.
    static let pageSize = 256

    var isEmpty: Bool { count == 0 }
    var first: BlockEntry? { isEmpty ? nil : self[0] }
    var last: BlockEntry? { isEmpty ? nil : self[count - 1] }

    /// Entry `index` from the oldest, 0.
    subscript(index: Int) -> BlockEntry {
        // Not `_read`: over an array of arrays it gave other entries in optimised builds (Swift 6.3).
        get { pages[(head + index) / Self.pageSize][(head + index) % Self.pageSize] }
        _modify { yield &pages[(head + index) / Self.pageSize][(head + index) % Self.pageSize] }
    }

    mutating func append(_ entry: BlockEntry) {
        if (head + count) % Self.pageSize == 0 {
            pages.append([])
            // A channel of many blocks; one of a few takes no more than it needs.
            if pages.count > 1 { pages[pages.count - 1].reserveCapacity(Self.pageSize) }
        }
        pages[pages.count - 1].append(entry)
        count += 1
    }

    /// Removes the `removed` oldest.
    mutating func removeFirst(_ removed: Int = 1) {
        precondition(removed <= count, "only what is there goes")
        count -= removed
        guard count > 0 else { return removeAll() }
        let gone = (head + removed) / Self.pageSize
        let past = (head + removed) % Self.pageSize
        // Entries of whole pages go with these.
        for index in (gone > 0 ? 0 : head)..<past { pages[gone][index].storage = nil }
        pages.removeFirst(gone)
        head = past
    }

    /// Removes entry `index`; those behind it move up.
    mutating func remove(at index: Int) {
        for next in (index + 1)..<count { self[next - 1] = self[next] }
        _ = removeLast()
    }

    mutating func removeLast() -> BlockEntry {
        let last = pages[pages.count - 1].removeLast()
        count -= 1
        if count == 0 { removeAll() } else if pages[pages.count - 1].isEmpty { pages.removeLast() }
        return last
    }

    private mutating func removeAll() {
        (pages, head, count) = ([], 0, 0)
    }

    /// Index of the first block whose last sequence is at or above `sequence`; `count` if none is.
    func firstIndex(reaching sequence: UInt64) -> Int {
        partition { $0.summary.lastSequence >= sequence }
    }

    /// Index of the first block whose last time is at or after `time`; `count` if none is.
    func firstIndex(atOrAfter time: Int64) -> Int {
        partition { $0.summary.lastTimestamp >= time }
    }

    private func partition(_ belongs: (BlockEntry) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if belongs(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
