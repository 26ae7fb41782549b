import Glibc
import NIOCore
import Testing

@testable import Broker

@Suite("output buffers")
struct OutputBufferTests {
    /// Memory for chunks that lives as long as a test.
    private func withPool(_ body: (UnsafeMutablePointer<OutputChunks>) -> Void) {
        let pool = UnsafeMutablePointer<OutputChunks>.allocate(capacity: 1)
        pool.initialize(to: OutputChunks())
        body(pool)
        pool.deinitialize(count: 1)
        pool.deallocate()
    }

    private func append(
        _ bytes: [UInt8], to buffer: inout OutputBuffer, _ pool: UnsafeMutablePointer<OutputChunks>,
        limit: Int
    ) -> Bool {
        bytes.withUnsafeBytes { buffer.append($0, chunks: pool, maximumPending: limit) }
    }

    private func appendFrame(
        _ bytes: [UInt8], to buffer: inout OutputBuffer, _ pool: UnsafeMutablePointer<OutputChunks>,
        limit: Int
    ) -> Bool {
        let prefix: [UInt8] = Array("P ".utf8)
        let head: [UInt8] = Array("H ".utf8)
        return prefix.withUnsafeBufferPointer { prefix in
            head.withUnsafeBytes { head in
                bytes.withUnsafeBytes { body in
                    buffer.appendFrame(
                        prefix: prefix.baseAddress!, prefixCount: 2, head: head, body: body, chunks: pool,
                        maximumPending: limit)
                }
            }
        }
    }

