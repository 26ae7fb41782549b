import Testing

@testable import Broker

@Suite("Timers, tables and queues of the engine")
struct EngineStructuresTests {
    @Test("timers come out by deadline and never before it")
    func deadlineHeap() {
        let seed = engineSeed()
        var random = SeededGenerator(seed: seed)
        var heap = DeadlineHeap<UInt64>()
        var model: [UInt64] = []
        var now: UInt64 = 0
        for _ in 0..<5_000 {
            if random.next() % 3 != 0 {
                let deadline = now + random.next() % 100
                heap.insert(deadline, at: deadline)
                model.append(deadline)
            } else {
                now += random.next() % 20
                var due: [UInt64] = []
                while let item = heap.popDue(now) { due.append(item) }
                #expect(due == model.filter { $0 <= now }.sorted(), "seed \(seed)")
                model.removeAll { $0 <= now }
            }
            #expect(heap.earliest == model.min(), "seed \(seed)")
        }
    }

    @Test("a table by bytes does what a dictionary does")
    func byteKeyedTable() {
        let seed = engineSeed()
        var random = SeededGenerator(seed: seed)
        var table = ByteKeyedTable<Int>()
        var model: [[UInt8]: Int] = [:]
        for step in 0..<20_000 {
            // Lengths around the eight bytes that the hash takes at a time, the empty key among them.
            let length = Int(random.next() % 19)
            let key = (0..<length).map { UInt8(truncatingIfNeeded: random.next() % ($0 < 2 ? 12 : 1)) }
            switch random.next() % 3 {
            case 0:
                table[key] = step
                model[key] = step
            case 1:
                table[key] = nil
                model[key] = nil
            default: #expect(table[key] == model[key], "seed \(seed)")
            }
            #expect(table.count == model.count, "seed \(seed)")
        }
        for (key, value) in model { #expect(table[key] == value, "seed \(seed)") }
        #expect(table.values.sorted() == model.values.sorted(), "seed \(seed)")
    }

    @Test("acknowledgements leave in the order in which they came, with their bytes")
    func acknowledgementQueue() {
        let seed = engineSeed()
        var random = SeededGenerator(seed: seed)
        var queue = AcknowledgementQueue()
        var model: [(position: UInt64, reply: [UInt8], guid: [UInt8])] = []
        var position: UInt64 = 0
        for _ in 0..<20_000 {
            if random.next() % 5 < 3 {
                position += random.next() % 2
                let reply = [UInt8](
                    repeating: UInt8(truncatingIfNeeded: position), count: Int(random.next() % 60))
                let guid = [UInt8](repeating: 7, count: Int(random.next() % 200))
                reply.withUnsafeBytes { reply in
                    guid.withUnsafeBytes { guid in
                        queue.append(
                            position: position, sequence: position * 2, channel: 3, reply: reply, guid: guid)
                    }
                }
                model.append((position, reply, guid))
            } else if let entry = queue.first {
                let expected = model.removeFirst()
                #expect(entry.position == expected.position, "seed \(seed)")
                #expect(entry.sequence == expected.position * 2 && entry.channel == 3, "seed \(seed)")
                #expect(Array(entry.reply) == expected.reply, "seed \(seed)")
                #expect(Array(entry.guid) == expected.guid, "seed \(seed)")
                queue.removeFirst()
            }
            #expect(queue.count == model.count, "seed \(seed)")
        }
        var seen = 0
        queue.forEach(upTo: position / 2) { _ in seen += 1 }
        #expect(seen == model.prefix { $0.position <= position / 2 }.count, "seed \(seed)")
    }

    @Test("bytes and durations read as the original prints them")
    func texts() {
        #expect(ByteText.string(0) == "0 B")
        #expect(ByteText.string(54) == "54 B")
        #expect(ByteText.string(1_024) == "1.00 KB")
        #expect(ByteText.string(1_024_000_000) == "976.56 MB")
        #expect(ByteText.string(1 << 40) == "1.00 TB")
        #expect(DurationText.string(0) == "0s")
        #expect(DurationText.string(12) == "12ns")
        #expect(DurationText.string(1_500) == "1.5µs")
        #expect(DurationText.string(300_000_000) == "300ms")
        #expect(DurationText.string(1_500_000_000) == "1.5s")
        #expect(DurationText.string(60_000_000_000) == "1m0s")
        #expect(DurationText.string(3_600_000_000_000) == "1h0m0s")
        #expect(DurationText.string(90_061_500_000_000) == "25h1m1.5s")
    }
}
