import Testing

@testable import BrokerClient

@Suite("A subscription's buffer")
struct MessageBufferTests {
    @Test("says when it is full, and when half of it was taken")
    func fullAndDrained() async throws {
        let (drained, wasDrained) = AsyncStream.makeStream(of: Void.self)
        let buffer = MessageBuffer<Int, ClientError>(limit: 100) { wasDrained.yield() }
        #expect(!buffer.append(1, cost: 60))
        #expect(buffer.append(2, cost: 40))
        #expect(!buffer.append(3, cost: 40), "it is full already")
        #expect(try await buffer.next().get() == 1)
        #expect(try await buffer.next().get() == 2)
        var iterator = drained.makeAsyncIterator()
        await iterator.next()
        #expect(!buffer.append(4, cost: 1), "it counts from what is left")
        #expect(buffer.append(5, cost: 60))
    }

    @Test("an end comes behind what is buffered, an error too")
    func ends() async throws {
        let buffer = MessageBuffer<Int, ClientError>(limit: 100) {}
        _ = buffer.append(1, cost: 1)
        buffer.finish(.connectionLost)
        buffer.finish()
        #expect(!buffer.append(2, cost: 1000))
        #expect(try await buffer.next().get() == 1)
        await #expect(throws: ClientError.connectionLost) { try await buffer.next().get() }
        await #expect(throws: ClientError.connectionLost) { try await buffer.next().get() }
    }

    @Test("a consumer that waits gets the next element, the end, or nil when it is cancelled")
    func waiting() async throws {
        let buffer = MessageBuffer<Int, ClientError>(limit: 100) {}
        async let first = buffer.next()
        _ = buffer.append(1, cost: 1)
        #expect(try await first.get() == 1)
        let task = Task { await buffer.next() }
        task.cancel()
        #expect(try await task.value.get() == nil)
        async let last = buffer.next()
        buffer.finish()
        #expect(try await last.get() == nil)
    }

    @Test("every element arrives once and in order")
    func order() async throws {
        let buffer = MessageBuffer<Int, ClientError>(limit: 50) {}
        let producer = Task.detached {
            for number in 0..<10_000 { _ = buffer.append(number, cost: 1) }
            buffer.finish()
        }
        var expected = 0
        while let number = try await buffer.next().get() {
            #expect(number == expected)
            expected += 1
        }
        #expect(expected == 10_000)
        await producer.value
    }
}
