import Glibc
import NIOCore

/// Memory for outgoing bytes, in pieces of one size, used again and again by all connections of a loop.
struct OutputChunks {
    /// Bytes of a chunk: a read of 256 KiB fills a few, a PONG touches one page.
    static let size = 65_536
    /// Chunks kept for the next tick: 4 MiB.
    private static let maximumKept = 64

    private var free: [ByteBuffer] = []
    private let allocator = ByteBufferAllocator()

    /// A chunk whose storage nobody else holds, all of it "written".
    mutating func take() -> ByteBuffer {
        var chunk = free.popLast() ?? allocator.buffer(capacity: Self.size)
        // New storage if somebody still looks at the old one.
        chunk.clear(minimumCapacity: Self.size)
        chunk.moveWriterIndex(to: Self.size)
        return chunk
    }

    mutating func giveBack(_ chunk: ByteBuffer) {
        if free.count < Self.maximumKept { free.append(chunk) }
    }
}

/// What waits to be written to one connection.
///
/// Bytes are written straight into the storage of `ByteBuffer`s from which they go to the socket, so that they are copied once.
/// Invariants: `position..<position + remaining` lies in the last chunk's storage, which nobody else holds
/// while it is filled; `remaining` is 0 when there is no chunk. `remaining` never exceeds what the
/// connection may have pending, so that a look at it is enough on the fast path.
@safe struct OutputBuffer: ~Copyable {
    /// Where the next byte goes.
    private(set) var position: UnsafeMutablePointer<UInt8>?
    /// Bytes that can be written there.
    private(set) var remaining = 0
    private var chunkStart: UnsafeMutablePointer<UInt8>?
    /// The last one is being filled.
    private var chunks: [ByteBuffer] = []
    /// Bytes in all chunks but the last.
    private var fullBytes = 0
    /// SwiftNIO was given one byte alone, which it says to have written before it has: the water marks of a channel cannot be
    /// below one. What it is given next it says so of when all of it is on the socket.
    private var mayLinger = false
    /// Handed to SwiftNIO and not yet on the socket.
    private var inFlight: [ByteBuffer] = []
    private(set) var bytesInFlight = 0

    /// Pieces handed to SwiftNIO and not yet on the socket.
    var chunksInFlight: Int { inFlight.count }

    /// Bytes queued and not yet taken by the socket.
    var pending: Int { bytesInFlight + queued }

    /// Bytes that no write was begun for.
    var queued: Int {
        guard let position = unsafe position, let chunkStart = unsafe chunkStart else { return fullBytes }
        return unsafe fullBytes + (position - chunkStart)
    }

    /// Writes a frame whose parts follow one another, and CR LF. False, and nothing written, when more
    /// than `maximumPending` bytes would be pending.
    @inline(__always)
    mutating func appendFrame(
        prefix: UnsafePointer<UInt8>, prefixCount: Int, head: UnsafeRawBufferPointer,
        body: UnsafeRawBufferPointer, chunks pool: UnsafeMutablePointer<OutputChunks>, maximumPending: Int
    ) -> Bool {
        let size = prefixCount &+ head.count &+ body.count &+ 2
        guard size <= remaining, let start = unsafe position else {
            return unsafe appendSlowly(
                [UnsafeRawBufferPointer(start: prefix, count: prefixCount), head, body], size: size,
                endsLine: true, pool, maximumPending)
        }
        var cursor = UnsafeMutableRawPointer(start)
        unsafe cursor.copyMemory(from: prefix, byteCount: prefixCount)
        unsafe cursor += prefixCount
        if head.count > 0, let base = head.baseAddress {
            unsafe cursor.copyMemory(from: base, byteCount: head.count)
            unsafe cursor += head.count
        }
        if body.count > 0, let base = body.baseAddress {
            unsafe cursor.copyMemory(from: base, byteCount: body.count)
            unsafe cursor += body.count
        }
        unsafe cursor.storeBytes(of: UInt16(littleEndian: 0x0A0D), as: UInt16.self)
        unsafe position = unsafe start + size
        remaining &-= size
        return true
    }

    /// Writes `bytes`. False, and nothing written, when more than `maximumPending` bytes would be pending.
    mutating func append(
        _ bytes: UnsafeRawBufferPointer, chunks pool: UnsafeMutablePointer<OutputChunks>, maximumPending: Int
    ) -> Bool {
        guard bytes.count <= remaining, let start = unsafe position, let base = bytes.baseAddress else {
            return unsafe appendSlowly([bytes], size: bytes.count, endsLine: false, pool, maximumPending)
        }
        unsafe UnsafeMutableRawPointer(start).copyMemory(from: base, byteCount: bytes.count)
        unsafe position = unsafe start + bytes.count
        remaining -= bytes.count
        return true
    }

