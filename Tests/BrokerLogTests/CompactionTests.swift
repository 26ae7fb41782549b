import Testing

@testable import BrokerLog

@Suite("Segments of which most was trimmed")
struct CompactionTests {
    private func store(_ configure: (inout LogConfiguration) -> Void = { _ in }) throws -> FileLog {
        try FileLog { configuration in
            configuration.segmentBytes = 1 << 20
            configuration.cacheBytes = 1
            configuration.journalSizeBytes = 8 << 20
            configure(&configuration)
        }
    }

    private func fill(_ file: FileLog, _ channel: ChannelID, _ range: Range<Int>) throws {
        for index in range {
            try file.log.append("\(index + 1) " + noise(1_000, seed: UInt64(index)), to: channel)
            if index % 20 == 19 { file.settle() }
        }
        file.settle()
    }

    private func segmentBytes(_ file: FileLog) -> Int {
        file.disk.everything().filter { $0.key.hasSuffix(".seg") }.reduce(0) { $0 + $1.value.count }
    }

    private func expect(_ file: FileLog, _ channel: ChannelID, from first: Int, to last: Int) throws {
        let numbers = file.log.payloads(of: channel, from: UInt64(first)).map { Int($0.prefix { $0 != " " }) }
        #expect(numbers == Array(first...last))
        #expect(file.log.info(of: channel)?.firstSequence == UInt64(first))
        #expect(file.log.statistics.damage == [])
    }

