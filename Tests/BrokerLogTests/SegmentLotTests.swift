import Synchronization
import Testing

@testable import BrokerLog

@Suite("Blocks that wait behind one another go to the disk in one write")
struct SegmentLotTests {
    /// Nine blocks are full, and all of them wait.
    private func fill(_ file: FileLog, _ channel: ChannelID, _ range: Range<Int>) throws -> [String] {
        let texts = range.map { "\($0) " + noise(1_000, seed: UInt64($0)) }
        for text in texts { try file.log.append(text, to: channel) }
        file.settle()
        return texts
    }

    @Test("past the page cache, whole sectors from memory that begins at a page")
    func direct() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let calls = Mutex<[SimulatedFileSystem.Call]>([])
        file.disk.onCall { call, path in
            if path.hasSuffix(".seg"), call == .open || call == .write { calls.withLock { $0.append(call) } }
            return nil
        }
        let first = try fill(file, channel, 0..<600)
        #expect(
            calls.withLock { $0 } == [.open, .write, .open, .write],
            "the file and its header; the same file for the blocks, and all of them")
        #expect(file.disk.isOpenDirectly("/data/channels/1/00000000000000000001.seg"))
        let second = try fill(file, channel, 600..<1_200)
        #expect(calls.withLock { $0.count { $0 == .write } } == 3, "the file stays open")
        file.disk.onCall(nil)
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == first + second)
        #expect(file.log.statistics.damage == [])
    }

    @Test("a lot ends where the segment is full, and where another channel's block comes")
    func ends() throws {
        let file = try FileLog { $0.segmentBytes = 128 << 10 }
        let large = try file.log.createChannel(named: bytes("large"), limits: ChannelLimits())
        let other = try file.log.createChannel(named: bytes("other"), limits: ChannelLimits())
        var texts: [ChannelID: [String]] = [:]
        for index in 0..<1_200 {
            let channel = index % 400 < 300 ? large : other
            let text = "\(index) " + noise(1_000, seed: UInt64(index))
            try file.log.append(text, to: channel)
            texts[channel, default: []].append(text)
        }
        file.settle()
        file.checkpoint()
        let sizes = file.disk.everything().filter { $0.key.hasSuffix(".seg") }.map { $0.value.count }
        #expect(sizes.count >= 7 && sizes.allSatisfy { $0 < (128 + 64 + 4) << 10 }, "\(sizes)")
        try file.reopen(after: .dropAll)
        for (channel, texts) in texts { #expect(file.log.payloads(of: channel) == texts) }
    }

    @Test("where the disk is full nothing of a lot counts, and all of it is written when there is space")
    func full() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let first = try fill(file, channel, 0..<100)
        let before = file.log.statistics.segmentBytesWritten
        file.disk.onCall { call, path in call == .write && path.hasSuffix(".seg") ? 28 : nil }
        let second = try fill(file, channel, 100..<500)
        #expect(file.log.statistics.segmentBytesWritten == before && file.log.closedReason == nil)
        file.disk.onCall(nil)
        file.log.expire(now: 0)
        file.settle()
        #expect(file.log.statistics.segmentBytesWritten > before)
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == first + second)
        #expect(file.log.statistics.damage == [])
    }

    @Test("where no descriptor is left for that, they go through the page cache and are handed to the disk")
    func noDescriptor() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let first = try fill(file, channel, 0..<100)
        let handed = Atomic(0)
        file.disk.onCall { call, path in
            if call == .beginWriteBack, path.hasSuffix(".seg") { handed.add(1, ordering: .relaxed) }
            return call == .open && path.hasSuffix(".seg") ? 24 : nil
        }
        let second = try fill(file, channel, 100..<600)
        #expect(file.log.closedReason == nil && handed.load(ordering: .relaxed) == 1)
        file.disk.onCall(nil)
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == first + second)
    }

    @Test("where none is left to look into a directory, blocks wait and the log stays open")
    func noDescriptorToList() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.checkpoint()
        try file.reopen(after: .process)
        let asked = Atomic(0)
        file.disk.onCall { call, path in
            guard call == .list, path.hasPrefix("/data/channels") else { return nil }
            asked.add(1, ordering: .relaxed)
            return 24
        }
        let texts = try fill(file, channel, 0..<300)
        #expect(asked.load(ordering: .relaxed) > 0 && file.log.closedReason == nil)
        file.disk.onCall(nil)
        file.log.expire(now: 1)
        file.checkpoint()
        #expect(file.disk.everything().keys.contains { $0.hasSuffix(".seg") })
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
    }

    @Test("a disk that fails then closes the log; what was acknowledged comes from the journal")
    func fails() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let first = try fill(file, channel, 0..<10)
        file.disk.onCall { call, path in call == .write && path.hasSuffix(".seg") ? 5 : nil }
        let second = try fill(file, channel, 10..<600)
        let reason = try #require(file.log.closedReason)
        #expect(reason.contains("write /data/channels"), "\(reason)")
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == first + second)
        #expect(file.log.statistics.damage == [])
    }
}
