/// Publishes whose acknowledgement waits for the disk, first in, first out.
///
/// One block of bytes in place of an object a message: an entry is a header of 32 bytes (position,
/// sequence, channel, lengths of reply and guid) and the bytes of both. Invariants: `head` and
/// `tail` are offsets of entry boundaries, `head <= tail <= capacity`, and every entry between them
/// was written as a whole by `append`.
@safe struct AcknowledgementQueue: ~Copyable {
    /// One waiting publish; the views are valid until the queue changes.
    @unsafe struct Entry {
        var position: UInt64
        var sequence: UInt64
        var channel: UInt32
        var reply: UnsafeRawBufferPointer
        var guid: UnsafeRawBufferPointer
        fileprivate var end: Int
    }

    private static var headerSize: Int { 32 }
    private static var initialCapacity: Int { 1 << 16 }
    /// More memory than this is given back when the queue has emptied; usual numbers of publishes need less.
    private static var largestKept: Int { 4 << 20 }

    private var memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: AcknowledgementQueue.initialCapacity, alignment: 8)
    private var head = 0
    private var tail = 0

    /// Publishes waiting.
    private(set) var count = 0

    /// Bytes of the publishes waiting.
    var bytes: Int { tail - head }

    /// Bytes of memory that the queue holds.
    var capacity: Int { unsafe memory.count }

    deinit { unsafe memory.deallocate() }

    mutating func append(
        position: UInt64, sequence: UInt64, channel: UInt32, reply: UnsafeRawBufferPointer,
        guid: UnsafeRawBufferPointer
    ) {
        let size = (Self.headerSize + reply.count + guid.count + 7) & ~7
        reserve(size)
        unsafe memory.storeBytes(of: position, toByteOffset: tail, as: UInt64.self)
        unsafe memory.storeBytes(of: sequence, toByteOffset: tail + 8, as: UInt64.self)
        unsafe memory.storeBytes(of: channel, toByteOffset: tail + 16, as: UInt32.self)
        unsafe memory.storeBytes(of: UInt32(reply.count), toByteOffset: tail + 20, as: UInt32.self)
        unsafe memory.storeBytes(of: UInt32(guid.count), toByteOffset: tail + 24, as: UInt32.self)
        let base = unsafe UnsafeMutableRawBufferPointer(
            rebasing: memory[(tail + Self.headerSize)..<(tail + size)])
        unsafe base.copyMemory(from: reply)
        unsafe UnsafeMutableRawBufferPointer(rebasing: base[reply.count...]).copyMemory(from: guid)
        tail += size
        count += 1
    }

    /// The first entry; nil if nothing waits.
    var first: Entry? { unsafe head < tail ? entry(at: head) : nil }

    mutating func removeFirst() {
        guard let first = unsafe first else { return }
        unsafe head = first.end
        count -= 1
        if head == tail {
            head = 0
            tail = 0
            if capacity > Self.largestKept {
                unsafe memory.deallocate()
                unsafe memory = .allocate(byteCount: Self.initialCapacity, alignment: 8)
            }
        }
    }

    /// Calls `body` with each entry up to `position`, oldest first, and leaves them where they are.
    func forEach(upTo position: UInt64, _ body: (borrowing Entry) -> Void) {
        var offset = head
        while offset < tail {
            let next = unsafe entry(at: offset)
            guard unsafe next.position <= position else { return }
            unsafe body(next)
            unsafe offset = next.end
        }
    }

    private func entry(at offset: Int) -> Entry {
        let replyCount = unsafe Int(memory.load(fromByteOffset: offset + 20, as: UInt32.self))
        let guidCount = unsafe Int(memory.load(fromByteOffset: offset + 24, as: UInt32.self))
        let start = offset + Self.headerSize
        return unsafe Entry(
            position: memory.load(fromByteOffset: offset, as: UInt64.self),
            sequence: memory.load(fromByteOffset: offset + 8, as: UInt64.self),
            channel: memory.load(fromByteOffset: offset + 16, as: UInt32.self),
            reply: UnsafeRawBufferPointer(rebasing: memory[start..<start + replyCount]),
            guid: UnsafeRawBufferPointer(
                rebasing: memory[(start + replyCount)..<(start + replyCount + guidCount)]),
            end: offset + (Self.headerSize + replyCount + guidCount + 7) & ~7)
    }

    private mutating func reserve(_ size: Int) {
        if unsafe memory.count - tail >= size { return }
        let used = tail - head
        if unsafe used + size <= memory.count / 2 {
            // More than half is free in front: move down.
            unsafe memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[head..<tail]))
        } else {
            let larger = unsafe UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(memory.count * 2, used + size), alignment: 8)
            unsafe larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[head..<tail]))
            unsafe memory.deallocate()
            unsafe memory = larger
        }
        head = 0
        tail = used
    }
}
