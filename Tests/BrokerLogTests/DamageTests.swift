import BrokerLog
import Testing

/// Faults that simulation or review found, each as a test of its own.
@Suite("Damage that is bounded and named")
struct DamageTests {
    private func frames(_ file: FileLog, _ text: [String], to channel: ChannelID) throws {
        for text in text {
            try file.log.append(text, to: channel)
            file.settle()
        }
    }

    @Test("a channel whose creation is damaged keeps what is whole of it", arguments: [false, true])
    func damagedCreation(nameIsLost: Bool) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("orders"), limits: ChannelLimits())
        file.settle()
        try frames(file, ["one", "two", "three"], to: channel)
        let path = try #require(file.journal.first)
        // The frame with the creation: its checksum, or all of it.
        for byte in nameIsLost ? 4096..<4400 : 4140..<4141 { file.disk.flipBit(path, byte: byte, bit: 1) }
        try file.reopen(after: .process)
        #expect(!file.log.recovery.damage.isEmpty)
        let found = try #require(file.log.channels.first)
        #expect(file.log.payloads(of: found) == ["one", "two", "three"])
        #expect(file.log.name(of: found) == bytes(nameIsLost ? "damaged.channel.1" : "orders"))
        #expect(try file.log.append("four", to: found).sequence == 4)
        file.settle()
        file.checkpoint()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: found) == ["one", "two", "three", "four"])
    }

    @Test("a name that is used again is not given to the channel whose deletion is damaged")
    func damagedDeletion() throws {
        let file = try FileLog()
        let old = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        try frames(file, ["old"], to: old)
        try file.log.deleteChannel(old)
        file.settle()
        let new = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        try frames(file, ["new", "newer"], to: new)
        let path = try #require(file.journal.first)
        file.disk.flipBit(path, byte: 4096 + 2 * 512 + 44, bit: 0)
        try file.reopen(after: .process)
        #expect(file.log.channel(named: bytes("a")) == new && file.log.payloads(of: new) == ["new", "newer"])
    }

    @Test("the newest file of the journal is missed when it is emptied or gone", arguments: [false, true])
    func newestFile(isGone: Bool) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        try file.reopen(after: .dropAll)
        try frames(file, ["one"], to: channel)
        let newest = try #require(
            file.journal.last { file.disk.content($0)?[4096..<4100] == [0x44, 0x4A, 0x46, 0x31] })
        if isGone { try file.disk.remove(newest) } else { file.disk.overwrite(newest, with: []) }
        try file.reopen(after: .process)
        #expect(file.log.recovery.damage.count == 1, "\(file.log.recovery)")
        // Positions go on behind what is known to have been there.
        try frames(file, ["two"], to: channel)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["two"] && !file.log.recovery.damage.isEmpty)
    }

    @Test("the only file of a journal keeps its messages when its header is gone, and says so")
    func onlyFile() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        try frames(file, ["one", "two"], to: channel)
        let path = try #require(file.journal.first)
        var content = try #require(file.disk.content(path))
        content.replaceSubrange(0..<4096, with: repeatElement(0, count: 4096))
        file.disk.overwrite(path, with: content)
        for _ in 0..<2 {
            try file.reopen(after: .process)
            #expect(file.log.payloads(of: channel) == ["one", "two"])
            #expect(file.log.recovery.damage.map(\.file) == [String(path.dropFirst(6))])
        }
        try frames(file, ["three"], to: channel)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["one", "two", "three"])
    }

    @Test("a first frame whose header a crash tore was never acknowledged: it is cut, and is no damage")
    func tornFirstHeader() throws {
        let file = try FileLog()
        _ = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        let path = try #require(file.journal.first)
        var content = try #require(file.disk.content(path))
        content.replaceSubrange(0..<4096, with: repeatElement(0, count: 4096))
        file.disk.overwrite(path, with: content)
        for _ in 0..<2 {
            try file.reopen(after: .process)
            #expect(file.log.channels.isEmpty && file.log.recovery.damage.isEmpty)
            #expect(file.log.recovery.cutTail != nil)
        }
        let channel = try file.log.createChannel(named: bytes("b"), limits: ChannelLimits())
        try frames(file, ["one"], to: channel)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["one"] && file.log.recovery.damage.isEmpty)
    }

    @Test("an unsealed segment that is missing, short or another's is named at opening")
    func unsealedSegment() throws {
        let file = try FileLog()
        var paths: [String] = []
        for name in ["a", "b"] {
            let channel = try file.log.createChannel(named: bytes(name), limits: ChannelLimits())
            for index in 0..<12 { try file.log.append(noise(16_000, seed: UInt64(index)), to: channel) }
            file.settle()
            paths.append("/data/channels/\(channel.rawValue)/00000000000000000001.seg")
        }
        file.checkpoint()
        let whole = try paths.map { try #require(file.disk.content($0)) }
        let damages: [(String, () throws -> Void)] = [
            ("short", { file.disk.overwrite(paths[0], with: Array(whole[0].dropLast(60_000))) }),
            ("emptied", { file.disk.overwrite(paths[0], with: []) }),
            ("another's", { file.disk.overwrite(paths[0], with: whole[1]) }),
            ("missing", { try file.disk.remove(paths[0]) }),
        ]
        for (what, damage) in damages {
            try damage()
            try file.reopen(after: .process)
            #expect(
                file.log.recovery.damage.contains { $0.file == String(paths[0].dropFirst(6)) }, "\(what)")
            let found = file.log.payloads(of: file.log.channels[0])
            #expect(found.last == noise(16_000, seed: 11) && found.contains("-"), "\(what)")
            #expect(file.log.payloads(of: file.log.channels[1]).count == 12)
            if what != "missing" { file.disk.overwrite(paths[0], with: whole[0]) }
        }
    }

    @Test("a place of the journal that cannot be read costs what lies there")
    func unreadable() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try frames(file, (0..<24).map { "message \($0)" }, to: channel)
        let path = try #require(file.journal.first)
        file.disk.makeUnreadable(path, 8192..<12288)
        try file.reopen(after: .process)
        let found = file.log.payloads(of: channel)
        #expect(found.count == 17 && found.contains("-") && found.last == "message 23", "\(found)")
        #expect(file.log.info(of: channel)?.damage == [9...16])
    }

    @Test("damage of the file that says whose store it is ends when that file is restored")
    func restoredStoreFile() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let store = try #require(file.disk.content("/data/store"))
        file.settle()
        file.disk.flipBit("/data/store", byte: 25, bit: 1)
        for isDamaged in [true, true, false, false] {
            if !isDamaged { file.disk.overwrite("/data/store", with: store) }
            try file.reopen(after: .process)
            #expect(file.log.recovery.damage.map(\.file) == (isDamaged ? ["store"] : []))
            #expect(file.log.statistics.damage.map(\.file) == (isDamaged ? ["store"] : []))
            try frames(file, ["more"], to: channel)
            file.checkpoint()
            #expect(file.log.statistics.checkpoints == 1)
        }
        #expect(file.log.payloads(of: channel).count == 4)
    }

    @Test("files in which something is damaged are kept when they are not needed any more")
    func kept() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try frames(file, (0..<8).map { "message \($0)" }, to: channel)
        file.checkpoint()
        try frames(file, ["tail"], to: channel)
        file.checkpoint()
        try frames(file, (0..<8).map { "later \($0)" }, to: channel)
        let journal = try #require(file.journal.first)
        file.disk.flipBit(journal, byte: 4096 + 11 * 512 + 60, bit: 1)
        let tails = try #require(file.disk.everything().keys.filter { $0.hasSuffix(".tails") }.max())
        file.disk.flipBit(tails, byte: 100, bit: 1)
        let damaged = try [journal, tails].map { ($0 + ".damaged", try #require(file.disk.content($0))) }
        try file.reopen(after: .process)
        #expect(file.log.recovery.damage.count == 2, "\(file.log.recovery.damage)")
        let large = noise(20_000, seed: 1)
        for round in 0..<8 {
            try frames(file, [large, large, large, large], to: channel)
            file.checkpoint()
            if round == 4 { try file.reopen(after: .dropAll) }
        }
        for (path, content) in damaged { #expect(file.disk.content(path) == content, "\(path)") }
        #expect(file.disk.content(journal) == nil && file.disk.content(tails) == nil)
        #expect(file.log.statistics.journalFileBytes <= 1 << 20)
        #expect(file.log.statistics.closedReason == nil && file.log.statistics.checkpoints == 3)
    }

    @Test("such a file is kept also where those before and behind it are used again")
    func keptAmongOthers() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<20 { try frames(file, [noise(15_000, seed: UInt64(index))], to: channel) }
        let before = file.journal
        try #require(before.count >= 5)
        file.disk.flipBit(before[2], byte: 4_096 + 300, bit: 1)
        let content = try #require(file.disk.content(before[2]))
        try file.reopen(after: .process)
        #expect(file.log.recovery.damage.count == 1, "\(file.log.recovery.damage)")
        let large = noise(20_000, seed: 1)
        for _ in 0..<8 {
            try frames(file, [large, large, large, large], to: channel)
            file.checkpoint()
        }
        #expect(file.disk.content(before[2] + ".damaged") == content)
        #expect(before.allSatisfy { file.disk.content($0) == nil }, "all others have another number")
    }

    @Test("deletion gives its space back on a disk that is full to the last byte")
    func deletesWhenFull() throws {
        let file = try FileLog { $0.segmentBytes = 200_000 }
        let kept = try file.log.createChannel(named: bytes("kept"), limits: ChannelLimits())
        let gone = try file.log.createChannel(named: bytes("gone"), limits: ChannelLimits())
        for index in 0..<20 {
            try file.log.append(noise(30_000, seed: UInt64(index)), to: gone)
            file.settle()
        }
        file.checkpoint()
        let used = file.disk.everything().values.reduce(0) { $0 + $1.count }
        file.disk.capacity = used
        // Blocks wait for a disk that has no space left, in front of the deletion.
        var refused = false
        for index in 0..<80 where !refused {
            do throws(AppendRefused) {
                _ = try append(noise(30_000, seed: UInt64(index)), file.log, kept)
            } catch {
                refused = true
            }
            refused = file.settle().refused != nil || refused
        }
        #expect(refused, "a full disk refuses messages")
        try file.log.deleteChannel(gone)
        for _ in 0..<3 {
            file.log.expire(now: 2_000)
            file.settle()
        }
        #expect(file.disk.everything().keys.allSatisfy { !$0.hasPrefix("/data/channels/\(gone.rawValue)/") })
        #expect(try file.log.append("again", to: kept).sequence > 0)
        file.settle()
        file.log.checkpoint(state: [])
        file.settle()
        #expect(file.log.statistics.checkpoints == 2)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: kept).last == "again" && file.log.recovery.damage.isEmpty)
    }

    @Test("messages are refused until what waits for a full disk has gone, however often it is tried again")
    func staysFull() throws {
        let file = try FileLog {
            $0.segmentBytes = 200_000
            $0.journalSizeBytes = 64 << 20
        }
        let kept = try file.log.createChannel(named: bytes("kept"), limits: ChannelLimits())
        let gone = try file.log.createChannel(named: bytes("gone"), limits: ChannelLimits())
        for index in 0..<20 {
            try file.log.append(noise(30_000, seed: UInt64(index)), to: gone)
            file.settle()
        }
        file.checkpoint()
        file.disk.capacity = file.disk.everything().values.reduce(0) { $0 + $1.count }
        var taken = 0
        for index in 0..<200 {
            // The retry of every second, between the failures of the background.
            file.log.expire(now: 2_000)
            _ = file.log.poll()
            do throws(AppendRefused) {
                _ = try append(noise(30_000, seed: UInt64(index)), file.log, kept)
                taken += 1
            } catch {
                #expect("\(error)".contains("space left"), "\(error)")
            }
            file.settle()
        }
        #expect(taken > 0 && taken * 30_000 < file.configuration.segmentBytes, "\(taken)")
        try file.log.deleteChannel(gone)
        for _ in 0..<3 {
            file.settle()
            file.log.expire(now: 2_000)
        }
        file.settle()
        #expect(try file.log.append("again", to: kept).sequence == UInt64(taken + 1))
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: kept).count == taken + 1 && file.log.recovery.damage.isEmpty)
    }

    @Test(
        "an unsealed segment that vanishes costs its messages, which are named, and none that come later",
        arguments: [false, true])
    func vanishedSegment(whileRunning: Bool) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let other = try file.log.createChannel(named: bytes("b"), limits: ChannelLimits())
        let texts = (0..<24).map { noise(16_000, seed: UInt64($0)) }
        for text in texts[..<12] { try file.log.append(text, to: channel) }
        file.settle()
        file.checkpoint()
        let path = "/data/channels/\(channel.rawValue)/00000000000000000001.seg"
        if whileRunning { try file.reopen(after: .process) }
        try file.disk.remove(path)
        try file.disk.syncAll("/")
        if !whileRunning { try file.reopen(after: .process) }
        try file.log.append("other", to: other)
        for text in texts[12...] { try file.log.append(text, to: channel) }
        file.settle()
        let lost = try #require(file.log.info(of: channel)?.damage.first)
        #expect(lost.lowerBound == 1 && lost.upperBound < 13)
        #expect(file.log.statistics.damage.contains { $0.file == String(path.dropFirst(6)) })
        #expect(file.log.statistics.closedReason == nil && file.log.statistics.segments == 2)
        if whileRunning {
            let told = file.log.statistics.damage
            #expect(told.count == 1 && told.first?.lost.map(\.sequences) == [lost], "one segment, one damage")
        }
        let rest = ["-"] + texts.dropFirst(Int(lost.upperBound))
        #expect(file.log.payloads(of: channel) == rest)
        for _ in 0..<2 {
            let info = file.log.info(of: channel)
            #expect(info?.messages == 24 - Int(lost.upperBound))
            file.checkpoint()
            #expect(file.log.statistics.checkpoints == 1)
            try file.reopen(after: .dropAll)
            #expect(file.log.info(of: channel) == info && file.log.payloads(of: channel) == rest)
            #expect(file.log.payloads(of: other).first == "other")
            let named = file.log.recovery.damage.flatMap(\.lost).flatMap { Array($0.sequences) }
            #expect(Set(named) == Set(lost))
            try file.log.append("more", to: other)
            file.settle()
        }
    }

    @Test(
        "a segment removed while it is open closes the log, and the next start has what came since the checkpoint",
        arguments: [VanishedOpen.active, .sealed, .notOpen])
    func vanishedOpen(_ kind: VanishedOpen) throws {
        for hasCheckpoint in [false, true] {
            let file = try FileLog { if kind == .sealed { $0.segmentBytes = 300_000 } }
            let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
            let texts = (0..<36).map { noise(16_000, seed: UInt64($0)) }
            for text in texts[..<12] { try file.log.append(text, to: channel) }
            file.settle()
            if hasCheckpoint { file.checkpoint() }
            for text in texts[12..<18] { try file.log.append(text, to: channel) }
            file.settle()
            if kind == .notOpen {
                // So many others are written to that its file is closed meanwhile.
                for number in 0..<64 {
                    let other = try file.log.createChannel(
                        named: bytes("b.\(number)"), limits: ChannelLimits())
                    for text in texts[..<5] { try file.log.append(text, to: other) }
                    file.settle()
                }
            }
            try file.disk.remove("/data/channels/\(channel.rawValue)/00000000000000000001.seg")
            try file.disk.syncAll("/")
            var durable = 18
            for text in texts[18...] where file.log.closedReason == nil {
                try file.log.append(text, to: channel)
                file.settle()
                durable = Int(file.log.info(of: channel)?.lastSequence ?? 0)
            }
            file.checkpoint()
            let reason = try #require(file.log.closedReason)
            #expect(reason.contains("00000000000000000001.seg") && reason.contains("journal"), "\(reason)")
            #expect(file.log.statistics.checkpoints == (hasCheckpoint ? 1 : 0))
            #expect(file.log.statistics.damage == [], "nothing is given up that the journal has")
            var more: [String] = []
            for crash in [SimulatedFileSystem.Crash.process, .dropAll] {
                try file.reopen(after: crash)
                let found = file.log.payloads(of: channel)
                let lost = file.log.info(of: channel)?.damage ?? []
                #expect(lost.isEmpty != hasCheckpoint && lost.allSatisfy { $0.upperBound <= 12 })
                let rest = texts[Int(lost.first?.upperBound ?? 0)..<durable]
                #expect(found == (hasCheckpoint ? ["-"] : []) + rest + more)
                more = ["more"]
                try file.log.append("more", to: channel)
                file.settle()
                file.checkpoint()
                #expect(file.log.statistics.checkpoints == 1 && file.log.closedReason == nil)
            }
            #expect(durable > 18 || kind == .notOpen)
        }
    }

    /// Which segment is removed from a running broker.
    enum VanishedOpen { case active, sealed, notOpen }

    private func append(_ text: String, _ log: Log, _ channel: ChannelID) throws(AppendRefused) -> Appended {
        let payload = bytes(text)
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        return try payload.span.withUnsafeBytes { payload throws(AppendRefused) in
            try log.append(to: channel, wallClock: 1_000, reply: none, headers: none, payload: payload)
        }
    }
}
