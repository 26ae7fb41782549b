import Testing

@testable import BrokerLog

@Suite("The index of a channel's blocks")
struct BlockIndexTests {
    private static func entry(_ number: UInt64) -> BlockEntry {
        BlockEntry(
            summary: BlockSummary(
                firstSequence: number * 10 + 1, count: 10, rawSize: 1_000,
                firstTimestamp: Int64(number) * 100,
                lastTimestamp: Int64(number) * 100 + 99, firstPosition: number, lastPosition: number,
                bytes: 1_000),
            storage: BlockStorage(capacity: 16))
    }

    private static func firsts(_ index: BlockIndex) -> [UInt64] {
        (0..<index.count).map { index[$0].summary.firstSequence }
    }

    @Test("has what an array of the same entries has, over many pages", arguments: UInt64(0)..<20)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var index = BlockIndex()
        var model: [BlockEntry] = []
        var next: UInt64 = 0
        for _ in 0..<60 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5:
                for _ in 0..<Int.random(in: 1...(2 * BlockIndex.pageSize), using: &generator) {
                    index.append(Self.entry(next))
                    model.append(Self.entry(next))
                    next += 1
                }
            case 5, 6:
                let count = Int.random(in: 0...model.count, using: &generator)
                index.removeFirst(count)
                model.removeFirst(count)
            case 7 where !model.isEmpty:
                for _ in 0..<Int.random(in: 1...min(model.count, BlockIndex.pageSize + 3), using: &generator)
                {
                    let removed = index.removeLast()
                    #expect(removed.summary == model.removeLast().summary)
                }
                next = (model.last.map { $0.summary.firstSequence / 10 + 1 }) ?? next
            case 8 where !model.isEmpty:
                let position = Int.random(in: 0..<model.count, using: &generator)
                index.remove(at: position)
                model.remove(at: position)
            default: continue
            }
            #expect(Self.firsts(index) == model.map(\.summary.firstSequence))
            #expect(index.isEmpty == model.isEmpty && index.count == model.count)
            #expect(index.first?.summary == model.first?.summary)
            #expect(index.last?.summary == model.last?.summary)
            let sequence = UInt64.random(in: 0...(next * 10 + 2), using: &generator)
            #expect(
                index.firstIndex(reaching: sequence)
                    == model.firstIndex { $0.summary.lastSequence >= sequence } ?? model.count)
            let time = Int64.random(in: 0...(Int64(next) * 100 + 2), using: &generator)
            #expect(
                index.firstIndex(atOrAfter: time)
                    == model.firstIndex { $0.summary.lastTimestamp >= time } ?? model.count)
        }
    }

    @Test("lets go of the memory of what is dropped, within a page and over several")
    func releases() {
        var index = BlockIndex()
        weak var inFirstPage: BlockStorage?
        weak var inThirdPage: BlockStorage?
        weak var kept: BlockStorage?
        for number in 0..<(3 * BlockIndex.pageSize) {
            let entry = Self.entry(UInt64(number))
            if number == 0 { inFirstPage = entry.storage }
            if number == 2 * BlockIndex.pageSize { inThirdPage = entry.storage }
            if number == 2 * BlockIndex.pageSize + 2 { kept = entry.storage }
            index.append(entry)
        }
        index.removeFirst()
        #expect(inFirstPage == nil)
        index.removeFirst(2 * BlockIndex.pageSize + 1)
        #expect(inThirdPage == nil)
        #expect(kept != nil)
        #expect(index.first?.summary.firstSequence == UInt64(2 * BlockIndex.pageSize + 2) * 10 + 1)
    }
}
