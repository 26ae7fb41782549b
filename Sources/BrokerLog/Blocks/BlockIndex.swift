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

/// The sealed blocks of a channel in order of sequence. Dropping from the front is cheap.
struct BlockIndex {
    private var entries: [BlockEntry] = []
    private var head = 0

    var count: Int { entries.count - head }
    var isEmpty: Bool { head == entries.count }
    var first: BlockEntry? { isEmpty ? nil : entries[head] }
    var last: BlockEntry? { isEmpty ? nil : entries[entries.count - 1] }

    /// Entry `index` from the oldest, 0.
    subscript(index: Int) -> BlockEntry {
        get { entries[head + index] }
        _modify { yield &entries[head + index] }
    }

    mutating func append(_ entry: BlockEntry) { entries.append(entry) }

    /// Removes the `count` oldest.
    mutating func removeFirst(_ count: Int = 1) {
        for index in head..<(head + count) { entries[index].storage = nil }
        head += count
        if head >= 64, head * 2 >= entries.count {
            entries.removeFirst(head)
            head = 0
        }
    }

    mutating func remove(at index: Int) { entries.remove(at: head + index) }

    mutating func removeLast() -> BlockEntry { entries.removeLast() }

    /// Index of the first block whose last sequence is at or above `sequence`; `count` if none is.
    func firstIndex(reaching sequence: UInt64) -> Int {
        partition { $0.summary.lastSequence >= sequence }
    }

    /// Index of the first block whose last time is at or after `time`; `count` if none is.
    func firstIndex(atOrAfter time: Int64) -> Int {
        partition { $0.summary.lastTimestamp >= time }
    }

    private func partition(_ belongs: (BlockEntry) -> Bool) -> Int {
        var low = head
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if belongs(entries[middle]) { high = middle } else { low = middle + 1 }
        }
        return low - head
    }
}
