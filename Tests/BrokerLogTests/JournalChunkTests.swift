import Testing

@testable import BrokerLog

/// The memory that records wait in until they are on disk.
@Suite("Chunks of the journal")
struct JournalChunkTests {
    /// A chunk with one record, whose position is given.
    private func chunk(_ position: UInt64, bodyBytes: Int = 0, channel: UInt32 = 7) -> JournalChunk {
        let chunk = JournalChunk()
        let length = Record.headerSize + bodyBytes
        let record = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 8)
        defer { record.deallocate() }
        record.initializeMemory(as: UInt8.self, repeating: UInt8(truncatingIfNeeded: position), count: length)
        Record.writeHeader(at: record, length: length, kind: .state, position: position, channel: channel)
        chunk.add(record)
        chunk.firstPosition = position
        chunk.touches = [
            ChannelTouch(
                channel: channel, lastSequence: position, lastTimestamp: 0, messages: position,
                bytes: position)
        ]
        return chunk
    }

    private func records(_ chunk: JournalChunk) -> [[UInt8]] {
        var found: [[UInt8]] = []
        chunk.forEachRecord { record in
            found.append([UInt8](UnsafeRawBufferPointer(start: record, count: Record.length(record))))
        }
        return found
    }

    @Test("put together they are one frame, and stay as they are")
    func gathered() {
        let chunks = [chunk(5), chunk(6, bodyBytes: 300_000), chunk(7, bodyBytes: 9)]
        let before = chunks.map(records)
        let frame = chunk(1, bodyBytes: 50)
        for _ in 0..<2 {
            frame.gather(chunks)
            #expect(records(frame) == before.flatMap { $0 })
            #expect(frame.firstPosition == 5 && frame.lastPosition == 7 && frame.touches.isEmpty)
        }
        #expect(chunks.map(records) == before && chunks.allSatisfy { $0.touches.count == 1 })
    }

    @Test("of what two of them touched in turn the later is known")
    func touches() throws {
        let first = chunk(1)
        first.absorb(chunk(2))
        first.absorb(chunk(3, channel: 8))
        first.absorb(chunk(4))
        #expect(first.touches.map(\.channel) == [7, 8, 7] && first.touches.map(\.lastSequence) == [2, 3, 4])
    }

    @Test("one that is full goes on as it is; only a record that none has room for makes one larger")
    func full() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        // One tick with more than ten chunks of records.
        let texts = (0..<3_000).map { "\($0) " + String(repeating: "x", count: 1_000) }
        for text in texts { try file.log.append(text, to: channel) }
        file.log.submit()
        file.settle()
        #expect(file.log.durable.rawValue == 3_001 && file.log.bytesInFlight == 0)
        let kept = file.log.spareChunks + [file.log.chunk]
        #expect(kept.count > 10 && kept.allSatisfy { $0.capacity == JournalChunk.usualCapacity })
        let large = String(repeating: "y", count: 900_000)
        try file.log.append("before", to: channel)
        try file.log.append(large, to: channel)
        try file.log.append("behind", to: channel)
        file.log.submit()
        file.settle()
        #expect(
            (file.log.spareChunks + [file.log.chunk]).count { $0.capacity != JournalChunk.usualCapacity } == 1
        )
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts + ["before", large, "behind"])
    }

    @Test("a disk that hangs is waited for by few of them, however small they come", arguments: [1, 100])
    func hanging(bodyBytes: Int) throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        let texts = (0..<2_000).map { "\($0) " + String(repeating: "x", count: bodyBytes) }
        for text in texts {
            try file.log.append(text, to: channel)
            file.log.submit()
        }
        // Two neighbours together are more than what is put together at once.
        let most = 2 * file.log.bytesInFlight / Committer.fewBytes + 1
        file.settle()
        #expect(file.log.bytesInFlight == 0)
        #expect(file.log.spareChunks.count <= most && file.log.spareBytes < Log.spareLimit)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
    }

    @Test("a full disk gives back all that a frame was put together from")
    func refused() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try file.log.append("kept", to: channel)
        file.settle()
        file.disk.capacity = file.disk.used
        for index in 0..<8 {
            try file.log.append("\(index) " + String(repeating: "x", count: 20_000), to: channel)
            if index == 5 { bytes("state").withUnsafeBytes { _ = file.log.appendState($0) } }
            file.log.submit()
        }
        while file.log.stepCommit() {}
        #expect(file.log.poll().refused != nil && file.log.statistics.refusedMessages == 8)
        file.settle()
        #expect(file.log.bytesInFlight == 0)
        file.disk.capacity = .max
        try file.log.append("later", to: channel)
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["kept", "later"])
        #expect(file.log.recoveredState.records == [bytes("state")])
    }
}
