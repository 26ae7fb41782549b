import Glibc
import Testing

@testable import BrokerLog

/// Bytes from disk are hostile: whatever they are, reading them ends, crashes nothing, and takes memory in proportion to
/// them. Each round changes whole bytes in a few places, and half of the time makes the checksum right again, so that what
/// lies behind it is reached. `FUZZ_SEED` replays one round, `FUZZ_ROUNDS` says how many there are of each kind, and
/// `FUZZ_FIRST` with which one they begin.
@Suite("Hostile files")
struct HostileFileTests {
    private static let rounds: Range<UInt64> = {
        func value(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }
        if let seed = value("FUZZ_SEED") { return seed..<(seed + 1) }
        let first = value("FUZZ_FIRST") ?? 1
        return first..<(first + (value("FUZZ_ROUNDS") ?? 3_000))
    }()

    /// Runs `body` for every round; a crash is in the thousand rounds that were printed last.
    private func fuzz(
        _ name: String = #function, _ rounds: Range<UInt64> = rounds,
        _ body: (inout SeededGenerator) throws -> Void
    ) {
        for seed in rounds {
            if (seed - rounds.lowerBound) % 1_000 == 0 {
                print("\(name): FUZZ_ROUNDS=1000 FUZZ_FIRST=\(seed) swift test --filter HostileFileTests")
                fflush(nil)
            }
            var random = SeededGenerator(seed: seed)
            do { try body(&random) } catch {
                Issue.record("\(error)\nreplay: FUZZ_SEED=\(seed) swift test --filter HostileFileTests")
                return
            }
        }
    }

