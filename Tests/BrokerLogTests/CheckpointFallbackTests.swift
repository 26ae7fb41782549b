import Testing

@testable import BrokerLog

@Suite("A checkpoint whose blocks beside it are damaged")
struct CheckpointFallbackTests {
    private let tails = "/data/checkpoints/0000000000000002.tails"

    private func fill(_ file: FileLog, _ channel: ChannelID, _ range: Range<Int>) throws -> [String] {
        let texts = range.map { "\($0) " + noise(500, seed: UInt64($0)) }
        for text in texts {
            try file.log.append(text, to: channel)
            if text.hasSuffix("0") { file.settle() }
        }
        file.settle()
        return texts
    }

    @Test(
        "of a checkpoint whose tails are damaged or gone the one before and the journal take the place",
        arguments: [false, true])
    func tailsFallBack(areGone: Bool) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var texts = try fill(file, channel, 0..<300)
        file.checkpoint("first")
        texts += try fill(file, channel, 300..<410)
        file.checkpoint("second")
        texts += try fill(file, channel, 410..<420)
        let tails = "/data/checkpoints/0000000000000002.tails"
        if areGone {
            try file.disk.remove(tails)
            try file.disk.syncAll("/")
        } else {
            file.disk.flipBit(tails, byte: 2_000, bit: 2)
        }
        try file.reopen(after: .dropAll)
        #expect(
            file.log.recovery.checkpoint == 1
                && file.log.recovery.damage.map(\.file) == [String(tails.dropFirst(6))])
        #expect(file.log.payloads(of: channel) == texts && file.log.recoveredState.snapshot == bytes("first"))
        texts += try fill(file, channel, 420..<500)
        file.checkpoint("third")
        file.checkpoint("fourth")
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts && file.log.recovery.checkpoint == 4)
    }

    @Test("it does not count again when it can be read after all, once segments were written to")
    func readableAgain() throws {
        let file = try FileLog { $0.segmentBytes = 150_000 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var texts = try fill(file, channel, 0..<300)
        file.checkpoint("first")
        texts += try fill(file, channel, 300..<710)
        file.checkpoint("second")
        file.disk.flipBit(tails, byte: 2_000, bit: 2)
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.checkpoint == 1)
        texts += try fill(file, channel, 710..<1_000)
        file.disk.flipBit(tails, byte: 2_000, bit: 2)
        for crash in [SimulatedFileSystem.Crash.process, .dropAll] {
            try file.reopen(after: crash)
            #expect(file.log.recovery.checkpoint == 1 && file.log.payloads(of: channel) == texts)
        }
    }

    @Test("it counts where the journal is damaged too: nothing is lost but what it lacks")
    func damagedJournal() throws {
        let file = try FileLog { $0.segmentBytes = 150_000 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        _ = try fill(file, channel, 0..<300)
        file.checkpoint("first")
        let texts = try fill(file, channel, 300..<710)
        file.checkpoint("second")
        file.disk.flipBit(tails, byte: 2_000, bit: 2)
        let place = try #require(
            file.journal.compactMap { path -> (String, Int)? in
                guard let content = file.disk.content(path) else { return nil }
                let offset = content.indices.first {
                    content[$0...].starts(with: bytes(String(texts[100].prefix(60))))
                }
                return offset.map { (path, $0) }
            }.first)
        file.disk.flipBit(place.0, byte: place.1, bit: 1)
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.checkpoint == 2 && !file.log.recovery.damage.isEmpty)
        let lost = try #require(file.log.info(of: channel)?.damage)
        #expect(lost.count == 1 && lost.allSatisfy { $0.lowerBound > 500 && $0.upperBound == 710 }, "\(lost)")
    }
}
