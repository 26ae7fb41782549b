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

@Suite("State records")
struct StateRecordTests {
    private static let records: [StateRecord] = [
        .subjects(StreamingSubjects(clusterID: "vc", discoverPrefix: "_STAN.discover")),
        .clientAdded(
            ClientRecord(
                id: Array("me".utf8), heartbeatInbox: Array("_HB".utf8), connectionID: [0, 255],
                protocolVersion: 1, pingIntervalSeconds: -5, pingMaxOut: .max)),
        .clientRemoved(id: Array("me".utf8)),
        .subscriptionPut(
            SubscriptionRecord(
                id: .max, channel: .max, clientID: [], queueGroup: Array("q".utf8),
                durableName: Array("d".utf8), inbox: Array("i".utf8), ackInbox: Array("a".utf8),
                maxInFlight: 1_024, ackWaitSeconds: 30, lastSent: 1 << 40, isClosed: true)),
        .subscriptionRemoved(id: 300),
        .sent(subscription: 1, SequenceRanges(ascending: [1, 2, 3, 9])),
        .acknowledged(subscription: 1, descending),
        .subscriptionIDs(last: 127),
    ]

    /// Ranges need not ascend.
    private static var descending: SequenceRanges {
        var ranges = SequenceRanges()
        for sequence in [500, 7, 8, UInt64.max] as [UInt64] { ranges.append(sequence) }
        return ranges
    }

    private static func encoded(_ records: [StateRecord]) -> [UInt8] {
        var writer = StateWriter()
        for record in records { record.encode(into: &writer) }
        return writer.buffer
    }

    @Test("what is written is read, one after the other")
    func roundTrip() {
        var reader = StateReader(Self.encoded(Self.records))
        for record in Self.records {
            let read = StateRecord(reading: &reader)
            #expect(read == record)
        }
        #expect(reader.isAtEnd)
    }

    @Test("a record that was cut short is none")
    func truncated() {
        for record in Self.records {
            let bytes = Self.encoded([record])
            for length in 0..<bytes.count {
                var reader = StateReader(Array(bytes.prefix(length)))
                let read = StateRecord(reading: &reader)
                #expect(read == nil)
            }
        }
    }

    @Test("bytes of chance are read without harm")
    func hostile() {
        let seed = engineSeed()
        var random = SeededGenerator(seed: seed)
        let good = Self.encoded(Self.records)
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<(1 + random.next() % 4) {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            var reader = StateReader(bytes)
            while !reader.isAtEnd, StateRecord(reading: &reader) != nil {}
        }
    }

    @Test("lengths and counts beyond the bytes that are there are refused before memory is taken")
    func hugeLengths() {
        let huge: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]
        let largest: [UInt8] = [UInt8](repeating: 0xFF, count: 9) + [1]
        for bytes in [[3] + huge, [6, 1] + huge, [6, 1, 1, 0, 0], [6, 1, 1] + largest + [1]] as [[UInt8]] {
            var reader = StateReader(bytes)
            let read = StateRecord(reading: &reader)
            #expect(read == nil)
        }
    }

    @Test("a replayed range that no member can have is bounded by what is pending")
    func replayOfHugeAcknowledgement() {
        var state = RecoveredState()
        var record = SubscriptionRecord()
        record.id = 1
        var all = SequenceRanges()
        all.append(1...UInt64.max - 1)
        let bytes = Self.encoded([
            .subscriptionPut(record), .sent(subscription: 1, SequenceRanges(ascending: [1, 2, 5])),
            .acknowledged(subscription: 1, all),
        ])
        let isReadable = state.replay(bytes)
        #expect(isReadable)
        #expect(state.subscriptions[1]?.pending == [])
        #expect(state.subscriptions[1]?.record.lastSent == 5)
    }
}
