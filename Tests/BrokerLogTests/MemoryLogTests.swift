import BrokerLog
import Testing

@Suite("A log in memory")
struct MemoryLogTests {
    @Test("messages are read back with sequence, time, reply, headers and payload")
    func readsBack() throws {
        let log = try memoryLog()
        let orders = try log.createChannel(named: bytes("orders"), limits: ChannelLimits())
        let first = try log.append("one", to: orders, at: 50, reply: "inbox.1", headers: "NATS/1.0\r\n\r\n")
        let second = try log.append("", to: orders, at: 40)
        #expect(first.sequence == 1 && second.sequence == 2)
        #expect(second.timestamp == 50, "time never goes back within a channel")
        #expect(second.position > first.position)
        guard case .end = log.read(orders, at: 1) else {
            Issue.record("visible before submit")
            return
        }
        log.submit()
        #expect(log.poll().durableAdvanced)
        #expect(log.durable == second.position)
        guard case .messages(let batch) = log.read(orders, at: 1) else {
            Issue.record("not there")
            return
        }
        #expect(batch.count == 2 && batch.firstSequence == 1 && batch.lastSequence == 2)
        let message = batch.message(at: 0)
        #expect(message.timestamp == 50 && message.position == first.position)
        #expect(String(decoding: message.reply, as: UTF8.self) == "inbox.1")
        #expect(String(decoding: message.headers, as: UTF8.self) == "NATS/1.0\r\n\r\n")
        #expect(String(decoding: message.payload, as: UTF8.self) == "one")
        #expect(batch.message(at: 1).payload.isEmpty)
        guard case .end = log.read(orders, at: 3) else {
            Issue.record("a message too many")
            return
        }
    }

    @Test("a batch stays readable while messages are appended behind it and the block grows")
    func batchStays() throws {
        let log = try memoryLog()
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try log.append("first", to: channel)
        log.submit()
        guard case .messages(let batch) = log.read(channel, at: 1) else {
            Issue.record("not there")
            return
        }
        for index in 0..<5_000 { try log.append("message \(index)", to: channel) }
        log.submit()
        #expect(batch.count == 1)
        #expect(String(decoding: batch.message(at: 0).payload, as: UTF8.self) == "first")
        let all = log.payloads(of: channel)
        #expect(all.count == 5_001 && all[5_000] == "message 4999")
    }

    @Test("a message larger than a block is kept whole")
    func largeMessage() throws {
        let log = try memoryLog()
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let large = String(repeating: "x", count: 300_000)
        for text in ["small", large, "small", large, large] { try log.append(text, to: channel) }
        log.submit()
        #expect(log.payloads(of: channel) == ["small", large, "small", large, large])
    }

    @Test("the limit on messages keeps the newest, exactly, across blocks")
    func limitMessages() throws {
        let log = try memoryLog()
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits(maxMessages: 3))
        let text = String(repeating: "x", count: 1_000)
        for index in 1...1_000 {
            try log.append(text, to: channel)
            log.submit()
            let info = try #require(log.info(of: channel))
            #expect(info.lastSequence == UInt64(index))
            #expect(info.firstSequence == UInt64(max(1, index - 2)) && info.messages == min(3, index))
        }
        guard case .missing(let next) = log.read(channel, at: 5) else {
            Issue.record("not trimmed")
            return
        }
        #expect(next == 998)
    }

    @Test("bytes are counted as NATS Streaming's memory store does, and the newest message is always kept")
    func limitBytes() throws {
        let log = try memoryLog()
        // The sample of nats-streaming.md section 7.1: channel c, message x, is an MsgProto of 18 bytes.
        let sample = try log.createChannel(named: bytes("c"), limits: ChannelLimits())
        try log.append("x", to: sample, at: 1_785_237_012_345_678_901)
        log.submit()
        #expect(log.info(of: sample)?.bytes == 18)

        let channel = try log.createChannel(named: bytes("d"), limits: ChannelLimits(maxBytes: 40))
        for _ in 0..<5 { try log.append("x", to: channel, at: 1_785_237_012_345_678_901) }
        log.submit()
        #expect(log.info(of: channel)?.firstSequence == 4 && log.info(of: channel)?.bytes == 36)
        try log.append(String(repeating: "y", count: 100), to: channel)
        log.submit()
        #expect(log.info(of: channel)?.firstSequence == 6 && log.info(of: channel)?.messages == 1)
    }

    @Test("messages expire by age, part and then all, and sequences go on")
    func limitAge() throws {
        let log = try memoryLog()
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits(maxAge: 100))
        for time in [10, 20, 30] as [Int64] { try log.append("m", to: channel, at: time) }
        log.submit()
        #expect(log.nextExpiry == 110)
        log.expire(now: 120)
        #expect(log.info(of: channel)?.firstSequence == 3 && log.nextExpiry == 130)
        log.expire(now: 1_000)
        #expect(log.info(of: channel)?.messages == 0 && log.info(of: channel)?.bytes == 0)
        #expect(log.info(of: channel)?.firstSequence == 4 && log.nextExpiry == nil)
        #expect(try log.append("m", to: channel, at: 2_000).sequence == 4)
    }

    @Test("the first message at or after a time is found")
    func findsByTime() throws {
        let log = try memoryLog()
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        #expect(log.sequence(channel, atOrAfter: 0) == .end)
        let text = String(repeating: "x", count: 700)
        for time in 1...400 { try log.append(text, to: channel, at: Int64(time * 10)) }
        log.submit()
        #expect(log.sequence(channel, atOrAfter: 0) == .found(1))
        for time in 1...400 {
            #expect(log.sequence(channel, atOrAfter: Int64(time * 10)) == .found(UInt64(time)))
            #expect(log.sequence(channel, atOrAfter: Int64(time * 10 - 9)) == .found(UInt64(time)))
        }
        #expect(log.sequence(channel, atOrAfter: 4_001) == .end)
    }

    @Test("a deleted channel's id finds nothing and is not given again")
    func deletes() throws {
        let log = try memoryLog()
        let old = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try log.append("m", to: old)
        try log.deleteChannel(old)
        #expect(log.channel(named: bytes("a")) == nil)
        let new = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        #expect(new != old && log.channels == [new] && log.name(of: new) == bytes("a"))
        #expect(throws: AppendRefused.unknownChannel) { try log.append("m", to: old) }
        log.submit()
        #expect(log.info(of: old) == nil && log.info(of: new)?.messages == 0)
    }

    @Test("an oversized message is refused with a sentence and takes no sequence")
    func refusesOversized() throws {
        let log = try memoryLog()
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        let reply = String(repeating: "r", count: 70_000)
        #expect(throws: AppendRefused.self) { try log.append("m", to: channel, reply: reply) }
        #expect(try log.append("m", to: channel).sequence == 1)
    }

    @Test("late answers change when, never what", arguments: [UInt64(1), 2, 3, 4, 5])
    func lateAnswers(seed: UInt64) throws {
        let log = try memoryLog(seed: seed)
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var appended: [String] = []
        for index in 0..<500 {
            appended.append("message \(index)")
            try log.append("message \(index)", to: channel)
            log.submit()
            _ = log.poll()
        }
        while log.bytesInFlight > 0 || log.info(of: channel)?.lastSequence != 500 { _ = log.poll() }
        #expect(log.payloads(of: channel) == appended)
    }
}
