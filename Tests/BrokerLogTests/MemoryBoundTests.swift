import Testing

@testable import BrokerLog

@Suite("Blocks in memory")
struct MemoryBoundTests {
    @Test("many channels stay below the limit, whether they rest or not, and every message is there")
    func bounded() throws {
        let limit = 2 << 20
        let file = try FileLog { configuration in
            configuration.cacheBytes = limit
            configuration.journalSizeBytes = 64 << 20
        }
        var channels: [ChannelID] = []
        for index in 0..<200 {
            channels.append(try file.log.createChannel(named: bytes("c\(index)"), limits: ChannelLimits()))
        }
        var texts: [[String]] = Array(repeating: [], count: channels.count)
        for round in 0..<40 {
            for (index, channel) in channels.enumerated() {
                texts[index].append("\(round) " + noise(700, seed: UInt64(round * 1_000 + index)))
                try file.log.append(texts[index][round], to: channel)
            }
            file.settle()
            let statistics = file.log.statistics
            // A block of 2 KiB for each channel stays, and what was sealed a moment ago.
            #expect(
                statistics.openBytes + statistics.cachedBytes + statistics.unwrittenBytes < limit * 3 / 2,
                "round \(round): \(statistics.openBytes) \(statistics.cachedBytes) \(statistics.unwrittenBytes)"
            )
        }
        #expect(file.log.statistics.segments > 100)
        for (index, channel) in channels.enumerated() {
            #expect(file.log.payloads(of: channel) == texts[index])
        }
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.damage == [])
        for (index, channel) in channels.enumerated() {
            #expect(file.log.payloads(of: channel) == texts[index])
            #expect(file.log.info(of: channel)?.messages == 40)
        }
    }

    @Test("without need quiet channels get no files")
    func quiet() throws {
        let file = try FileLog { $0.journalSizeBytes = 64 << 20 }
        for index in 0..<200 {
            let channel = try file.log.createChannel(named: bytes("c\(index)"), limits: ChannelLimits())
            for _ in 0..<10 { try file.log.append(noise(700, seed: 1), to: channel) }
        }
        file.settle()
        file.checkpoint()
        #expect(file.log.statistics.segments == 0)
        #expect(file.disk.everything().keys.filter { $0.hasPrefix("/data/channels/") }.isEmpty)
    }
}