    @inline(never)
    private mutating func appendSlowly(
        _ parts: [UnsafeRawBufferPointer], size: Int, endsLine: Bool,
        _ pool: UnsafeMutablePointer<OutputChunks>, _ maximumPending: Int
    ) -> Bool {
        guard pending + size <= maximumPending else { return false }
        for index in unsafe parts.indices { unsafe copyOver(parts[index], pool, maximumPending) }
        if endsLine {
            let lineEnd: (UInt8, UInt8) = (0x0D, 0x0A)
            unsafe withUnsafeBytes(of: lineEnd) { unsafe copyOver($0, pool, maximumPending) }
        }
        return true
    }

    /// Copies `part` over as many chunks as it takes.
    private mutating func copyOver(
        _ part: UnsafeRawBufferPointer, _ pool: UnsafeMutablePointer<OutputChunks>, _ maximumPending: Int
    ) {
        var rest = unsafe part
        while rest.count > 0 {
            if remaining == 0 { unsafe addChunk(pool, maximumPending) }
            guard let start = unsafe position, let base = rest.baseAddress else { return }
            let count = min(rest.count, remaining)
            unsafe UnsafeMutableRawPointer(start).copyMemory(from: base, byteCount: count)
            unsafe position = unsafe start + count
            remaining -= count
            unsafe rest = unsafe UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    private mutating func addChunk(_ pool: UnsafeMutablePointer<OutputChunks>, _ maximumPending: Int) {
        if let position = unsafe position, let chunkStart = unsafe chunkStart {
            let used = unsafe position - chunkStart
            if used < OutputChunks.size {
                // The last chunk was cut short by the limit on pending bytes, which has moved since.
                remaining = min(OutputChunks.size - used, maximumPending - pending)
                if remaining > 0 { return }
            }
        }
        closeChunk()
        unsafe chunks.append(pool.pointee.take())
        // The storage is ours alone until the chunk is handed to SwiftNIO, and stays where it is.
        let start = unsafe chunks[chunks.count - 1].withUnsafeReadableBytesWithStorageManagement { bytes, _ in
            unsafe UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        }
        unsafe chunkStart = unsafe start?.assumingMemoryBound(to: UInt8.self)
        unsafe position = unsafe chunkStart
        remaining = min(OutputChunks.size, max(maximumPending - pending, 1))
    }

    /// Ends the chunk that is being filled.
    private mutating func closeChunk() {
        guard let position = unsafe position, let chunkStart = unsafe chunkStart else { return }
        let used = unsafe position - chunkStart
        chunks[chunks.count - 1].moveWriterIndex(to: used)
        fullBytes += used
        unsafe self.position = nil
        unsafe self.chunkStart = nil
        remaining = 0
    }

    /// Writes what is queued straight to the socket, where it is one chunk and nothing is in flight before it: the way through
    /// the channel costs as much again as the call. False if something is left, all of it or a part, for `startWrite`, which
    /// also finds out what is wrong with the socket.
    mutating func write(to descriptor: Int32, chunks pool: UnsafeMutablePointer<OutputChunks>) -> Bool {
        guard descriptor >= 0, inFlight.isEmpty, !mayLinger, chunks.count == 1,
            let position = unsafe position,
            let chunkStart = unsafe chunkStart
        else { return false }
        let used = unsafe position - chunkStart
        let taken = unsafe Glibc.send(descriptor, chunkStart, used, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        if taken == used {
            unsafe self.position = nil
            unsafe self.chunkStart = nil
            remaining = 0
            unsafe pool.pointee.giveBack(chunks.removeLast())
            return true
        }
        if taken > 0 {
            closeChunk()
            chunks[0].moveReaderIndex(forwardBy: taken)
            fullBytes -= taken
        }
        return false
    }

    /// Hands up to `limit` bytes' worth of chunks to `write`; they count as in flight until
    /// `writeFinished`. Returns false when there was nothing to write.
    mutating func startWrite(limit: Int, _ write: (ByteBuffer) -> Void) -> Bool {
        closeChunk()
        guard !chunks.isEmpty else { return false }
        var count = 0
        while count < chunks.count, count == 0 || bytesInFlight < limit {
            bytesInFlight += chunks[count].readableBytes
            fullBytes -= chunks[count].readableBytes
            count += 1
        }
        inFlight.append(contentsOf: chunks[..<count])
        chunks.removeFirst(count)
        mayLinger = bytesInFlight == 1
        for index in inFlight.count - count..<inFlight.count { write(inFlight[index]) }
        return true
    }

    /// Everything in flight is on the socket.
    mutating func writeFinished(chunks pool: UnsafeMutablePointer<OutputChunks>) {
        for chunk in inFlight { unsafe pool.pointee.giveBack(chunk) }
        inFlight.removeAll(keepingCapacity: inFlight.count < 16)
        bytesInFlight = 0
    }

    /// Drops what was not handed over.
    mutating func discard(chunks pool: UnsafeMutablePointer<OutputChunks>) {
        closeChunk()
        for chunk in chunks { unsafe pool.pointee.giveBack(chunk) }
        chunks.removeAll()
        fullBytes = 0
    }
}
