import Synchronization
import Testing

@testable import BrokerLog

@Suite("What is acknowledged behind a journal that lost files")
struct LostJournalTests {
    private func write(_ file: FileLog, _ texts: [String], to channel: ChannelID) throws {
        for text in texts { try file.log.append(text, to: channel) }
        file.settle()
    }

    private func removeJournal(_ file: FileLog, from first: String = "") throws {
        for path in file.journal where path >= first { try file.disk.remove(path) }
        try file.disk.syncAll("/")
    }

    @Test("all of them: new ones do not pass for those that a checkpoint names", arguments: [0, 1, 2])
    func allFiles(checkpointsAfter: Int) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for round in 0..<6 {
            try write(file, (0..<40).map { "\(round) \($0) " + noise(2_000, seed: UInt64($0)) }, to: channel)
            file.checkpoint()
        }
        let kept = file.log.payloads(of: channel)
        file.disk.crash(.process)
        try removeJournal(file)
        try file.reopen(after: .process)
        #expect(file.log.recovery.damage.map(\.reason).contains { $0.contains("is missing") })
        try write(file, ["one"], to: channel)
        for _ in 0..<checkpointsAfter { file.checkpoint() }
        try write(file, (0..<100).map { "\($0) " + noise(2_000, seed: UInt64($0)) }, to: channel)
        let all = file.log.payloads(of: channel)
        #expect(all.count == kept.count + 101)
        for crash in [SimulatedFileSystem.Crash.dropAll, .process] {
            try file.reopen(after: crash)
            #expect(file.log.payloads(of: channel) == all)
        }
    }

    @Test("those from the one on where recovery begins")
    func newestFiles() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for round in 0..<3 {
            try write(file, (0..<60).map { "\(round) \($0) " + noise(2_000, seed: UInt64($0)) }, to: channel)
            file.checkpoint()
        }
        let kept = file.log.payloads(of: channel)
        let newest = try #require(file.disk.everything().keys.filter { $0.hasSuffix(".checkpoint") }.max())
        let bytes = try #require(file.disk.content(newest))
        let number = try #require(CheckpointFile.number(String(newest.suffix(27)), ".checkpoint"))
        let checkpoint = try #require(
            CheckpointFile(bytes, number: number, storeID: file.log.disk?.directory.storeID ?? 0))
        file.disk.crash(.process)
        try removeJournal(file, from: "/data/journal/" + JournalFileHeader.name(checkpoint.place.file))
        try #require(!file.journal.isEmpty)
        try file.reopen(after: .process)
        try write(file, ["one", "two"], to: channel)
        for _ in 0..<2 {
            try file.reopen(after: .dropAll)
            #expect(file.log.payloads(of: channel) == kept + ["one", "two"])
            #expect(!file.log.recovery.damage.isEmpty)
        }
    }

    @Test("the newest, behind one that was begun and never written to")
    func behindAnEmptyOne() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        try file.reopen(after: .dropAll)
        // Of the next file the header is written and its first frame is not.
        let writes = Mutex<[String: Int]>([:])
        file.disk.onCall { call, path in
            guard path.hasPrefix("/data/journal/") else { return nil }
            return writes.withLock { writes in
                if call == .sync { writes[path] = 0 }
                if call == .write { writes[path, default: 0] += 1 }
                return call == .write && writes[path] == 2 ? SimulatedFileSystem.machineIsOff : nil
            }
        }
        try file.log.append("never acknowledged", to: channel)
        #expect(file.settle().closed != nil)
        file.disk.onCall(nil)
        try file.reopen(after: .process)
        try write(file, ["one"], to: channel)
        let newest = try #require(
            file.journal.last { file.disk.content($0)?[4096..<4100] == [0x44, 0x4A, 0x46, 0x31] })
        try file.disk.remove(newest)
        try file.disk.syncAll("/")
        try file.reopen(after: .process)
        #expect(file.log.recovery.damage.count == 1, "\(file.log.recovery)")
        #expect(file.log.payloads(of: channel).isEmpty)
    }

    @Test("frames that a publisher hid in messages do not count when their file is used again")
    func hiddenFrames() throws {
        let file = try FileLog { $0.segmentBytes = 150_000 }
        let channel = try file.log.createChannel(
            named: bytes("a"), limits: ChannelLimits(maxMessages: 50))
        // Whole frames at every sector, of the next generations if those were counted one by one.
        var hidden: [UInt8] = []
        var body: [UInt8] = [UInt8](repeating: 0, count: Record.headerSize)
        body.withUnsafeMutableBytes { record in
            record.storeBytes(of: UInt32(Record.headerSize).littleEndian, as: UInt32.self)
        }
        for generation in 1...100 {
            var sector = [UInt8](repeating: 0, count: 512)
            sector.replaceSubrange(48..<(48 + body.count), with: body)
            let frame = JournalFrame(
                length: UInt32(body.count), generation: UInt64(generation), firstPosition: 1 << 40,
                knownSynced: 1 << 40, recordCount: 1, previousChecksum: 0)
            sector.withUnsafeMutableBytes { buffer in
                if let base = buffer.baseAddress { _ = frame.seal(at: base) }
            }
            hidden += sector
        }
        for round in 0..<60 {
            // Each at another place within a sector.
            let payload = [UInt8](repeating: 32, count: (round * 37) % 512) + hidden
            _ = try payload.withUnsafeBytes { payload in
                try [UInt8]().withUnsafeBytes { empty in
                    try file.log.append(
                        to: channel, wallClock: 1, reply: empty, headers: empty, payload: payload)
                }
            }
            file.settle()
            if round % 4 == 3 { file.checkpoint() }
        }
        let generations = file.journal.compactMap { path -> UInt64? in
            guard let content = file.disk.content(path),
                let number = JournalFileHeader.number(String(path.suffix(20))),
                case .used(let header) = JournalFileHeader.read(
                    Array(content.prefix(4096)), number: number,
                    storeID: file.log.disk?.directory.storeID ?? 0)
            else { return nil }
            return header.generation
        }.sorted()
        #expect(zip(generations, generations.dropFirst()).allSatisfy { $1 - $0 > 1_000 }, "\(generations)")
        let (info, durable) = (file.log.info(of: channel), file.log.durable)
        try file.reopen(after: .process)
        #expect(file.log.recovery.damage.isEmpty && file.log.info(of: channel) == info)
        #expect(file.log.durable == durable)
    }

    @Test("a journal that begins behind refused messages tells everything, when no checkpoint is whole")
    func refusedAtFirst() throws {
        let file = try FileLog()
        file.disk.capacity = 0
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try file.log.append("refused", to: channel)
        file.settle()
        file.disk.capacity = .max
        file.log.expire(now: 0)
        file.settle()
        try write(file, ["one", "two"], to: channel)
        file.checkpoint()
        file.disk.flipBit("/data/checkpoints/0000000000000001.checkpoint", byte: 100, bit: 2)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["one", "two"])
    }
}