    @Test("few messages left in a sealed segment are copied, and the file goes with the second checkpoint")
    func rewritten() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<1_100)
        file.checkpoint()
        let full = segmentBytes(file)
        #expect(full > 1_100_000)
        guard case .purged(1_000, _) = try file.log.purge(channel, below: 1_001) else {
            // The block at the edge is read first.
            while file.log.stepReader() {}
            _ = file.log.poll()
            #expect(try file.log.purge(channel, below: 1_001) != .loading)
            file.settle()
            return try rest(file, channel, full)
        }
        file.settle()
        try rest(file, channel, full)
    }

    private func rest(_ file: FileLog, _ channel: ChannelID, _ full: Int) throws {
        try expect(file, channel, from: 1_001, to: 1_100)
        for crash in [SimulatedFileSystem.Crash.dropAll, .process, .random] {
            try file.reopen(after: crash)
            try expect(file, channel, from: 1_001, to: 1_100)
        }
        try fill(file, channel, 1_100..<1_110)
        for _ in 0..<3 {
            file.checkpoint()
            try fill(
                file, channel,
                Int(file.log.info(of: channel)!.lastSequence)..<Int(file.log.info(of: channel)!.lastSequence)
                    + 10)
            try expect(file, channel, from: 1_001, to: Int(file.log.info(of: channel)!.lastSequence))
        }
        #expect(segmentBytes(file) < full / 4)
        try file.reopen(after: .dropAll)
        try expect(file, channel, from: 1_001, to: Int(file.log.info(of: channel)!.lastSequence))
    }

    @Test("a channel with small limits takes little more on the disk than it keeps")
    func bounded() throws {
        let file = try store { $0.segmentBytes = 64 << 20 }
        let channel = try file.log.createChannel(
            named: bytes("a"), limits: ChannelLimits(maxMessages: 300))
        var most = 0
        for round in 0..<40 {
            try fill(file, channel, round * 100..<(round + 1) * 100)
            if round % 4 == 3 { file.checkpoint() }
            most = max(most, segmentBytes(file))
        }
        try expect(file, channel, from: 3_701, to: 4_000)
        #expect(most < 2_000_000, "\(most)")
        try file.reopen(after: .dropAll)
        try expect(file, channel, from: 3_701, to: 4_000)
    }

    @Test("a crash at any call of a compaction, and a fall back to the checkpoint before, lose nothing")
    func crashes() throws {
        var limit = 0
        var isDone = false
        var rewritten = false
        while !isDone {
            limit += 1
            let file = try store { $0.segmentBytes = 300_000 }
            let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
            try fill(file, channel, 0..<330)
            file.checkpoint()
            nonisolated(unsafe) var calls = 0
            nonisolated(unsafe) var died = false
            let last = limit
            file.disk.onCall { _, _ in
                calls += 1
                if calls > last { died = true }
                return calls > last ? SimulatedFileSystem.machineIsOff : nil
            }
            var isPurged = false
            for _ in 0..<4 where !isPurged {
                if case .purged = try? file.log.purge(channel, below: 250) { isPurged = true }
                while file.log.stepReader() {}
                _ = file.log.poll()
            }
            file.settle()
            file.checkpoint()
            file.checkpoint()
            isDone = !died
            let written = file.disk.everything().keys.filter { $0.hasSuffix(".seg") }
            rewritten =
                rewritten
                || written.contains {
                    !$0.hasSuffix("0001.seg") && $0 < "/data/channels/1/00000000000000000250.seg"
                }
            try file.reopen(after: limit % 2 == 0 ? .dropAll : .random)
            let first = Int(try #require(file.log.info(of: channel)).firstSequence)
            #expect(first == 1 || first == 250, "\(limit)")
            try expect(file, channel, from: first, to: 330)
            // What the newest checkpoint lists may be damaged: the one before must still do.
            try fill(file, channel, 330..<340)
            let newest = file.disk.everything().keys.filter { $0.hasSuffix(".checkpoint") }.max() ?? ""
            let count = file.disk.everything().keys.count { $0.hasSuffix(".checkpoint") }
            guard count > 1 else { continue }
            file.disk.flipBit(newest, byte: 50, bit: 1)
            try file.reopen(after: .dropAll)
            let numbers = file.log.payloads(of: channel, from: UInt64(first)).map {
                Int($0.prefix { $0 != " " })
            }
            #expect(numbers == Array(first...340), "\(limit)")
        }
        #expect(limit > 20 && rewritten)
    }

    @Test("a checkpoint that was asked for before is made before: it counts messages that are not copied")
    func behindCheckpoint() throws {
        let file = try store { $0.segmentBytes = 300_000 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits(maxMessages: 450))
        try fill(file, channel, 0..<450)
        file.checkpoint()
        // The limit drops what the checkpoint on its way still counts.
        for index in 450..<750 {
            try file.log.append("\(index + 1) " + noise(1_000, seed: UInt64(index)), to: channel)
            if index == 600 { file.log.submit() }
        }
        file.log.checkpoint(state: bytes("early"))
        while file.log.stepCommit() {}
        _ = file.log.poll()
        while file.log.stepReader() {}
        _ = file.log.poll()
        while file.log.stepBackground() {}
        _ = file.log.poll()
        try file.reopen(after: .dropAll)
        try expect(file, channel, from: 301, to: 750)
        #expect(file.log.info(of: channel)?.messages == 450)
    }

    @Test("readers that ask while blocks move get what they asked for")
    func readers() throws {
        let file = try store { $0.segmentBytes = 300_000 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<330)
        file.checkpoint()
        var isPurged = false
        while !isPurged {
            if case .purged = try file.log.purge(channel, below: 250) { isPurged = true }
            while file.log.stepReader() {}
            _ = file.log.poll()
        }
        file.log.submit()
        while file.log.stepCommit() {}
        _ = file.log.poll()
        // Asked for at the old place, answered when it has moved.
        guard case .loading = file.log.read(channel, at: 282) else {
            Issue.record("the block should be on the disk only")
            return
        }
        try rewrite(file, channel)
        while file.log.stepReader() {}
        _ = file.log.poll()
        try expect(file, channel, from: 250, to: 330)
    }

    /// Purges below `first`, reading what that needs.
    private func purge(_ file: FileLog, _ channel: ChannelID, below first: UInt64) throws {
        while try file.log.purge(channel, below: first) == .loading {
            while file.log.stepReader() {}
            _ = file.log.poll()
        }
        file.log.submit()
        while file.log.stepCommit() {}
        _ = file.log.poll()
    }

    /// A channel of 1,100 messages, of which 900 in the front segment are gone, before that is rewritten.
    private func beforeRewrite() throws -> (FileLog, ChannelID) {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<1_100)
        file.checkpoint()
        try expect(file, channel, from: 1, to: 1_100)
        try purge(file, channel, below: 901)
        return (file, channel)
    }

    /// Rewrites the front segment, and takes that in.
    private func rewrite(_ file: FileLog, _ channel: ChannelID) throws {
        while file.log.stepBackground() {}
        _ = file.log.poll()
        let names = file.disk.everything().keys.filter { $0.hasSuffix(".seg") }
        try #require(names.count == 3, "the old file, its copy, and the next one: \(names)")
    }

    @Test("limits that wait for a block are applied when it moves while it is read")
    func waitingTrim() throws {
        let (file, channel) = try beforeRewrite()
        file.log.setLimits(ChannelLimits(maxMessages: 150), of: channel)
        let first = try #require(file.log.info(of: channel)?.firstSequence)
        #expect(first < 951, "the block at the edge is on the disk only")
        try rewrite(file, channel)
        for _ in 0..<2 {
            while file.log.stepReader() {}
            _ = file.log.poll()
        }
        #expect(file.log.info(of: channel)?.firstSequence == 951)
    }

    @Test("files that a rewrite replaced are not kept open: their space comes back")
    func closesFiles() throws {
        let (file, channel) = try beforeRewrite()
        // Read from the old file once more, while that is about to be replaced.
        guard case .loading = file.log.read(channel, at: 990) else {
            Issue.record("the block should be on the disk only")
            return
        }
        while file.log.stepReader() {}
        try rewrite(file, channel)
        for round in 0..<2 {
            try fill(file, channel, (1_100 + round)..<(1_101 + round))
            file.checkpoint()
            while file.log.stepReader() {}
        }
        let named = file.disk.everything()
        #expect(named.keys.count { $0.hasSuffix(".seg") } == 2)
        let open = file.disk.state.withLock { $0.descriptors.values.map(\.path) }
        #expect(open.allSatisfy { named[$0] != nil }, "\(open)")
        try expect(file, channel, from: 901, to: 1_102)
    }

    @Test(
        "what a crash leaves of a rewrite goes with the next checkpoint, though nothing is written to the channel"
    )
    func leftovers() throws {
        var limit = 0
        var leftovers = 0
        var isDone = false
        while !isDone {
            limit += 1
            let (file, _) = try beforeRewrite()
            let other = try file.log.createChannel(named: bytes("b"), limits: ChannelLimits())
            file.settleJournal()
            nonisolated(unsafe) var calls = 0
            let last = limit
            file.disk.onCall { _, _ in
                calls += 1
                return calls > last ? SimulatedFileSystem.machineIsOff : nil
            }
            while file.log.stepBackground() {}
            isDone = calls <= last
            try file.reopen(after: .process)
            let before = file.disk.everything().keys.count { $0.hasSuffix(".seg") }
            leftovers += before > file.log.statistics.segments ? 1 : 0
            for round in 0..<3 {
                try file.log.append("\(round)", to: other)
                file.checkpoint()
            }
            let names = file.disk.everything().keys.filter { $0.hasSuffix(".seg") }
            #expect(names.count == file.log.statistics.segments, "\(limit): \(names)")
            let channel = try #require(file.log.channel(named: bytes("a")))
            let first = Int(try #require(file.log.info(of: channel)).firstSequence)
            try expect(file, channel, from: first, to: 1_100)
        }
        #expect(limit > 5 && leftovers > 2, "\(limit) \(leftovers)")
    }
}
