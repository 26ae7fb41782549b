import Testing

@testable import BrokerLog

/// A checksum that is right says nothing of who wrote the bytes: whatever a checkpoint says, the log opens, serves what is
/// whole, and takes messages.
@Suite("Forged files")
struct ForgedFileTests {
    /// A channel with sealed segments, an open one and a tail, another beside it, two checkpoints, as a crash leaves them.
    private func store() throws -> FileLog {
        let file = try FileLog { $0.segmentBytes = 100_000 }
        let big = try file.log.createChannel(named: bytes("big"), limits: ChannelLimits(maxMessages: 340))
        let other = try file.log.createChannel(named: bytes("other"), limits: ChannelLimits())
        for half in 0..<2 {
            for index in 0..<175 {
                try file.log.append("\(half * 175 + index) " + noise(1_000, seed: UInt64(index)), to: big)
                if index % 25 == 24 { file.settle() }
            }
            try file.log.append("other \(half)", to: other)
            file.settle()
            file.checkpoint()
        }
        file.disk.crash(.dropAll)
        return file
    }

    /// What a forged checkpoint says.
    struct Lie: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let tell: @Sendable (inout CheckpointFile) -> Void

        init(_ what: String, _ tell: @escaping @Sendable (inout CheckpointFile) -> Void) {
            testDescription = what
            self.tell = tell
        }
    }

    private static func numbers(
        _ what: String, _ tell: @escaping @Sendable (inout CheckpointFile, UInt64) -> Void
    ) -> [Lie] {
        [0, 1, 1 << 47, 1 << 55, UInt64(Int.max), .max].map {
            value in
            Lie("\(what) \(value)") { tell(&$0, value) }
        }
    }

    private static let lies: [Lie] =
        [
            Lie("every id was given") { $0.nextChannelID = .max },
            Lie("the highest id that can be lives") {
                $0.nextChannelID = .max
                $0.channels[1].id = .max - 1
            },
            Lie("an id above the next one") { $0.channels[1].id = 1_000_000 },
            Lie("two channels of one id") { $0.channels[1].id = $0.channels[0].id },
            Lie("two channels of one name") { $0.channels[1].name = $0.channels[0].name },
            Lie("segments in the wrong order") { $0.channels[0].segments.sealed.reverse() },
            Lie("a segment twice") {
                $0.channels[0].segments.sealed.append($0.channels[0].segments.sealed[0])
            },
            Lie("blocks in the wrong order") { $0.channels[0].segments.active?.blocks.reverse() },
            Lie("no segments") { $0.channels[0].segments = SegmentStore.Channel() },
            Lie("no tail") { $0.channels[0].tail = nil },
            Lie("everything trimmed") { $0.channels[0].firstSequence = $0.channels[0].lastSequence + 1 },
        ] + numbers("next id") { $0.nextChannelID = UInt32(truncatingIfNeeded: $1) }
        + numbers("position") { $0.position = $1 }
        + numbers("offset of the place") { $0.place.offset = $1 }
        + numbers("position of the place") { $0.place.position = $1 }
        + numbers("file of the place") { $0.place.file = $1 }
        + numbers("first sequence") { $0.channels[0].firstSequence = $1 }
        + numbers("last sequence") { $0.channels[0].lastSequence = $1 }
        + numbers("messages") { $0.channels[0].messages = $1 }
        + numbers("bytes") { $0.channels[0].bytes = $1 }
        + numbers("trimmed bytes") { $0.channels[0].frontTrimmedBytes = $1 }
        + numbers("last time") { $0.channels[0].lastTimestamp = Int64(bitPattern: $1) }
        + numbers("damage up to") { $0.channels[0].damage = [0...$1] }
        + numbers("damage from") { $0.channels[0].damage = [$1...UInt64.max] }
        + numbers("lost up to") {
            $0.damage = [
                Damage(
                    file: "x", offset: $1, reason: "y",
                    lost: [LostRange(channel: ChannelID(rawValue: 1), name: [], sequences: 0...$1)])
            ]
        }
        + numbers("first of a segment") { file, value in
            file.channels[0].segments.sealed[0].first = min(value, file.channels[0].segments.sealed[0].last)
        }
        + numbers("last of a segment") { file, value in
            file.channels[0].segments.sealed[0].last = max(value, file.channels[0].segments.sealed[0].first)
        }
        + numbers("size of a segment") { $0.channels[0].segments.sealed[0].size = $1 }
        + numbers("first of the open segment") { $0.channels[0].segments.active?.first = $1 }
        + numbers("size of the open segment") { $0.channels[0].segments.active?.size = $1 }
        + numbers("offset of a block") { $0.channels[0].segments.active?.blocks[0].offset = $1 }
        + numbers("size of a block") {
            $0.channels[0].segments.active?.blocks[0].size = UInt32(truncatingIfNeeded: $1)
        }
        + numbers("first of a block") { $0.channels[0].segments.active?.blocks[0].summary.firstSequence = $1 }
        + numbers("count of a block") {
            $0.channels[0].segments.active?.blocks[0].summary.count = UInt32(truncatingIfNeeded: $1)
        }
        + numbers("bytes of a block") { $0.channels[0].segments.active?.blocks[0].summary.bytes = $1 }
        + numbers("offset of the tail") { $0.channels[0].tail?.offset = $1 }
        + numbers("size of the tail") { $0.channels[0].tail?.size = UInt32(truncatingIfNeeded: $1) }
        + numbers("first of the tail") { $0.channels[0].tail?.summary.firstSequence = $1 }
        + numbers("count of the tail") {
            $0.channels[0].tail?.summary.count = UInt32(truncatingIfNeeded: $1)
        }
        + numbers("records of the tail") {
            $0.channels[0].tail?.summary.rawSize = UInt32(truncatingIfNeeded: $1)
        }

    @Test("checkpoints", arguments: lies)
    func checkpoint(_ lie: Lie) throws {
        let file = try store()
        for (path, content) in file.disk.everything() where path.hasSuffix(".checkpoint") {
            let number = try #require(
                CheckpointFile.number(String(path.split(separator: "/").last ?? ""), ".checkpoint"))
            var reader = ByteReader(Array(content[16..<24]))
            let storeID = reader.integer(UInt64.self) ?? 0
            var forged = try #require(CheckpointFile(content, number: number, storeID: storeID))
            guard forged.channels[0].segments.active != nil, forged.channels[0].segments.sealed.count > 1,
                forged.channels[0].tail != nil
            else {
                // Only the newest checkpoint has all of it.
                #expect(number == 1)
                continue
            }
            lie.tell(&forged)
            file.disk.overwrite(path, with: forged.encoded())
        }
        _ = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        try file.reopen(after: .process)
        // Memory is taken for channels, not for ids.
        #expect(file.log.states.directoryCount <= 64 || file.log.channels.last?.rawValue == .max - 1)
        if let other = file.log.channel(named: bytes("other")), other.rawValue == 2 {
            #expect(file.log.payloads(of: other).filter { $0 != "-" } == ["other 0", "other 1"])
        }
        for id in file.log.channels {
            let found = file.log.payloads(of: id).filter { $0 != "-" }
            let info = try #require(file.log.info(of: id))
            #expect(info.messages == found.count && info.bytes >= 0)
            _ = try? file.log.append("new", to: id)
            file.log.setLimits(ChannelLimits(maxMessages: 10), of: id)
            file.settle()
            while file.log.stepReader() {}
            file.settle()
            let left = file.log.payloads(of: id).filter { $0 != "-" }
            #expect(left.count <= 10 && left.last == "new")
        }
        _ = try? file.log.createChannel(named: bytes("next"), limits: ChannelLimits())
        file.checkpoint()
        #expect(file.log.closedReason == nil)
    }

    @Test("a channel that a damaged record tells of gives way to the one that a whole record creates")
    func guess() throws {
        let log = try memoryLog()
        func create(_ id: UInt32, _ name: String, position: UInt64) -> [UInt8] {
            let body = ChannelRecord(limits: ChannelLimits(), name: bytes(name)).encoded()
            var record = [UInt8](repeating: 0, count: Record.headerSize + body.count)
            record.withUnsafeMutableBytes { memory in
                Record.writeHeader(
                    at: memory.baseAddress!, length: memory.count, kind: .createChannel, position: position,
                    channel: id)
                for (index, byte) in body.enumerated() { memory[Record.headerSize + index] = byte }
            }
            return record
        }
        func take(_ record: [UInt8], isWhole: Bool) {
            record.withUnsafeBytes { memory in
                if isWhole {
                    log.recover(memory.baseAddress!, covered: 0)
                } else {
                    _ = log.recoverLost(memory.baseAddress!, covered: 0)
                }
            }
        }
        take(create(3, "garbled", position: 1), isWhole: false)
        #expect(log.name(of: ChannelID(rawValue: 3)) == bytes("garbled"), "better than a number")
        take(create(3, "orders", position: 2), isWhole: true)
        #expect(log.name(of: ChannelID(rawValue: 3)) == bytes("orders"))
        #expect(log.channel(named: bytes("garbled")) == nil)
        // Nothing takes the place of what is whole.
        take(create(3, "other", position: 3), isWhole: false)
        take(create(3, "another", position: 4), isWhole: true)
        #expect(log.name(of: ChannelID(rawValue: 3)) == bytes("orders") && log.channels.count == 1)
    }
}
