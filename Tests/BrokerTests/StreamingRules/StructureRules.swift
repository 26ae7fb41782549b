import Foundation
import Testing

@testable import Broker

/// The seeds of the random tests: one given by hand, or a few that are always the same.
enum Seeds {
    static var all: [UInt64] {
        if let given = ProcessInfo.processInfo.environment["STREAMING_SEED"].flatMap({ UInt64($0) }) {
            return [given]
        }
        return Array(1...20)
    }

    static func replay(_ seed: UInt64, _ suite: String) -> Comment {
        "seed \(seed); replay: STREAMING_SEED=\(seed) swift test --filter \(suite)"
    }
}

@Suite("Streaming: the structures that the engine is made of")
struct StructureRules {
    @Test("a pending set holds what a dictionary would", arguments: Seeds.all)
    func pendingSet(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var set = PendingSet()
        var model: [UInt64: UInt64] = [:]
        // Narrow ranges of sequences collide, wide ones grow the table.
        let range = [8, 40, 1_000, 1 << 40].randomElement(using: &random) ?? 8
        for _ in 0..<3_000 {
            let sequence = UInt64.random(in: 1...UInt64(range), using: &random)
            if UInt8.random(in: 0..<10, using: &random) < 6 {
                let deadline = random.next()
                set.insert(sequence, deadline: deadline)
                model[sequence] = deadline
            } else {
                let known = Bool.random(using: &random) ? model.keys.min() ?? sequence : sequence
                let removed = set.remove(known)
                #expect(
                    removed == (model.removeValue(forKey: known) != nil), Seeds.replay(seed, "StructureRules")
                )
            }
            #expect(set.deadline(of: sequence) == model[sequence], Seeds.replay(seed, "StructureRules"))
        }
        #expect(set.count == model.count, Seeds.replay(seed, "StructureRules"))
        #expect(set.sequences == model.keys.sorted(), Seeds.replay(seed, "StructureRules"))
        #expect(set.earliestDeadline == model.values.min(), Seeds.replay(seed, "StructureRules"))
        for sequence in model.keys {
            let removed = set.remove(sequence)
            #expect(removed, Seeds.replay(seed, "StructureRules"))
        }
        #expect(set.isEmpty && set.earliestDeadline == nil, Seeds.replay(seed, "StructureRules"))
    }

    @Test("sequences melt into ranges when they follow each other, in the order in which they came")
    func sequenceRanges() {
        var ranges = SequenceRanges()
        #expect(ranges.isEmpty)
        for sequence in [3, 4, 5, 9, 2, 3, .max] as [UInt64] { ranges.append(sequence) }
        #expect(ranges.ranges == [3...5, 9...9, 2...3, .max ... .max])
        #expect(SequenceRanges(ascending: [1, 2, 3, 7]).ranges == [1...3, 7...7])
        ranges.removeAll()
        #expect(ranges.isEmpty)
    }

    @Test("a deadline heap gives what is due, earliest first, and nothing else", arguments: Seeds.all)
    func deadlineHeap(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var heap = DeadlineHeap<Int>()
        var model: [(deadline: UInt64, item: Int)] = []
        for item in 0..<500 {
            let deadline = UInt64.random(in: 0..<100, using: &random)
            heap.insert(item, at: deadline)
            model.append((deadline, item))
            guard item % 3 == 0 else { continue }
            let now = UInt64.random(in: 0..<100, using: &random)
            if let popped = heap.popDue(now) {
                let index = model.firstIndex { $0.item == popped }
                let entry = index.map { model.remove(at: $0) }
                #expect(entry.map { $0.deadline <= now } == true, Seeds.replay(seed, "StructureRules"))
                #expect(
                    model.allSatisfy { $0.deadline >= entry?.deadline ?? .max },
                    Seeds.replay(seed, "StructureRules"))
            } else {
                #expect(model.allSatisfy { $0.deadline > now }, Seeds.replay(seed, "StructureRules"))
            }
            #expect(heap.earliest == model.map(\.deadline).min(), Seeds.replay(seed, "StructureRules"))
        }
    }

    @Test("a table with bytes as keys holds what a dictionary would", arguments: Seeds.all)
    func byteKeyedTable(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var table = ByteKeyedTable<Int>()
        var model: [[UInt8]: Int] = [:]
        for step in 0..<3_000 {
            // Lengths about the eight bytes of a hash step, with zeros that must count.
            let length = Int.random(in: 0...17, using: &random)
            let key = (0..<length).map { _ in UInt8.random(in: 0...1, using: &random) }
            let value = UInt8.random(in: 0..<10, using: &random) < 6 ? step : nil
            table[key] = value
            model[key] = value
            #expect(table[key] == value, Seeds.replay(seed, "StructureRules"))
        }
        #expect(table.count == model.count, Seeds.replay(seed, "StructureRules"))
        #expect(table.values.sorted() == model.values.sorted(), Seeds.replay(seed, "StructureRules"))
        for (key, value) in model { #expect(table[key] == value, Seeds.replay(seed, "StructureRules")) }
    }

    // MARK: State records

    private var records: [StateRecord] {
        let client = ClientRecord(
            id: [1], heartbeatInbox: [2, 3], connectionID: [0], protocolVersion: -1,
            pingIntervalSeconds: .max,
            pingMaxOut: .min)
        let subscription = SubscriptionRecord(
            id: .max, channel: .max, clientID: [], queueGroup: [1], durableName: [2], inbox: [3, 4],
            ackInbox: [5],
            maxInFlight: .max, ackWaitSeconds: 1, lastSent: .max, isClosed: true)
        var ranges = SequenceRanges()
        for range in [5...9, 2...2, 1...UInt64.max, .max ... .max] { ranges.append(range) }
        return [
            .subjects(StreamingSubjects(clusterID: "vc", discoverPrefix: "_D")), .clientAdded(client),
            .clientRemoved(id: []), .subscriptionPut(subscription), .subscriptionRemoved(id: 300),
            .sent(subscription: 1, ranges), .acknowledged(subscription: .max, SequenceRanges()),
            .subscriptionIDs(last: .max),
        ]
    }

    @Test("state records come back as they were written")
    func roundTrip() {
        var writer = StateWriter()
        for record in records { record.encode(into: &writer) }
        var reader = StateReader(writer.buffer)
        for record in records {
            let read = StateRecord(reading: &reader)
            #expect(read == record)
        }
        #expect(reader.isAtEnd)
    }

    @Test("a state record that was cut off is none")
    func truncated() {
        for record in records {
            var writer = StateWriter()
            record.encode(into: &writer)
            for length in 0..<writer.buffer.count {
                var reader = StateReader(Array(writer.buffer[..<length]))
                let read = StateRecord(reading: &reader)
                #expect(read == nil)
            }
        }
    }

    @Test("no bytes crash the reader of state records", arguments: Seeds.all)
    func hostile(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            var writer = StateWriter()
            records.randomElement(using: &random)?.encode(into: &writer)
            var bytes = writer.buffer
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                bytes[index] =
                    [0, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &random)].randomElement(
                        using: &random) ?? 0
            }
            var reader = StateReader(bytes)
            while StateRecord(reading: &reader) != nil, !reader.isAtEnd {}
        }
        var endless = StateReader(Array(repeating: 0xFF, count: 100))
        let number = endless.number()
        #expect(number == nil)
    }

    @Test("acknowledgements wait first in, first out, with their bytes", arguments: Seeds.all)
    func acknowledgementQueue(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var queue = AcknowledgementQueue()
        var model: [(position: UInt64, reply: [UInt8], guid: [UInt8])] = []
        for position in 1...4_000 as ClosedRange<UInt64> {
            let reply = Array(
                repeating: UInt8(truncatingIfNeeded: position), count: Int.random(in: 0...80, using: &random))
            let guid = Array(
                repeating: UInt8(truncatingIfNeeded: ~position), count: Int.random(in: 0...40, using: &random)
            )
            reply.withUnsafeBytes { reply in
                guid.withUnsafeBytes { guid in
                    queue.append(
                        position: position, sequence: position * 2, channel: 7, reply: reply, guid: guid)
                }
            }
            model.append((position, reply, guid))
            let drains = position % 1_000 == 0 ? model.count : Int.random(in: 0...1, using: &random)
            for _ in 0..<min(drains, model.count) {
                let expected = model.removeFirst()
                let isSame = queue.first.map {
                    $0.position == expected.position && $0.sequence == expected.position * 2
                        && $0.channel == 7
                        && $0.reply.elementsEqual(expected.reply) && $0.guid.elementsEqual(expected.guid)
                }
                #expect(isSame == true, Seeds.replay(seed, "StructureRules"))
                queue.removeFirst()
            }
            #expect(queue.count == model.count, Seeds.replay(seed, "StructureRules"))
        }
        #expect(queue.first == nil)
        queue.removeFirst()
        #expect(queue.count == 0)
    }
}
