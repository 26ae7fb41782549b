import Glibc
import Testing

@testable import Broker

/// The seed of a random test: the one that `ENGINE_SEED` names, or a new one. Every failed expectation
/// prints it; `ENGINE_SEED=n swift test --filter <suite>` replays it.
func engineSeed() -> UInt64 {
    getenv("ENGINE_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 1...1_000_000)
}

@Suite("The set of pending messages")
struct PendingSetTests {
    @Test("does what a dictionary does, whatever is inserted and removed")
    func behavesAsDictionary() {
        let seed = engineSeed()
        var random = SeededGenerator(seed: seed)
        for round in 0..<20 {
            var set = PendingSet()
            var model: [UInt64: UInt64] = [:]
            // Dense runs, as deliveries make them, and sequences far apart that share a slot.
            let spread: UInt64 = [1, 16, 1 << 20, 1 << 40][round % 4]
            for _ in 0..<2_000 {
                let sequence = (1 + random.next() % 300) &* spread
                switch random.next() % 5 {
                case 0...2:
                    let deadline = random.next() % 1_000
                    set.insert(sequence, deadline: deadline)
                    model[sequence] = deadline
                case 3:
                    let (removed, expected) = (
                        set.remove(sequence), model.removeValue(forKey: sequence) != nil
                    )
                    #expect(removed == expected, "seed \(seed)")
                default:
                    #expect(set.deadline(of: sequence) == model[sequence], "seed \(seed)")
                    #expect(set.contains(sequence) == (model[sequence] != nil), "seed \(seed)")
                }
            }
            #expect(set.count == model.count, "seed \(seed)")
            #expect(set.sequences == model.keys.sorted(), "seed \(seed)")
            #expect(set.earliestDeadline == model.values.min(), "seed \(seed)")
            let allRemoved = model.keys.allSatisfy { set.remove($0) }
            #expect(allRemoved, "seed \(seed)")
            #expect(set.isEmpty && set.earliestDeadline == nil, "seed \(seed)")
        }
    }

    @Test("an acknowledgement of sequence 0 is of nothing")
    func sequenceZero() {
        var set = PendingSet()
        let fromEmpty = set.remove(0)
        set.insert(16, deadline: 1)
        let fromFull = set.remove(0)
        #expect(!fromEmpty && !fromFull)
        #expect(!set.contains(0))
        #expect(set.sequences == [16])
    }

    @Test("lets go of its memory when a large backlog was acknowledged, and goes on")
    func largeBacklog() {
        var set = PendingSet()
        for sequence in 1...10_000 { set.insert(UInt64(sequence), deadline: 1) }
        for sequence in 1...10_000 { _ = set.remove(UInt64(sequence)) }
        #expect(set.isEmpty)
        set.insert(10_001, deadline: 2)
        #expect(set.sequences == [10_001])
        #expect(set.deadline(of: 10_001) == 2)
    }
}

@Suite("Ranges of sequences")
struct SequenceRangesTests {
    @Test("neighbours in order become one range, others stay apart")
    func melt() {
        #expect(SequenceRanges(ascending: [1, 2, 3, 7, 8, 10]).ranges == [1...3, 7...8, 10...10])
        var ranges = SequenceRanges()
        for sequence in [5, 4, 5, 6] as [UInt64] { ranges.append(sequence) }
        #expect(ranges.ranges == [5...5, 4...6])
        ranges.removeAll()
        #expect(ranges.isEmpty)
    }

    @Test("the last sequence there can be has no neighbour")
    func end() {
        var ranges = SequenceRanges()
        ranges.append(UInt64.max)
        ranges.append(1)
        #expect(ranges.ranges == [UInt64.max...UInt64.max, 1...1])
    }
}
