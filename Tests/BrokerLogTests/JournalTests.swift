import Glibc
import Testing

@testable import BrokerLog

@Suite("The journal")
struct JournalTests {
    @Test("nothing is durable or visible before the sync")
    func notBeforeSync() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let appended = try file.log.append("one", to: channel)
        file.log.submit()
        #expect(file.log.poll() == LogNews() && file.log.durable < appended.position)
        guard case .end = file.log.read(channel, at: 1) else {
            Issue.record("visible")
            return
        }
        #expect(file.log.bytesInFlight > 0)
        #expect(file.settle().durableAdvanced && file.log.durable == appended.position)
        #expect(file.log.bytesInFlight == 0 && file.log.statistics.syncs == 1)
    }

    @Test("what was durable is there after each kind of crash", arguments: SimulatedFileSystem.Crash.allCases)
    func survives(crash: SimulatedFileSystem.Crash) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var expected: [String] = []
        for index in 0..<300 {
            try file.log.append("message \(index)", to: channel, at: Int64(index), reply: "r", headers: "h")
            expected.append("message \(index)")
            if index % 7 == 0 { file.settle() }
        }
        bytes("state").withUnsafeBytes { _ = file.log.appendState($0) }
        file.settle()
        try file.log.append("not submitted", to: channel)
        try file.reopen(after: crash)
        #expect(file.log.channels == [channel] && file.log.payloads(of: channel) == expected)
        #expect(file.log.recoveredState.records == [bytes("state")])
        #expect(file.log.recovery.damage.isEmpty)
        #expect(try file.log.append("next", to: channel).sequence == 301)
        file.settle()
        try file.reopen(after: crash)
        #expect(file.log.payloads(of: channel) == expected + ["next"])
    }

    @Test(
        "what waits for a sync becomes one frame, up to 1 MiB",
        arguments: zip([300 << 10, 600 << 10], [2, 4]))
    func shared(messageBytes: Int, frames: Int) throws {
        let file = try FileLog { $0.journalSizeBytes = 64 << 20 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        let message = String(repeating: "x", count: messageBytes)
        for _ in 0..<4 {
            try file.log.append(message, to: channel)
            file.log.submit()
        }
        var written = 0
        while file.log.stepCommit() { written += 1 }
        #expect(written == frames)
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == [message, message, message, message])
    }

    @Test("opening twice without a write changes no byte")
    func reopenChangesNothing() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<100 { try file.log.append("message \(index)", to: channel) }
        file.settle()
        file.disk.crash(.random)
        let before = file.disk.everything()
        for _ in 0..<2 {
            try file.reopen(after: .process)
            #expect(file.disk.everything() == before)
        }
    }

    @Test("files are used one after the other, and an idle store stays small")
    func rolls() throws {
        let file = try FileLog()
        #expect(file.disk.everything().values.reduce(0) { $0 + $1.count } < 1_000)
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let text = String(repeating: "x", count: 20_000)
        for _ in 0..<20 {
            try file.log.append(text, to: channel)
            file.settle()
        }
        #expect(file.journal.count > 5)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel).count == 20)
    }

    @Test("a frame larger than a journal file is kept whole")
    func largeFrame() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let large = String(repeating: "x", count: 300_000)
        for text in ["small", large, "small", large, large] {
            try file.log.append(text, to: channel)
            file.settle()
        }
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["small", large, "small", large, large])
    }

    @Test("every bit flip in a small journal is noticed or harmless, and nothing else is lost")
    func bitFlips() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<6 {
            try file.log.append("message \(index)", to: channel)
            file.settle()
        }
        let path = try #require(file.journal.first)
        let whole = try #require(file.disk.content(path))
        let frames = (0..<6).map { 4096 + 512 * $0 }
        for byte in [Array(0..<64), Array(2048..<2112), frames.flatMap { Array($0..<($0 + 112)) }].joined() {
            file.disk.flipBit(path, byte: byte, bit: byte % 8)
            try file.reopen(after: .process)
            let found = file.log.channels.first.map { file.log.payloads(of: $0) } ?? []
            for text in found where text != "-" { #expect(text.hasPrefix("message ")) }
            if byte < 4096 {
                #expect(
                    found.count == 6 && file.log.recovery.damage.isEmpty, "there are two copies of the header"
                )
            } else if byte < frames[5] {
                let isPadding =
                    (byte - 4096) % 512 >= 48 + 40 + 24 + 1 + 40 + 9 || file.log.recovery.damage.isEmpty
                let frame = (byte - 4096) / 512
                if isPadding {
                    #expect(found.count == 6, "byte \(byte)")
                } else {
                    let damage = try #require(file.log.recovery.damage.first, "byte \(byte)")
                    #expect(
                        damage.file == String(path.dropFirst(6)) && damage.offset == UInt64(frames[frame]))
                    if frame > 0 {
                        #expect(found.count == 6 && found[frame] == "-", "byte \(byte): \(found)")
                        let info = try #require(file.log.info(of: channel))
                        #expect(
                            info.damage == [UInt64(frame + 1)...UInt64(frame + 1)] && info.lastSequence == 6)
                    }
                }
            }
            file.disk.overwrite(path, with: whole)
        }
    }

    @Test("a journal cut at any byte opens with a prefix of what was written")
    func truncation() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<4 {
            try file.log.append("message \(index)", to: channel)
            file.settle()
        }
        let path = try #require(file.journal.first)
        let whole = try #require(file.disk.content(path))
        for length in stride(from: 0, to: 4096 + 512 * 5, by: 13) {
            file.disk.overwrite(path, with: Array(whole.prefix(length)))
            try file.reopen(after: .process)
            let found = file.log.channels.first.map { file.log.payloads(of: $0) } ?? []
            #expect(found == (0..<4).prefix(found.count).map { "message \($0)" })
            file.disk.overwrite(path, with: whole)
        }
    }

    @Test("a full disk refuses messages, keeps control records, and takes messages again when space returns")
    func fullDisk() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try file.log.append("kept", to: channel)
        file.settle()
        file.disk.capacity = 0
        let text = String(repeating: "x", count: 9_000)
        var expected = ["kept"]
        var refused = false
        for index in 0..<40 {
            try file.log.append("\(index)\(text)", to: channel)
            let state = bytes("state \(index)").withUnsafeBytes { file.log.appendState($0) }
            let news = file.settle()
            if news.refused != nil {
                refused = true
                #expect(
                    file.settle().durableAdvanced && file.log.durable >= state,
                    "the spare takes control records")
                #expect(file.log.payloads(of: channel) == expected)
                break
            }
            expected.append("\(index)\(text)")
        }
        #expect(refused && file.log.statistics.refusedMessages == 1)
        file.disk.capacity = .max
        let next = try file.log.append("later", to: channel)
        #expect(next.sequence == UInt64(expected.count + 1))
        file.settle()
        let states = file.log.durable.rawValue - UInt64(expected.count)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == expected + ["later"])
        #expect(file.log.recoveredState.records.count == expected.count && states > 0)
    }

    @Test(
        "a message that the full disk cut short, however little is missing, does not come up after a crash",
        arguments: [SyncPolicy.always, .interval(nanoseconds: 1_000), .never],
        [true, false])
    func cutShort(sync: SyncPolicy, truncates: Bool) throws {
        var taken = 0
        var refused = 0
        let small = noise(40_000, seed: 1)
        let large = noise(100_000, seed: 2)
        // The file grows by 43 KiB, of which the last page and what fills the one before are zeros.
        for left in Array(stride(from: 0, to: 32 << 10, by: 8_000))
            + stride(from: 32 << 10, through: 48 << 10, by: 512)
        {
            let file = try FileLog(seed: UInt64(left)) { $0.sync = sync }
            let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
            // More than half of a file, so that two are ready, of which a message may have one.
            try file.log.append(small, to: channel)
            file.settle()
            file.disk.capacity = file.disk.used + left
            let before = file.journal.map { file.disk.content($0)?.count }
            try file.log.append(large, to: channel)
            if !truncates { file.disk.onCall { call, _ in call == .truncate ? EIO : nil } }
            file.settle()
            file.disk.onCall(nil)
            try #require(file.log.closedReason == nil)
            var kept = [small]
            if file.log.statistics.refusedMessages == 0 {
                taken += 1
                kept.append(large)
            } else {
                refused += 1
                let after = file.journal.map { file.disk.content($0)?.count }
                try #require((after == before) == (truncates || left == 0), "what was taken is given back")
            }
            file.disk.capacity = .max
            for crash in SimulatedFileSystem.Crash.allCases {
                let copy = SimulatedFileSystem(copying: file.disk, seed: UInt64(left))
                copy.crash(crash)
                let survivors = try Log.open(
                    file.configuration, fileSystem: copy, clock: LogClock { 0 }, wake: {}
                ).payloads(of: channel)
                let isWhole = sync == .always || crash == .process
                try #require(
                    survivors == (isWhole ? kept : Array(kept.prefix(survivors.count))), "\(left) bytes")
            }
            try file.log.append("later", to: channel)
            file.settle()
            try file.reopen(after: .process)
            try #require(file.log.payloads(of: channel) == kept + ["later"], "\(left) bytes")
            try #require(file.log.recovery.damage.isEmpty)
        }
        #expect(taken > 5 && refused > 10)
    }

    @Test(
        "a journal file that cannot be removed, recycled or set aside stops no publisher",
        arguments: [StuckFile.removed, .recycled, .setAside])
    func stuckFile(_ kind: StuckFile) throws {
        // The first file is smaller than the later ones of a large journal.
        let file = try FileLog { if kind == .removed { $0.journalSizeBytes = 64 << 20 } }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits(maxMessages: 5))
        file.settle()
        try file.log.append("first", to: channel)
        file.settle()
        if kind == .setAside {
            file.checkpoint()
            try file.log.append("second", to: channel)
            file.settle()
            try file.log.append("third", to: channel)
            file.settle()
        }
        let stuck = try #require(file.journal.first)
        if kind == .setAside {
            file.disk.flipBit(stuck, byte: 4096 + 2 * 512 + 60, bit: 1)
            try file.reopen(after: .process)
            try #require(!file.log.recovery.damage.isEmpty)
        }
        file.disk.onCall { call, path in
            (call == .remove || call == .rename) && path == stuck ? 1 : nil
        }
        let text = noise(100_000, seed: 1)
        var refused = 0
        for index in 0..<120 {
            try file.log.append(text, to: channel)
            refused += file.settle().refused == nil ? 0 : 1
            if index % 6 == 5 { file.checkpoint() }
        }
        #expect(refused <= 1 && file.log.statistics.closedReason == nil)
        #expect(file.log.statistics.checkpoints == 20)
        #expect(file.disk.content(stuck) != nil)
        file.disk.onCall(nil)
        // The next start tries it again.
        try file.reopen(after: .dropAll)
        for index in 0..<60 {
            try file.log.append(text, to: channel)
            file.settle()
            if index % 6 == 5 { file.checkpoint() }
        }
        #expect(file.disk.content(stuck) == nil && file.log.info(of: channel)?.messages == 5)
    }

    /// What a journal file waits for in vain.
    enum StuckFile { case removed, recycled, setAside }

    @Test("no sequence is given that a start would not believe", arguments: [1, 2, 1 << 55, 1 << 56])
    func highestSequence(below: UInt64) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        file.log.raiseNextSequence(of: channel, above: (1 << 56) &- below)
        file.log.raiseNextSequence(of: channel, above: .max)
        for text in ["one", "two", "three"] {
            let sequence = try file.log.append(text, to: channel).sequence
            #expect(sequence < 4)
            file.settle()
        }
        file.checkpoint()
        try file.log.append("four", to: channel)
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.damage.isEmpty)
        #expect(file.log.payloads(of: channel) == ["one", "two", "three", "four"])
        // As high as anyone can come.
        let other = try file.log.createChannel(named: bytes("b"), limits: ChannelLimits())
        file.settle()
        file.log.raiseNextSequence(of: other, above: 1 << 54)
        #expect(try file.log.append("one", to: other).sequence == (1 << 54) + 1)
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: other, from: (1 << 54) + 1) == ["one"])
    }

    @Test("a failed sync closes the log for writing; what was durable is served")
    func failedSync() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try file.log.append("one", to: channel)
        file.settle()
        file.disk.onCall { call, _ in call == .sync ? 5 : nil }
        try file.log.append("two", to: channel)
        let news = file.settle()
        #expect(news.closed != nil && !news.durableAdvanced)
        #expect(throws: AppendRefused.self) { try file.log.append("three", to: channel) }
        #expect(file.log.payloads(of: channel) == ["one"])
        file.disk.onCall(nil)
        #expect(file.settle().durableAdvanced == false, "a failed sync is never retried")
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["one"])
        #expect(try file.log.append("two", to: channel).sequence == 2)
    }

    @Test("what a failed sync left in the page cache is not believed by the next start")
    func pageCache() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try file.log.append("one", to: channel)
        file.settle()
        file.disk.onCall { call, _ in call == .sync ? 5 : nil }
        try file.log.append("two", to: channel)
        #expect(file.settle().closed != nil)
        file.disk.onCall(nil)
        // The process starts again on the same machine, whose pages hold both, and then the power goes.
        try file.reopen(after: .process)
        let served = file.log.payloads(of: channel)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == served && served.first == "one")
    }

    @Test("deleted channels, changed limits and expired messages stay so")
    func controlRecords() throws {
        let file = try FileLog()
        let kept = try file.log.createChannel(named: bytes("kept"), limits: ChannelLimits(maxAge: 100))
        let gone = try file.log.createChannel(named: bytes("gone"), limits: ChannelLimits())
        for time in 1...10 {
            try file.log.append("message \(time)", to: kept, at: Int64(time * 10))
            try file.log.append("message", to: gone)
        }
        file.settle()
        try file.log.deleteChannel(gone)
        file.log.expire(now: 130)
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.channels == [kept] && file.log.channel(named: bytes("gone")) == nil)
        #expect(file.log.info(of: kept)?.firstSequence == 4)
        file.log.setLimits(ChannelLimits(maxMessages: 2), of: kept)
        #expect(file.log.info(of: kept)?.firstSequence == 9)
        file.log.setLimits(ChannelLimits(), of: kept)
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.info(of: kept)?.firstSequence == 9 && file.log.limits(of: kept) == ChannelLimits())
        #expect(
            try file.log.createChannel(named: bytes("new"), limits: ChannelLimits()).rawValue > gone.rawValue)
    }
}
