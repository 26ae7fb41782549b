import BrokerLog
import Testing

@Suite("Purging a channel")
struct PurgeTests {
    private func store() throws -> FileLog {
        try FileLog { configuration in
            configuration.segmentBytes = 150_000
            configuration.cacheBytes = 1
        }
    }

    private func fill(_ file: FileLog, _ channel: ChannelID, _ range: Range<Int>) throws {
        for index in range {
            try file.log.append("\(index + 1) " + noise(500, seed: UInt64(index)), to: channel)
            if index % 50 == 49 { file.settle() }
        }
        file.settle()
    }

    private func purge(_ file: FileLog, _ channel: ChannelID, below first: UInt64) throws -> Int {
        while true {
            switch try file.log.purge(channel, below: first) {
            case .purged(let messages, let position):
                file.settle()
                #expect(file.log.durable >= position)
                return messages
            case .loading:
                while file.log.stepReader() {}
                #expect(file.log.poll().readsFinished)
            }
        }
    }

    /// What the channel holds must be `range`, here and after each kind of crash.
    private func expect(_ file: FileLog, _ channel: ChannelID, _ range: Range<UInt64>, bytes: Int) throws {
        for crash in [nil, .process, .dropAll, .random] as [SimulatedFileSystem.Crash?] {
            if let crash { try file.reopen(after: crash) }
            let info = try #require(file.log.info(of: channel))
            #expect(info.firstSequence == range.lowerBound && info.lastSequence == range.upperBound - 1)
            #expect(info.messages == range.count && info.bytes == bytes && info.damage.isEmpty)
            let numbers = file.log.payloads(of: channel, from: range.lowerBound)
                .map { UInt64($0.prefix { $0 != " " }) }
            #expect(numbers == range.map { $0 })
            #expect(file.log.recovery.damage.isEmpty)
        }
    }

    @Test("is exact to the message and to the byte wherever it ends, and stays after any crash")
    func exact() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<1_000)
        let one = try #require(file.log.info(of: channel)).bytes
        file.checkpoint()
        try fill(file, channel, 1_000..<1_100)
        let all = try #require(file.log.info(of: channel)).bytes
        #expect(all > one)
        var gone: UInt64 = 0
        for first in [UInt64(2), 117, 118, 700, 1_001, 1_050] {
            #expect(try purge(file, channel, below: first) == Int(first - 1 - gone))
            gone = first - 1
            var bytes = 0
            for sequence in first...1_100 {
                // MsgProto of a sequence, the subject "a", the data, a time of 1,000; and 40.
                let data = "\(sequence) ".utf8.count + 500
                bytes += 40 + (sequence < 128 ? 2 : 3) + 3 + 3 + data + 3
            }
            try expect(file, channel, first..<1_101, bytes: bytes)
        }
        #expect(try purge(file, channel, below: 5) == 0)
        #expect(try purge(file, channel, below: .max) == 51)
        try expect(file, channel, 1_101..<1_101, bytes: 0)
        #expect(try file.log.append("next", to: channel).sequence == 1_101)
    }

    @Test("takes the files of what is gone, those that were on their way to the disk too")
    func files() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<2_000)
        // These are not in segments yet.
        for index in 2_000..<2_400 {
            try file.log.append("\(index + 1) " + noise(500, seed: UInt64(index)), to: channel)
        }
        file.log.submit()
        while file.log.stepCommit() {}
        _ = file.log.poll()
        #expect(try purge(file, channel, below: .max) == 2_400)
        file.settle()
        file.settle()
        #expect(file.disk.everything().keys.filter { $0.hasSuffix(".seg") }.isEmpty)
    }

    @Test("leaves what is not durable yet, and a record of it keeps sequences above it")
    func inFlight() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<10)
        try file.log.append("11 x", to: channel)
        #expect(try purge(file, channel, below: .max) == 10)
        #expect(file.log.payloads(of: channel, from: 11) == ["11 x"])
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel, from: 11) == ["11 x"])
    }

    @Test("that is asked for again is not done before the first one is durable")
    func repeated() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<10)
        guard case .purged(9, let position) = try file.log.purge(channel, below: 10) else {
            Issue.record("it is all in memory")
            return
        }
        #expect(position > file.log.durable)
        #expect(try file.log.purge(channel, below: 10) == .purged(messages: 0, position))
        file.settle()
        #expect(file.log.durable >= position)
        // Messages that are not durable yet have nothing to do with it.
        try file.log.append("11", to: channel)
        #expect(try file.log.purge(channel, below: 10) == .purged(messages: 0, position))
    }

    @Test("and a sequence that is raised behind it leave nothing that is purged again")
    func raised() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<10)
        #expect(try purge(file, channel, below: .max) == 10)
        file.log.raiseNextSequence(of: channel, above: 20)
        #expect(try file.log.append("21", to: channel).sequence == 21)
        file.settle()
        #expect(file.log.payloads(of: channel, from: 21) == ["21"])
        #expect(try purge(file, channel, below: .max) == 1)
        file.log.raiseNextSequence(of: channel, above: .max)
        #expect(try file.log.append("22", to: channel).sequence == 22)
    }

    @Test("of a channel that is not there, or in a log that is closed, is refused")
    func refused() throws {
        let file = try store()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel, 0..<10)
        #expect(throws: AppendRefused.unknownChannel) {
            try file.log.purge(ChannelID(rawValue: 9), below: 3)
        }
        file.disk.onCall { call, _ in call == .sync ? 5 : nil }
        try file.log.append("11 x", to: channel)
        file.settle()
        #expect(throws: AppendRefused.self) { try file.log.purge(channel, below: 3) }
        file.disk.onCall { _, _ in nil }
        try file.reopen(after: .process)
        #expect(file.log.payloads(of: channel).count >= 10)
    }
}
