import BrokerLog
import Glibc
import Synchronization
import Testing

@Suite("Blocks go to the disk before a checkpoint asks for it")
struct WriteBackTests {
    /// Each block is written before the next one is full. Ends where the log is closed.
    private func fill(_ file: FileLog, _ channel: ChannelID, _ range: Range<Int>) throws -> [String] {
        var texts: [String] = []
        for index in range where file.log.closedReason == nil {
            texts.append("\(index) " + noise(1_000, seed: UInt64(index)))
            try file.log.append(texts[texts.count - 1], to: channel)
            if texts.count % 30 == 0 { file.settle() }
        }
        file.settle()
        return texts
    }

    @Test("full blocks are handed to the disk a quarter of a MiB at once, the rest with the checkpoint")
    func full() throws {
        let file = try FileLog()
        let handed = Atomic(0)
        file.disk.onCall { call, path in
            if call == .beginWriteBack, path.hasSuffix(".seg") { handed.add(1, ordering: .relaxed) }
            return nil
        }
        let large = try file.log.createChannel(named: bytes("large"), limits: ChannelLimits())
        let texts = try fill(file, large, 0..<600)
        #expect(handed.load(ordering: .relaxed) == 2, "nine blocks of 64 KiB are full")
        file.checkpoint()
        #expect(handed.load(ordering: .relaxed) == 2, "the tail goes with the checkpoint")
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: large) == texts)
    }

    @Test("blocks of several channels go together, each file's once")
    func several() throws {
        let file = try FileLog()
        let handed = Mutex<[String: Int]>([:])
        file.disk.onCall { call, path in
            if call == .beginWriteBack, path.hasSuffix(".seg") {
                handed.withLock { $0[path, default: 0] += 1 }
            }
            return nil
        }
        let channels = try (0..<4).map {
            try file.log.createChannel(named: bytes("c\($0)"), limits: ChannelLimits())
        }
        var texts: [[String]] = []
        for channel in channels { texts.append(try fill(file, channel, 0..<70)) }
        #expect(handed.withLock { $0.count } == 4 && handed.withLock { $0.values.allSatisfy { $0 == 1 } })
        file.checkpoint()
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        for (channel, texts) in zip(channels, texts) { #expect(file.log.payloads(of: channel) == texts) }
    }

    @Test("the disk takes one lot while the next is made: each is waited for before the next is begun")
    func overlap() throws {
        let file = try FileLog()
        let calls = Mutex<[SimulatedFileSystem.Call]>([])
        file.disk.onCall { call, path in
            if [.beginWriteBack, .awaitWriteBack].contains(call), path.hasSuffix(".seg") {
                calls.withLock { $0.append(call) }
            }
            return nil
        }
        let large = try file.log.createChannel(named: bytes("large"), limits: ChannelLimits())
        _ = try fill(file, large, 0..<900)
        #expect(
            calls.withLock { $0 }
                == [.beginWriteBack, .awaitWriteBack, .beginWriteBack, .awaitWriteBack, .beginWriteBack])
        // A file that is closed could not say any more that the disk did not take the last one.
        file.checkpoint()
        #expect(calls.withLock { $0.suffix(1) } == [.awaitWriteBack])
    }

    /// Sixty channels, 3 MB, none of which has a full block.
    private func fillTails(_ file: FileLog) throws -> [ChannelID: String] {
        var texts: [ChannelID: String] = [:]
        for index in 0..<60 {
            let channel = try file.log.createChannel(named: bytes("c\(index)"), limits: ChannelLimits())
            texts[channel] = noise(50_000, seed: UInt64(index))
            try file.log.append(texts[channel] ?? "", to: channel)
        }
        file.settle()
        return texts
    }

    @Test("the tails of many channels go to the disk a MiB at a time, each waited for before the next")
    func tails() throws {
        let file = try FileLog { $0.journalSizeBytes = 64 << 20 }
        let texts = try fillTails(file)
        let calls = Mutex<[SimulatedFileSystem.Call]>([])
        file.disk.onCall { call, path in
            if path.hasSuffix(".tails"), call != .open { calls.withLock { $0.append(call) } }
            return nil
        }
        file.checkpoint()
        #expect(
            calls.withLock { $0 } == [
                .write, .beginWriteBack, .awaitWriteBack, .write, .beginWriteBack, .awaitWriteBack, .write,
            ], "the last piece goes with the sync of all")
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        for (channel, text) in texts { #expect(file.log.payloads(of: channel) == [text]) }
    }

    /// Files of checkpoints.
    private func attempts(_ file: FileLog) -> [String] {
        file.disk.everything().keys.filter { $0.hasPrefix("/data/checkpoints/") }.sorted()
    }

    @Test(
        "a checkpoint that the full disk has no room for leaves nothing that the next one needs",
        arguments: 0..<2)
    func attemptOnAFullDisk(_ call: Int) throws {
        let file = try FileLog { $0.journalSizeBytes = 64 << 20 }
        let texts = try fillTails(file)
        file.disk.onCall { kind, path in
            let refused: (SimulatedFileSystem.Call, String) = [(.write, ".tails"), (.write, ".tmp")][call]
            return kind == refused.0 && path.hasSuffix(refused.1) ? 28 : nil
        }
        file.checkpoint()
        #expect(file.log.closedReason == nil && file.log.statistics.checkpoints == 0)
        #expect(attempts(file) == [])
        file.disk.onCall(nil)
        file.checkpoint()
        #expect(file.log.statistics.checkpoints == 1 && attempts(file).count == 2)
        try file.reopen(after: .dropAll)
        for (channel, text) in texts { #expect(file.log.payloads(of: channel) == [text]) }
    }

    @Test("a checkpoint whose name may be there keeps its tails, as far as the attempt came")
    func attemptThatMayCount() throws {
        let file = try FileLog { $0.journalSizeBytes = 64 << 20 }
        let texts = try fillTails(file)
        file.disk.onCall { kind, path in
            kind == .syncDirectory && path == "/data/checkpoints" ? 5 : nil
        }
        file.checkpoint()
        #expect(file.log.closedReason != nil && attempts(file).count == 2)
        file.disk.onCall(nil)
        for crash in SimulatedFileSystem.Crash.allCases {
            let copy = SimulatedFileSystem(copying: file.disk, seed: 1)
            copy.crash(crash)
            let log = try Log.open(file.configuration, fileSystem: copy, clock: LogClock { 0 }, wake: {})
            for (channel, text) in texts { #expect(log.payloads(of: channel) == [text]) }
            #expect(log.statistics.damage == [])
        }
    }

    @Test(
        "a disk that does not take them closes the log; all comes from the journal",
        arguments: [SimulatedFileSystem.Call.beginWriteBack, .awaitWriteBack])
    func tailsFail(_ failing: SimulatedFileSystem.Call) throws {
        let file = try FileLog { $0.journalSizeBytes = 64 << 20 }
        let texts = try fillTails(file)
        file.disk.onCall { call, path in call == failing && path.hasSuffix(".tails") ? EIO : nil }
        file.checkpoint()
        #expect(file.log.closedReason != nil)
        #expect(attempts(file) == [])
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        for (channel, text) in texts { #expect(file.log.payloads(of: channel) == [text]) }
    }

    @Test(
        "a disk that fails then closes the log; what was acknowledged comes from the journal",
        arguments: [SimulatedFileSystem.Call.beginWriteBack, .awaitWriteBack])
    func fails(_ failing: SimulatedFileSystem.Call) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let first = try fill(file, channel, 0..<10)
        file.disk.onCall { call, path in call == failing && path.hasSuffix(".seg") ? 28 : nil }
        let second = try fill(file, channel, 10..<600)
        #expect(second.count < 590)
        let reason = try #require(file.log.closedReason)
        #expect(reason.contains(failing.rawValue), "\(reason)")
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == first + second)
        #expect(file.log.statistics.damage == [])
    }
}
