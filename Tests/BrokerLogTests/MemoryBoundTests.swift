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

    @Test("blocks of channels that rest with a few kilobytes go too, when memory is short")
    func smallBlocks() throws {
        let file = try FileLog { configuration in
            configuration.cacheBytes = 2 << 20
            configuration.journalSizeBytes = 64 << 20
        }
        for index in 0..<200 {
            let channel = try file.log.createChannel(named: bytes("c\(index)"), limits: ChannelLimits())
            for _ in 0..<8 { try file.log.append(noise(700, seed: 1), to: channel) }
        }
        for _ in 0..<4 { file.settle() }
        #expect(file.log.statistics.openBytes <= 1 << 20, "\(file.log.statistics.openBytes)")
        #expect(file.log.channels.allSatisfy { file.log.payloads(of: $0).count == 8 })
    }

    @Test("where nothing can go it is not looked for again and again, until there is more")
    func fruitless() throws {
        let file = try FileLog { configuration in
            configuration.cacheBytes = 1 << 20
            configuration.journalSizeBytes = 64 << 20
        }
        let channels = try (0..<400).map {
            try file.log.createChannel(named: bytes("c\($0)"), limits: ChannelLimits())
        }
        for _ in 0..<4 { file.settle() }
        let disk = try #require(file.log.disk)
        #expect(file.log.statistics.openBytes > 512 << 10)
        let looks = disk.sweep.channel
        for _ in 0..<100 {
            try file.log.append("small", to: channels[0])
            file.settle()
            #expect(disk.sweep.channel == looks)
        }
        let open = file.log.statistics.openBytes
        for channel in channels[..<20] {
            for _ in 0..<8 { try file.log.append(noise(700, seed: 1), to: channel) }
        }
        for _ in 0..<4 { file.settle() }
        #expect(file.log.statistics.openBytes <= open && file.log.statistics.segments > 10)
    }

    @Test("what readers ask for stays in memory beside any number of channels")
    func floor() throws {
        let file = try FileLog { configuration in
            configuration.cacheBytes = 2 << 20
            configuration.journalSizeBytes = 64 << 20
        }
        let read = try (0..<2).map {
            try file.log.createChannel(named: bytes("read\($0)"), limits: ChannelLimits())
        }
        for channel in read {
            for _ in 0..<3 { try file.log.append(noise(40_000, seed: 1), to: channel) }
        }
        for index in 0..<1_100 {
            _ = try file.log.createChannel(named: bytes("c\(index)"), limits: ChannelLimits())
        }
        file.settle()
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.statistics.openBytes > file.configuration.cacheBytes)
        nonisolated(unsafe) var opened = 0
        file.disk.onCall { call, path in
            if call == .read, path.hasSuffix(".seg") { opened += 1 }
            return nil
        }
        for _ in 0..<3 {
            for channel in read {
                while case .loading = file.log.read(channel, at: 1) {
                    while file.log.stepReader() {}
                    _ = file.log.poll()
                }
            }
        }
        #expect(opened > 0 && opened <= 4, "each block is read once: \(opened)")
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
