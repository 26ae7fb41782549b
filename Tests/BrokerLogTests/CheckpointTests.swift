import BrokerLog
import Synchronization
import Testing

@Suite("Checkpoints and segments")
struct CheckpointTests {
    /// A store with small segments and a cache of almost nothing.
    private func store(_ configure: (inout LogConfiguration) -> Void = { _ in }) throws -> FileLog {
        try FileLog { configuration in
            configuration.segmentBytes = 150_000
            configuration.cacheBytes = 1
            configure(&configuration)
        }
    }

    private func fill(_ file: FileLog, _ channel: ChannelID, _ range: Range<Int>, size: Int = 500) throws
        -> [String]
    {
        var texts: [String] = []
        for index in range {
            let text = "\(index) " + noise(size, seed: UInt64(index))
            try file.log.append(text, to: channel, at: Int64(index))
            texts.append(text)
            if index % 50 == 49 { file.settle() }
        }
        file.settle()
        return texts
    }

    @Test("after a checkpoint everything comes from segments, tails and snapshot")
    func recovers() throws {
        let file = try store()
        let big = try file.log.createChannel(named: bytes("big"), limits: ChannelLimits())
        let small = try file.log.createChannel(named: bytes("small"), limits: ChannelLimits(maxAge: 7))
        let texts = try fill(file, big, 0..<2_000)
        try file.log.append("one", to: small, at: 5)
        bytes("before").withUnsafeBytes { _ = file.log.appendState($0) }
        file.checkpoint("the snapshot")
        #expect(file.log.statistics.checkpoints == 1 && file.log.statistics.segments > 3)
        let info = file.log.info(of: big)
        bytes("after").withUnsafeBytes { _ = file.log.appendState($0) }
        try file.log.append("two", to: small, at: 6)
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.damage.isEmpty && file.log.recovery.checkpoint == 1)
        #expect(file.log.recovery.records == 2)
        #expect(file.log.recoveredState.snapshot == bytes("the snapshot"))
        #expect(file.log.recoveredState.records == [bytes("after")])
        #expect(file.log.info(of: big) == info && file.log.limits(of: small)?.maxAge == 7)
        #expect(file.log.payloads(of: big) == texts && file.log.payloads(of: small) == ["one", "two"])
        #expect(file.log.sequence(big, atOrAfter: 1_999) == .found(2_000))
    }

    @Test("the journal is bounded while checkpoints are made when asked for")
    func journalIsBounded() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits(maxMessages: 100))
        let text = noise(2_000, seed: 1)
        for index in 0..<4_000 {
            try file.log.append(text, to: channel)
            if index % 8 == 7, file.settle().checkpointWanted { file.checkpoint() }
        }
        #expect(file.log.statistics.checkpoints > 10)
        #expect(file.log.statistics.journalFileBytes <= 1 << 20)
        #expect(file.log.statistics.segments <= 3, "trimmed segments are removed")
        try file.reopen(after: .dropAll)
        #expect(
            file.log.info(of: channel)?.firstSequence == 3_901 && file.log.info(of: channel)?.messages == 100)
    }

    @Test("a damaged checkpoint falls back to the one before")
    func fallsBack() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var texts = try fill(file, channel, 0..<300)
        file.checkpoint("first")
        texts += try fill(file, channel, 300..<700)
        file.checkpoint("second")
        texts += try fill(file, channel, 700..<800)
        file.checkpoint("third")
        texts += try fill(file, channel, 800..<900)
        file.disk.flipBit("/data/checkpoints/0000000000000003.checkpoint", byte: 100, bit: 2)
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.checkpoint == 2 && file.log.recovery.damage.count == 1)
        #expect(
            file.log.recoveredState.snapshot == bytes("second") && file.log.payloads(of: channel) == texts)
        texts += try fill(file, channel, 900..<1_000)
        file.checkpoint("fourth")
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
    }

    @Test(
        "without a whole checkpoint the journal tells everything, as long as it reaches back to the beginning"
    )
    func journalAlone() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits(maxMessages: 450))
        var texts = try fill(file, channel, 0..<300)
        file.checkpoint("first")
        texts += try fill(file, channel, 300..<500)
        let damage = { (number: Int) in
            file.disk.flipBit("/data/checkpoints/000000000000000\(number).checkpoint", byte: 100, bit: 2)
        }
        damage(1)
        for crash in [SimulatedFileSystem.Crash.process, .dropAll] {
            try file.reopen(after: crash)
            #expect(file.log.recovery.damage.map(\.file) == ["checkpoints/0000000000000001.checkpoint"])
            #expect(file.log.payloads(of: channel, from: 51) == Array(texts.dropFirst(50)))
        }
        texts += try fill(file, channel, 500..<600)
        file.checkpoint("second")
        try file.reopen(after: .dropAll)
        #expect(
            file.log.recovery.checkpoint == 2
                && file.log.payloads(of: channel, from: 151) == texts.suffix(450))
        // When the journal's beginning is gone nobody can tell what the rest means: nothing is changed.
        for index in 0..<10 {
            _ = try fill(file, channel, index * 100..<(index + 1) * 100)
            file.checkpoint()
        }
        let numbers = file.disk.everything().keys.filter { $0.hasSuffix(".checkpoint") }
        try #require(numbers.count == 2)
        for path in numbers { file.disk.flipBit(path, byte: 100, bit: 2) }
        file.disk.crash(.process)
        let before = file.disk.everything()
        do {
            try file.reopen(after: .process)
            Issue.record("it opens")
        } catch {
            #expect((error as? LogError)?.code == .damaged && "\(error)".contains("first record"), "\(error)")
        }
        #expect(file.disk.everything() == before)
        #expect(throws: LogError.self) { try LogRepair.run(directory: "/data", fileSystem: file.disk) }
        #expect(
            numbers.allSatisfy { file.disk.content($0) == before[$0] }, "a repair makes nothing up either")
    }

    @Test("without any checkpoint the journal tells everything, or the start is refused and nothing changed")
    func checkpointsGone() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var texts: [String] = []
        var refused = 0
        for round in 0..<12 {
            texts += try fill(file, channel, round * 100..<(round + 1) * 100, size: 2_000)
            file.checkpoint()
            let disk = SimulatedFileSystem(copying: file.disk, seed: 1)
            let gone = disk.everything().filter { $0.key.hasSuffix(".checkpoint") }
            #expect(gone.count == min(2, round + 1))
            for path in gone.keys { try disk.remove(path) }
            try disk.syncAll("/")
            let before = disk.everything()
            let opens = {
                try Log.open(file.configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
            }
            do {
                let log = try opens()
                #expect(log.recovery.damage.isEmpty && log.payloads(of: channel) == texts, "round \(round)")
                continue
            } catch {
                #expect((error as? LogError)?.code == .damaged && "\(error)".contains("is there"), "\(error)")
            }
            refused += 1
            #expect(disk.everything() == before)
            let report = try LogCheck.run(directory: "/data", fileSystem: disk)
            #expect(report.damage.map(\.file) == ["checkpoints"])
            #expect(throws: LogError.self) { try LogRepair.run(directory: "/data", fileSystem: disk) }
            #expect(disk.everything() == before)
            // As an operator who has a copy.
            for (path, content) in gone {
                disk.close(try disk.open(path, .create))
                disk.overwrite(path, with: content)
            }
            try disk.syncAll("/")
            #expect(try opens().payloads(of: channel) == texts)
        }
        #expect(refused > 2)
    }

    @Test(
        "segments without a checkpoint and a record in the journal are left alone",
        arguments: [false, true])
    func segmentsAlone(keepsFiles: Bool) throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        _ = try fill(file, channel, 0..<500)
        try #require(file.disk.everything().keys.contains { $0.hasSuffix(".seg") })
        for path in file.journal {
            if keepsFiles { file.disk.overwrite(path, with: []) } else { try file.disk.remove(path) }
        }
        try file.disk.syncAll("/")
        file.disk.crash(.process)
        let before = file.disk.everything()
        let error = #expect(throws: LogError.self) { try file.reopen(after: .process) }
        #expect(error?.code == .damaged && file.disk.everything() == before)
        // Where not every batch was synced, a power cut may leave that of a store's first moments.
        file.configuration.sync = .never
        guard keepsFiles else {
            #expect(throws: LogError.self) { try file.reopen(after: .process) }
            return
        }
        try file.reopen(after: .process)
        _ = try fill(file, try file.log.createChannel(named: bytes("b"), limits: ChannelLimits()), 0..<10)
    }

    @Test("what no checkpoint lists goes when a start began from a checkpoint, not before")
    func leftovers() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let texts = try fill(file, channel, 0..<500)
        let path = "/data/channels/77/00000000000000000001.seg"
        try file.disk.makeDirectory("/data/channels/77")
        file.disk.close(try file.disk.open(path, .create))
        try file.disk.syncAll("/")
        for isThere in [true, false] {
            try file.reopen(after: .dropAll)
            #expect(file.log.payloads(of: channel).prefix(500) == texts[...])
            try file.log.append("more", to: channel)
            file.settle()
            file.checkpoint()
            #expect(file.log.statistics.checkpoints == 1 && (file.disk.content(path) != nil) == isThere)
        }
    }

    @Test("a damaged block is named, set aside and remembered; everything else is served")
    func damagedBlock() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let texts = try fill(file, channel, 0..<1_000)
        file.checkpoint()
        let segment = try #require(file.disk.everything().keys.filter { $0.hasSuffix(".seg") }.min())
        file.disk.flipBit(segment, byte: 800, bit: 1)
        try file.reopen(after: .dropAll)
        let found = file.log.payloads(of: channel)
        let info = try #require(file.log.info(of: channel))
        let lost = try #require(info.damage.first)
        #expect(info.damage.count == 1 && lost.lowerBound == 1 && lost.upperBound < 140)
        #expect(
            found.first == "-" && Array(found.dropFirst()) == Array(texts.dropFirst(Int(lost.upperBound))))
        #expect(info.messages == 1_000 - Int(lost.upperBound) && info.firstSequence == lost.upperBound + 1)
        let damage = try #require(file.log.statistics.damage.first)
        #expect(damage.file == "channels/1/00000000000000000001.seg" && damage.offset == 512)
        #expect(damage.lost == [LostRange(channel: channel, name: bytes("a"), sequences: lost)])
        #expect(file.events.contains(.error("damage: \(damage)")))
        try file.log.append("more", to: channel)
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.info(of: channel)?.messages == info.messages + 1)
        #expect(file.log.recovery.damage == [damage])
    }

    @Test("a sealed segment whose index is damaged is read from its front")
    func damagedFooter() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let texts = try fill(file, channel, 0..<1_000)
        file.checkpoint()
        let segment = try #require(file.disk.everything().keys.filter { $0.hasSuffix(".seg") }.min())
        let size = try #require(file.disk.content(segment)?.count)
        file.disk.flipBit(segment, byte: size - 100, bit: 1)
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.damage.count == 1 && file.log.payloads(of: channel) == texts)
    }

    @Test("a missing segment is named at opening; everything else is served")
    func missingSegment() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let texts = try fill(file, channel, 0..<1_000)
        file.checkpoint()
        let segments = file.disk.everything().keys.filter { $0.hasSuffix(".seg") }.sorted()
        try file.disk.remove(segments[1])
        try file.disk.syncDirectory("/data/channels/1")
        try file.reopen(after: .dropAll)
        let lost = try #require(file.log.info(of: channel)?.damage.first)
        #expect(file.log.recovery.damage.count == 1)
        let expected =
            Array(texts[..<Int(lost.lowerBound - 1)]) + ["-"] + Array(texts[Int(lost.upperBound)...])
        #expect(file.log.payloads(of: channel) == expected)
    }

    @Test(
        "a segment that is damaged or missing at the front was not trimmed: its file stays",
        arguments: [false, true])
    func frontSegment(isMissing: Bool) throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        _ = try fill(file, channel, 0..<1_000)
        file.checkpoint()
        let front = try #require(file.disk.everything().keys.filter { $0.hasSuffix(".seg") }.min())
        let content = try #require(file.disk.content(front))
        if isMissing {
            try file.disk.remove(front)
        } else {
            file.disk.overwrite(front, with: [UInt8](repeating: 0, count: content.count))
        }
        try file.disk.syncAll("/")
        try file.reopen(after: .dropAll)
        #expect(!file.log.recovery.damage.isEmpty)
        if isMissing {
            file.disk.close(try file.disk.open(front, .create))
            file.disk.overwrite(front, with: content)
        }
        _ = try fill(file, channel, 1_000..<1_100)
        file.checkpoint()
        file.checkpoint()
        #expect(file.disk.content(front)?.count == content.count)
    }

    @Test("trimming by bytes is exact when the blocks are on disk only")
    func trimsColdBlocks() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        _ = try fill(file, channel, 0..<1_000)
        file.checkpoint()
        try file.reopen(after: .dropAll)
        let info = try #require(file.log.info(of: channel))
        let limit = info.bytes / 3
        file.log.setLimits(ChannelLimits(maxBytes: limit), of: channel)
        for _ in 0..<5 {
            while file.log.stepReader() {}
            file.settle()
        }
        let after = try #require(file.log.info(of: channel))
        #expect(after.bytes <= limit && after.bytes > limit - 1_000)
        #expect(after.messages == Int(1_000 - after.firstSequence + 1))
        try file.reopen(after: .dropAll)
        #expect(file.log.info(of: channel) == after)
    }

    @Test("while no file can be opened, trimming asks once a second, and not at once again")
    func noOpenFile() throws {
        let file = try store()
        let aging = try file.log.createChannel(named: bytes("aging"), limits: ChannelLimits(maxAge: 100))
        let counted = try file.log.createChannel(named: bytes("counted"), limits: ChannelLimits())
        let texts = try fill(file, aging, 0..<1_000)
        _ = try fill(file, counted, 0..<1_000)
        file.checkpoint()
        try file.reopen(after: .dropAll)
        file.log.setLimits(ChannelLimits(maxMessages: 975), of: counted)
        let opens = Atomic(0)
        file.disk.onCall { call, path in
            guard call == .open, path.hasSuffix(".seg") else { return nil }
            opens.add(1, ordering: .relaxed)
            return 24
        }
        for second in 1...3 {
            file.log.expire(now: 125)
            for _ in 0..<20 {
                while file.log.stepReader() {}
                _ = file.log.poll()
            }
            let made = opens.load(ordering: .relaxed)
            #expect(made >= second && made <= 8 * second)
        }
        #expect(file.log.info(of: aging)?.messages == 1_000 && file.log.statistics.damage == [])
        file.disk.onCall(nil)
        file.log.expire(now: 125)
        for _ in 0..<4 {
            while file.log.stepReader() {}
            file.settle()
        }
        #expect(file.log.info(of: aging)?.firstSequence == 27 && file.log.info(of: counted)?.messages == 975)
        #expect(file.log.payloads(of: aging, from: 27) == Array(texts[26...]))
    }

    @Test("a deleted channel's files go, and stay gone")
    func deletes() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        _ = try fill(file, channel, 0..<500)
        file.checkpoint()
        try file.log.deleteChannel(channel)
        file.settle()
        #expect(!file.disk.everything().keys.contains { $0.hasSuffix(".seg") })
        try file.reopen(after: .dropAll)
        #expect(file.log.channels.isEmpty && file.log.recovery.damage.isEmpty)
        #expect(try file.log.createChannel(named: bytes("a"), limits: ChannelLimits()) != channel)
    }

    @Test("closing makes a checkpoint, once: opening and closing again changes no byte")
    func closes() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let texts = try fill(file, channel, 0..<500)
        file.log.close(state: bytes("closed"))
        let before = file.disk.everything()
        try file.reopen(after: .process)
        #expect(file.log.recovery.records == 0 && file.log.recoveredState.snapshot == bytes("closed"))
        #expect(file.log.payloads(of: channel) == texts)
        file.log.close(state: bytes("closed"))
        #expect(file.disk.everything() == before)
    }

    @Test("a full disk during a checkpoint loses nothing, and checkpoints go on when space returns")
    func fullDisk() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var texts = try fill(file, channel, 0..<200)
        file.checkpoint("first")
        texts += try fill(file, channel, 200..<300)
        file.disk.capacity = 0
        file.checkpoint("second")
        #expect(file.log.statistics.checkpoints == 1 && file.log.statistics.closedReason == nil)
        file.disk.capacity = .max
        file.log.expire(now: 0)
        file.settle()
        file.checkpoint("third")
        #expect(file.log.statistics.checkpoints == 2)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts && file.log.recoveredState.snapshot == bytes("third"))
    }
}
