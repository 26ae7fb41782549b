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