    @Test("give out exactly what was put in, whatever the sizes and however it is written")
    func contents() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("output buffer: seed \(seed); replay by putting it into OutputBufferTests.contents")
        var generator = SeededGenerator(seed: seed)
        let socket = SmallSocket()
        withPool { pool in
            var buffer = OutputBuffer()
            var expected: [UInt8] = []
            var written: [UInt8] = []
            let limit = 1 << 20
            for _ in 0..<2_000 {
                let size =
                    Bool.random(using: &generator)
                    ? Int.random(in: 0...300, using: &generator)
                    : Int.random(in: 0...150_000, using: &generator)
                let bytes = [UInt8](repeating: UInt8.random(in: 0...255, using: &generator), count: size)
                let pending = buffer.pending
                if Bool.random(using: &generator) {
                    let isAccepted = append(bytes, to: &buffer, pool, limit: limit)
                    #expect(isAccepted == (pending + size <= limit))
                    if isAccepted { expected += bytes }
                } else {
                    let isAccepted = appendFrame(bytes, to: &buffer, pool, limit: limit)
                    #expect(isAccepted == (pending + size + 6 <= limit))
                    if isAccepted { expected += Array("P H ".utf8) + bytes + [0x0D, 0x0A] }
                }
                let total = buffer.pending
                #expect(total == expected.count - written.count)
                if Int.random(in: 0..<3, using: &generator) == 0 {
                    let queued = buffer.queued
                    let hasWritten = buffer.write(to: socket.writer, chunks: pool)
                    let taken = socket.drain()
                    written += taken
                    let left = buffer.queued
                    #expect(left == queued - taken.count && hasWritten == (left == 0 && queued > 0))
                }
                if Int.random(in: 0..<4, using: &generator) == 0 {
                    var now: [UInt8] = []
                    _ = buffer.startWrite(limit: 200_000) { now += $0.readableBytesView }
                    let inFlight = buffer.bytesInFlight
                    #expect(inFlight == now.count)
                    written += now
                    buffer.writeFinished(chunks: pool)
                }
            }
            while buffer.startWrite(limit: .max, { written += $0.readableBytesView }) {
                buffer.writeFinished(chunks: pool)
            }
            #expect(written == expected)
            let left = buffer.pending
            #expect(left == 0)
        }
    }

    @Test("a write to the socket takes what fits, and nothing out of turn")
    func direct() {
        let socket = SmallSocket()
        withPool { pool in
            var buffer = OutputBuffer()
            let isEmptyWritten = buffer.write(to: socket.writer, chunks: pool)
            #expect(!isEmptyWritten)
            _ = append(Array("one".utf8), to: &buffer, pool, limit: 1 << 20)
            let (isWrittenToNone, isWritten) = (
                buffer.write(to: -1, chunks: pool), buffer.write(to: socket.writer, chunks: pool)
            )
            #expect(!isWrittenToNone && isWritten && socket.drain().text == "one")

            // More than the socket takes, and more behind it.
            let bytes = (0..<60_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            _ = append(bytes, to: &buffer, pool, limit: 1 << 20)
            let isAllWritten = buffer.write(to: socket.writer, chunks: pool)
            _ = append(Array("two".utf8), to: &buffer, pool, limit: 1 << 20)
            let taken = socket.drain()
            #expect(!isAllWritten && !taken.isEmpty && taken.count < bytes.count)
            let pending = buffer.pending
            #expect(pending == bytes.count + 3 - taken.count)
            // What is in flight is the channel's, and comes first.
            var rest: [UInt8] = []
            _ = buffer.startWrite(limit: 1) { rest += $0.readableBytesView }
            _ = append(Array("three".utf8), to: &buffer, pool, limit: 1 << 20)
            let isWrittenOutOfTurn = buffer.write(to: socket.writer, chunks: pool)
            #expect(!isWrittenOutOfTurn && socket.drain().isEmpty)
            buffer.writeFinished(chunks: pool)
            while buffer.startWrite(limit: 1 << 20, { rest += $0.readableBytesView }) {
                buffer.writeFinished(chunks: pool)
            }
            #expect(taken + rest == bytes + Array("twothree".utf8))

            // Of a single byte the channel says too early that it was written: nothing may pass it.
            _ = append([1], to: &buffer, pool, limit: 1 << 20)
            _ = buffer.startWrite(limit: 1) { _ in }
            buffer.writeFinished(chunks: pool)
            _ = append([2, 3], to: &buffer, pool, limit: 1 << 20)
            let hasPassed = buffer.write(to: socket.writer, chunks: pool)
            #expect(!hasPassed)
            _ = buffer.startWrite(limit: 2) { _ in }
            buffer.writeFinished(chunks: pool)
            _ = append([4], to: &buffer, pool, limit: 1 << 20)
            let goesOn = buffer.write(to: socket.writer, chunks: pool)
            #expect(goesOn && socket.drain() == [4])

            // Where nobody reads any more the channel finds out.
            socket.closeReader()
            _ = append(Array("four".utf8), to: &buffer, pool, limit: 1 << 20)
            let isWrittenToNobody = buffer.write(to: socket.writer, chunks: pool)
            let left = buffer.pending
            #expect(!isWrittenToNobody && left == 4)
        }
    }

    @Test("what was discarded is not pending")
    func discard() {
        withPool { pool in
            var buffer = OutputBuffer()
            let first = append([1, 2, 3], to: &buffer, pool, limit: 100)
            #expect(first)
            buffer.discard(chunks: pool)
            let pending = buffer.pending
            #expect(pending == 0)
            let hasNothing = !buffer.startWrite(limit: 100) { _ in }
            #expect(hasNothing)
        }
    }

    @Test("a chunk that somebody still holds is not written over")
    func sharing() {
        withPool { pool in
            var buffer = OutputBuffer()
            _ = append(Array("first".utf8), to: &buffer, pool, limit: 100)
            var held: ByteBuffer?
            _ = buffer.startWrite(limit: 100) { held = $0 }
            buffer.writeFinished(chunks: pool)
            _ = append(Array("other".utf8), to: &buffer, pool, limit: 100)
            #expect(held.map { $0.readableBytesView.text } == "first")
        }
    }
}

/// A pair of sockets that takes a few kilobytes.
private final class SmallSocket {
    let writer: Int32
    private var reader: Int32

    init() {
        var pair: [Int32] = [-1, -1]
        let result = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair)
        precondition(result == 0, "a test without two sockets cannot test them")
        var size: Int32 = 4_096
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, 4)
        (writer, reader) = (pair[0], pair[1])
    }

    deinit {
        close(writer)
        if reader >= 0 { close(reader) }
    }

    func closeReader() {
        close(reader)
        reader = -1
    }

    /// What was written since.
    func drain() -> [UInt8] {
        var found: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(reader, &part, part.count, Int32(MSG_DONTWAIT))
            if count <= 0 { return found }
            found += part[..<count]
        }
    }
}
