import Testing

@testable import BrokerLog

@Suite("A log that cannot write, or not all")
struct ClosedLogTests {
    @Test("what waits for segments that are never written holds no publisher back", arguments: [5, 28])
    func nothingInFlight(code: Int32) throws {
        let file = try FileLog { configuration in
            configuration.journalSizeBytes = 512 << 20
            configuration.cacheBytes = 8 << 20
        }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let text = noise(1 << 20, seed: 1)
        while file.log.bytesInFlight <= 32 << 20 {
            try file.log.append(text, to: channel)
            file.settleJournal()
        }
        file.disk.onCall { call, path in call == .write && path.hasSuffix(".seg") ? code : nil }
        while file.log.stepBackground() {}
        #expect((file.log.poll().closed != nil) == (code == 5))
        #expect(file.log.bytesInFlight < 16 << 20)
    }

    @Test("with --sync interval what was acknowledged is synced when another part than the journal fails")
    func interval() throws {
        let file = try FileLog { $0.sync = .interval(nanoseconds: 1 << 40) }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let texts = (0..<100).map { "\($0) " + noise(1_000, seed: UInt64($0)) }
        for text in texts { try file.log.append(text, to: channel) }
        file.settleJournal()
        file.disk.onCall { call, path in call == .write && path.hasSuffix(".seg") ? 5 : nil }
        while file.log.stepBackground() {}
        #expect(file.log.poll().closed != nil)
        file.log.close(state: [])
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
    }

    @Test("what cannot be removed takes its space, is told of once, and stops nothing else")
    func unremovable() throws {
        let file = try FileLog { $0.segmentBytes = 150_000 }
        let kept = try file.log.createChannel(named: bytes("kept"), limits: ChannelLimits())
        let gone = try file.log.createChannel(named: bytes("gone"), limits: ChannelLimits())
        func fill(_ channel: ChannelID) throws {
            for index in 0..<200 { try file.log.append(noise(1_000, seed: UInt64(index)), to: channel) }
            file.settle()
        }
        try fill(kept)
        try fill(gone)
        try file.reopen(after: .process)
        try file.disk.makeDirectory("/data/checkpoints/backup")
        try file.disk.makeDirectory("/data/channels/2/x")
        file.disk.onCall { call, path in
            call == .remove && (path.hasSuffix("/backup") || path.hasSuffix("/x")) ? 21 : nil
        }
        _ = try file.log.deleteChannel(gone)
        for _ in 0..<6 {
            try fill(kept)
            file.checkpoint()
        }
        let statistics = file.log.statistics
        #expect(statistics.checkpoints == 6 && file.log.closedReason == nil)
        #expect(statistics.journalFileBytes <= 1 << 20)
        #expect(file.disk.everything().keys.filter { $0.hasSuffix(".checkpoint") }.count == 2)
        #expect(
            !file.disk.everything().keys.contains {
                $0.hasPrefix("/data/channels/2/") && $0.hasSuffix(".seg")
            })
        let warnings = file.events.filter { if case .warning = $0 { true } else { false } }
        #expect(warnings.count >= 2 && warnings.count <= 3, "\(warnings)")
        let texts = file.log.payloads(of: kept)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: kept) == texts && texts.count == 1_400)
    }

    @Test("a segment that could not be removed before it was begun again is not removed later")
    func begunAgain() throws {
        let file = try FileLog { $0.segmentBytes = 150_000 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let texts = (0..<200).map { "\($0) " + noise(1_000, seed: UInt64($0)) }
        for text in texts { try file.log.append(text, to: channel) }
        file.settle()
        try #require(file.disk.everything().keys.contains { $0.hasSuffix(".seg") })
        // No checkpoint lists it: the next opening begins it again.
        try file.reopen(after: .process)
        file.disk.onCall { call, path in call == .remove && path.hasSuffix(".seg") ? 28 : nil }
        try file.log.append("more", to: channel)
        file.settle()
        file.disk.onCall(nil)
        file.checkpoint()
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.damage.isEmpty && file.log.payloads(of: channel) == texts + ["more"])
    }

    @Test("blocks that went with their messages are not remembered")
    func cached() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits(maxMessages: 10))
        let text = noise(30_000, seed: 1)
        for _ in 0..<6_000 {
            try file.log.append(text, to: channel)
            if file.settle().checkpointWanted { file.checkpoint() }
        }
        let remembered = try #require(file.log.disk?.cached.count)
        #expect(remembered < 2_100)
    }
}