    private func mutated(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0...(random.next() % 4) where !bytes.isEmpty {
            let at = Int(random.next() % UInt64(bytes.count))
            switch random.next() % 6 {
            case 0: bytes[at] ^= 1 << UInt8(random.next() % 8)
            case 1: bytes[at] = UInt8(truncatingIfNeeded: random.next())
            case 2:
                // An integer of any width with an extreme or a near value.
                let values: [UInt64] = [0, 1, .max, .max >> 1, 1 << 31, UInt64(bytes.count), 1 << 40]
                let value = values[Int(random.next() % 7)]
                for index in 0..<(1 << Int(random.next() % 4)) where at + index < bytes.count {
                    bytes[at + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
                }
            case 3: bytes.removeLast(Int(random.next() % UInt64(bytes.count)))
            case 4:
                bytes.insert(
                    contentsOf: repeatElement(UInt8(truncatingIfNeeded: random.next()), count: 9), at: at)
            default:
                let from = Int(random.next() % UInt64(bytes.count))
                let count = min(16, bytes.count - max(at, from))
                bytes.replaceSubrange(at..<(at + count), with: Array(bytes[from..<(from + count)]))
            }
        }
        return bytes
    }

    private func crc(_ bytes: ArraySlice<UInt8>) -> UInt32 { checksum(Array(bytes)) }

    private func store(_ value: UInt32, _ bytes: inout [UInt8], at offset: Int) {
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }

    private func integer(_ source: [UInt8], at offset: Int, bytes: Int) -> Int {
        var value: UInt64 = 0
        for index in (0..<bytes).reversed() { value = value << 8 | UInt64(source[offset + index]) }
        return Int(bitPattern: UInt(value))
    }

    /// A file of these bytes on a disk of its own.
    private func file(_ bytes: [UInt8]) throws -> (SimulatedFileSystem, OpenFile) {
        let disk = SimulatedFileSystem(seed: 1)
        let file = try disk.open("/file", .create)
        try bytes.withUnsafeBytes { try disk.write(file, $0, at: 0) }
        return (disk, file)
    }

    /// A block of a few messages.
    private func block() throws -> [UInt8] {
        let log = try FileLog { $0.segmentBytes = 1 << 20 }
        let channel = try log.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<12 {
            try log.log.append(
                String(repeating: "text \(index) ", count: 1_200), to: channel, reply: "r", headers: "h")
        }
        log.settle()
        let path = try #require(log.disk.everything().keys.first { $0.hasSuffix(".seg") })
        return Array(try #require(log.disk.content(path)).dropFirst(SegmentFile.headerSize))
    }

    @Test("blocks")
    func blocks() throws {
        let whole = try block()
        fuzz { random in
            var bytes = mutated(whole, &random)
            if random.next() % 2 == 0, bytes.count >= BlockHeader.size {
                let stored = min(bytes.count - BlockHeader.size, integer(bytes, at: 8, bytes: 3))
                store(crc(bytes[8..<(BlockHeader.size + stored)]), &bytes, at: 4)
            }
            let (disk, file) = try file(bytes)
            let read = try FileBytes(file, length: bytes.count, fileSystem: disk)
            guard let header = BlockHeader(read, at: 0) else { return }
            // No more than lz4 can make of so many bytes, and an offset for each record.
            try #require(Int(header.summary.rawSize) <= bytes.count * BlockHeader.maximumRatio)
            guard let storage = header.records(read, at: 0) else { return }
            try #require(storage.capacity <= bytes.count * BlockHeader.maximumRatio * 2)
            for index in 0..<Int(header.summary.count) {
                try #require(Record.length(storage.record(index)) <= storage.capacity)
            }
        }
    }

    @Test(
        "a block that promises more than lz4 could make of its bytes is refused before memory is taken for it"
    )
    func promises() throws {
        for (raw, isRight) in [(64 * BlockHeader.maximumRatio, true), (64 << 20, false)] {
            let summary = BlockSummary(
                firstSequence: 1, count: 1, rawSize: UInt32(raw), firstTimestamp: 1, lastTimestamp: 1,
                firstPosition: 1, lastPosition: 1, bytes: 1)
            let header = BlockHeader(
                storedLength: 64, encoding: .compressed, channel: 1, segment: 1, storeMark: 1,
                summary: summary)
            var block = [UInt8](repeating: 0, count: BlockHeader.size + 64)
            block.withUnsafeMutableBytes { if let base = $0.baseAddress { header.seal(at: base) } }
            let (disk, file) = try file(block)
            let read = try FileBytes(file, length: block.count, fileSystem: disk)
            #expect((BlockHeader(read, at: 0) != nil) == isRight, "\(raw)")
        }
    }

    @Test("footers of segments, and segments without one")
    func footers() throws {
        var blocks: [SegmentFile.Block] = []
        for index in 0..<20 {
            let summary = BlockSummary(
                firstSequence: UInt64(index * 10 + 1), count: 10, rawSize: 4_000, firstTimestamp: 1,
                lastTimestamp: 2, firstPosition: 3, lastPosition: 4, bytes: 5)
            blocks.append(SegmentFile.Block(summary: summary, offset: UInt64(512 + index * 512), size: 512))
        }
        let body = [UInt8](repeating: 0, count: 512 * 21)
        let footer = SegmentFile.footer(blocks, offset: UInt64(body.count), channel: 1, first: 1)
        let segment = SegmentFile.header(storeID: 1, channel: 1, first: 1) + (try block())
        fuzz { random in
            var end = mutated(footer, &random)
            if random.next() % 2 == 0, end.count >= 4 { store(crc(end.dropLast(4)), &end, at: end.count - 4) }
            let bytes = body + end
            let (disk, file) = try file(bytes)
            let index = try SegmentFile.readFooter(
                file, size: bytes.count, channel: 1, first: 1, fileSystem: disk)
            try #require((index?.count ?? 0) * SegmentFile.entrySize <= bytes.count)

            let scanned = mutated(segment, &random)
            let (other, scannedFile) = try self.file(scanned)
            let read = try FileBytes(scannedFile, length: scanned.count, fileSystem: other)
            let found = SegmentFile.scan(read, channel: 1, first: 1, end: scanned.count)
            try #require(found.blocks.count * SegmentFile.alignment <= scanned.count)
        }
    }

    @Test("checkpoints with their snapshots")
    func checkpoints() throws {
        let log = try FileLog { $0.segmentBytes = 2_000 }
        for name in ["a", "b", "c"] {
            let channel = try log.log.createChannel(
                named: bytes(name), limits: ChannelLimits(maxMessages: 50))
            for index in 0..<12 {
                try log.log.append(String(repeating: "\(index)", count: 9_000), to: channel)
            }
            log.settle()
        }
        log.checkpoint()
        let path = try #require(log.disk.everything().keys.first { $0.hasSuffix(".checkpoint") })
        let whole = try #require(log.disk.content(path))
        let number = try #require(
            CheckpointFile.number(String(path.split(separator: "/").last ?? ""), ".checkpoint"))
        let storeID = UInt64(bitPattern: Int64(integer(whole, at: 16, bytes: 8)))
        try #require(CheckpointFile(whole, number: number, storeID: storeID) != nil)
        var read = 0
        fuzz { random in
            var bytes = mutated(whole, &random)
            if random.next() % 4 > 0, bytes.count >= 76 {
                for index in 0..<8 {
                    bytes[8 + index] = UInt8(truncatingIfNeeded: bytes.count >> (8 * index))
                }
                store(crc(bytes.dropLast(4)), &bytes, at: bytes.count - 4)
            }
            guard let file = CheckpointFile(bytes, number: number, storeID: storeID) else { return }
            read += 1
            // What was read is no more than what was there.
            try #require(file.encoded().count <= bytes.count)
        }
        #expect(read > 0 || Self.rounds.count < 100, "the fuzzer never came past the checksum")
    }

    @Test("frames of the journal")
    func frames() throws {
        let log = try FileLog()
        let channel = try log.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<6 {
            try log.log.append("message \(index)", to: channel)
            log.settle()
        }
        let path = try #require(log.journal.first)
        let whole = Array(try #require(log.disk.content(path)).prefix(4096 + 512 * 6))
        let storeID = UInt64(bitPattern: Int64(integer(whole, at: 8, bytes: 8)))
        fuzz { random in
            var bytes = mutated(whole, &random)
            for frame in 0..<6 where random.next() % 2 == 0 {
                let at = 4096 + 512 * frame
                guard at + 512 <= bytes.count else { break }
                let length = integer(bytes, at: at + 4, bytes: 2)
                guard at + 48 + length <= bytes.count else { continue }
                let sum = (bytes[at..<(at + 44)] + bytes[(at + 48)..<(at + 48 + length)])
                store(crc(sum), &bytes, at: at + 44)
            }
            let disk = SimulatedFileSystem(seed: 1)
            try disk.makeDirectory("/journal")
            let file = try disk.open("/journal/" + JournalFileHeader.name(1), .create)
            try bytes.withUnsafeBytes { try disk.write(file, $0, at: 0) }
            var journal = JournalRecovery(
                fileSystem: disk, directory: "/journal", storeID: storeID, start: nil, covered: 0, keptFrom: 0
            )
            var records = 0
            try journal.run(
                taken: { _ in records += 1 },
                lost: { _ in
                    records += 1
                    return nil
                })
            try #require(records * Record.headerSize <= bytes.count * 2)
        }
    }

    @Test("whole stores with one hostile file")
    func stores() throws { try stores(Self.rounds) }

    /// 21265: a block said fewer bytes than its messages have, and a checkpoint counted less than none.
    @Test("those that found a fault", arguments: [21265] as [UInt64])
    func found(seed: UInt64) throws { try stores(seed..<(seed + 1)) }

    private func stores(_ rounds: Range<UInt64>) throws {
        let log = try FileLog { $0.segmentBytes = 3_000 }
        let channel = try log.log.createChannel(named: bytes("a"), limits: ChannelLimits(maxBytes: 300_000))
        for round in 0..<3 {
            for index in 0..<9 {
                try log.log.append(String(repeating: "\(index)", count: 15_000), to: channel)
            }
            log.settle()
            if round > 0 { log.checkpoint() }
        }
        for index in 0..<3 {
            try log.log.append("message \(index)", to: channel)
            log.settle()
        }
        log.disk.crash(.process)
        let files = log.disk.everything().filter { !$0.value.isEmpty }.keys.sorted()
        fuzz("stores", rounds) { random in
            let disk = SimulatedFileSystem(copying: log.disk, seed: 1)
            let path = files[Int(random.next() % UInt64(files.count))]
            var bytes = mutated(disk.content(path) ?? [], &random)
            if random.next() % 2 == 0 { repairChecksums(path, &bytes) }
            disk.overwrite(path, with: bytes)
            if random.next() % 8 == 0 { _ = try? LogCheck.run(directory: "/data", fileSystem: disk) }
            do throws(LogError) {
                let opened = try Log.open(
                    log.configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
                for id in opened.channels { _ = opened.payloads(of: id) }
                goOn(opened)
            } catch {
                try #require(!error.description.isEmpty)
            }
        }
    }

    /// What was recovered is written to, trimmed and kept again: numbers that were believed are used.
    private func goOn(_ log: Log) {
        for id in log.channels {
            _ = try? log.append("more", to: id)
            log.setLimits(ChannelLimits(maxMessages: 20, maxAge: 500), of: id)
        }
        if log.channel(named: bytes("new")) == nil {
            _ = try? log.createChannel(named: bytes("new"), limits: ChannelLimits())
        }
        for _ in 0..<3 {
            log.submit()
            while log.stepCommit() {}
            _ = log.poll()
            while log.stepBackground() {}
            while log.stepReader() {}
            _ = log.poll()
            log.expire(now: 2_000)
            log.checkpoint(state: [])
        }
    }

    /// Makes every checksum of a file right again, as somebody who forges one does.
    private func repairChecksums(_ path: String, _ bytes: inout [UInt8]) {
        func seal(_ range: Range<Int>, _ at: Int) {
            guard at >= 0, at + 4 <= bytes.count, range.upperBound <= bytes.count else { return }
            store(crc(bytes[range]), &bytes, at: at)
        }
        func hasMagic(_ text: String, at offset: Int) -> Bool {
            offset + 88 <= bytes.count && bytes[offset..<(offset + 4)].elementsEqual(Array(text.utf8))
        }
        switch path.split(separator: ".").last {
        case "checkpoint" where bytes.count >= 76:
            for index in 0..<8 { bytes[8 + index] = UInt8(truncatingIfNeeded: bytes.count >> (8 * index)) }
            seal(0..<(bytes.count - 4), bytes.count - 4)
        case "seg", "tails":
            if path.hasSuffix(".seg"), bytes.count >= SegmentFile.headerSize { seal(0..<60, 60) }
            for at in stride(from: 0, to: bytes.count, by: 8) where hasMagic("DJB1", at: at) {
                let stored = min(integer(bytes, at: at + 8, bytes: 4), bytes.count - at - 88)
                seal((at + 8)..<(at + 88 + stored), at + 4)
            }
            let trailer = bytes.count - SegmentFile.trailerSize
            if trailer > 0, bytes[trailer..<(trailer + 4)].elementsEqual(Array("DJSE".utf8)) {
                let entries = integer(bytes, at: trailer + 8, bytes: 8)
                if (0..<trailer).contains(entries) { seal(entries..<(bytes.count - 4), bytes.count - 4) }
            }
        case "wal":
            for at in [0, JournalFileHeader.copyOffset] where hasMagic("DJH1", at: at) {
                seal(at..<(at + 44), at + 44)
            }
            for at in stride(from: 4096, to: bytes.count, by: 512) where hasMagic("DJF1", at: at) {
                let end = at + 48 + integer(bytes, at: at + 4, bytes: 4)
                guard end <= bytes.count else { continue }
                store(crc(bytes[at..<(at + 44)] + bytes[(at + 48)..<end]), &bytes, at: at + 44)
            }
        default: break
        }
    }
}
