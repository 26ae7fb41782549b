import Synchronization
import Testing

@testable import BrokerLog

@Suite("Checking a data directory")
struct LogCheckTests {
    /// A small store: two checkpoints, sealed segments and an open one, tails, and journal behind the newest checkpoint.
    private func store(
        messages: Int = 300, size: Int = 1_000, segmentBytes: Int = 40_000, filler: String? = nil
    ) throws -> FileLog {
        let file = try FileLog { configuration in
            configuration.segmentBytes = segmentBytes
            configuration.cacheBytes = 1
        }
        let big = try file.log.createChannel(named: bytes("big"), limits: ChannelLimits())
        let small = try file.log.createChannel(named: bytes("small"), limits: ChannelLimits())
        try file.log.append("one", to: small)
        for half in 0..<2 {
            for index in 0..<(messages / 2) {
                let text = filler ?? noise(size, seed: UInt64(half * messages + index))
                try file.log.append("\(index) " + text, to: big)
                if index % 50 == 49 { file.settle() }
            }
            file.checkpoint()
        }
        try file.log.append("two", to: small)
        file.settle()
        try file.log.append("three", to: small)
        file.settle()
        file.disk.crash(.dropAll)
        return file
    }

    @Test("a whole store passes, with what it holds, and no byte changes")
    func whole() throws {
        let file = try store()
        let before = file.disk.everything()
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(file.disk.everything() == before)
        #expect(report.damage == [] && !report.isInUse && report.journal.tornTail == nil)
        #expect(report.clusterID == "test" && report.formatVersion == 1 && report.storeID != 0)
        #expect(report.checkpoints == 2 && report.segments > 3)
        #expect(report.journal.frames >= 5 && report.journal.bytes > 100_000 && report.journal.files > 2)
        #expect(report.channels.map(\.name) == [bytes("big"), bytes("small")])
        #expect(report.channels.map(\.messages) == [300, 3] && report.messages == 303)
        #expect(
            report.channels.map(\.firstSequence) == [1, 1] && report.channels.map(\.lastSequence) == [300, 3])
        try file.reopen(after: .process)
        #expect(report.storeID == file.log.disk?.directory.storeID)
        #expect(report.channels.map(\.bytes) == file.log.channels.compactMap { file.log.info(of: $0)?.bytes })
    }

    @Test(
        "of a segment or tails that a broker removes meanwhile and shortens nothing is said",
        arguments: [".seg", ".tails"], [true, false])
    func removedMeanwhile(suffix: String, isRemoved: Bool) throws {
        let file = try store()
        let disk = file.disk
        // The first is needed by the older checkpoint alone.
        let path = try #require(disk.everything().keys.sorted().first { $0.hasSuffix(suffix) })
        // A segment is asked for its size when what was not read of it is looked at in the end, tails when they are read.
        let call = suffix == ".seg" ? SimulatedFileSystem.Call.size : .read
        let calls = Atomic(0)
        disk.onCall { made, called in
            if made == call, called == path { calls.add(1, ordering: .relaxed) }
            return nil
        }
        _ = try LogCheck.run(directory: "/data", fileSystem: disk)
        disk.onCall { made, called in
            if made == call, called == path,
                calls.subtract(1, ordering: .relaxed).newValue == 0, let open = try? disk.open(path, .write)
            {
                if isRemoved { try? disk.remove(path) }
                try? disk.truncate(open, to: 100)
                disk.close(open)
            }
            return nil
        }
        let report = try LogCheck.run(directory: "/data", fileSystem: disk)
        #expect(report.damage.isEmpty == isRemoved, "\(report.damage) \(path)")
    }

    @Test("a store that a broker runs on is read, and the report says so")
    func inUse() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try file.log.append("one", to: channel)
        file.settle()
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(report.isInUse && report.messages == 1 && report.damage == [])
        #expect(throws: LogError.self) { try OfflineReader.open(directory: "/data", fileSystem: file.disk) }
    }

    @Test("a copy without the lock file is read, and gets none")
    func noLockFile() throws {
        let file = try store(messages: 10)
        try file.disk.remove("/data/lock")
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(report.messages == 13 && report.damage == [] && file.disk.content("/data/lock") == nil)
    }

    @Test("what is no store, or of a newer version, is refused with a sentence")
    func refused() throws {
        func code(_ disk: SimulatedFileSystem) -> LogError.Code? {
            do throws(LogError) {
                _ = try LogCheck.run(directory: "/data", fileSystem: disk)
                return nil
            } catch {
                #expect(error.description.contains("/data"))
                return error.code
            }
        }
        let disk = SimulatedFileSystem(seed: 1)
        #expect(code(disk) == .noStore)
        try disk.makeDirectory("/data")
        #expect(code(disk) == .noStore)
        disk.close(try disk.open("/data/server.dat", .create))
        #expect(code(disk) == .foreignStore)
        let file = try store(messages: 10)
        let whole = try #require(file.disk.content("/data/store"))
        var newer = whole
        newer[8] = 3
        file.disk.overwrite("/data/store", with: sealed(newer))
        #expect(code(file.disk) == .newerVersion)
        file.disk.overwrite("/data/store", with: whole)
        // Nothing says which store it is any more.
        file.disk.flipBit("/data/store", byte: 17, bit: 1)
        for path in file.disk.everything().keys where path.hasPrefix("/data/journal/") {
            try file.disk.remove(path)
        }
        #expect(code(file.disk) == .damaged)
    }

    @Test("a damaged or missing store file is named, and everything else is read")
    func storeFile() throws {
        for isMissing in [false, true] {
            let file = try store()
            let whole = try LogCheck.run(directory: "/data", fileSystem: file.disk)
            if isMissing {
                try file.disk.remove("/data/store")
            } else {
                file.disk.flipBit("/data/store", byte: 17, bit: 1)
            }
            let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
            #expect(report.damage.map(\.file) == ["store"] && report.clusterID == nil)
            #expect(report.storeID == whole.storeID && report.channels == whole.channels)
            let reader = try OfflineReader.open(directory: "/data", fileSystem: file.disk)
            #expect(reader.clusterID == nil && reader.channels.count == whole.channels.count)
        }
    }

    @Test("a torn tail is no damage, and is told with its place")
    func tornTail() throws {
        let file = try store()
        let whole = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        // The newest frame is the last thing in the last file that holds one.
        let path = try #require(
            file.journal.last { path in
                file.disk.content(path)?.dropFirst(4096).contains { $0 != 0 } ?? false
            })
        let content = try #require(file.disk.content(path))
        let starts = stride(from: 4096, to: content.count, by: 512)
        let frame = try #require(Array(starts).last { Array(content[$0..<($0 + 4)]) == bytes("DJF1") })
        file.disk.flipBit(path, byte: frame + 60, bit: 1)
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(report.damage == [] && report.messages == whole.messages - 1)
        #expect(report.journal.frames == whole.journal.frames - 1)
        #expect(
            report.journal.tornTail
                == LogCheckReport.TornTail(file: String(path.dropFirst(6)), offset: UInt64(frame), bytes: 512)
        )
    }

    @Test("a damaged block names file, offset, channel and sequences")
    func damagedBlock() throws {
        let file = try store()
        file.disk.flipBit("/data/channels/1/00000000000000000001.seg", byte: 800, bit: 1)
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(report.damage.count == 1)
        let damage = try #require(report.damage.first)
        #expect(damage.file == "channels/1/00000000000000000001.seg" && damage.offset == 512)
        let lost = try #require(damage.lost.first)
        #expect(lost.name == bytes("big") && lost.sequences.lowerBound == 1)
        #expect(report.messages == 303 - lost.sequences.count)
        #expect(report.channels.first?.firstSequence == lost.sequences.upperBound + 1)
    }

    @Test("damage in what only an older checkpoint needs is named, and no message is lost")
    func olderCheckpoint() throws {
        let file = try store()
        let checkpoints = file.disk.everything().keys.filter { $0.hasSuffix(".checkpoint") }.sorted()
        let tails = file.disk.everything().keys.filter { $0.hasSuffix(".tails") }.sorted()
        #expect(checkpoints.count == 2 && tails.count == 2)
        for path in [checkpoints[0], tails[0]] {
            file.disk.flipBit(path, byte: 60, bit: 1)
            let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
            #expect(report.damage.map(\.file) == [String(path.dropFirst(6))] && report.messages == 303)
            file.disk.flipBit(path, byte: 60, bit: 1)
        }
        for path in checkpoints { file.disk.flipBit(path, byte: 60, bit: 1) }
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(report.damage.map { "/data/" + $0.file } == checkpoints)
        #expect(report.messages == 303, "the journal tells everything")
    }

    @Test("a damaged frame that the newest checkpoint covers is named")
    func coveredFrame() throws {
        let file = try store()
        let whole = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        let older = try #require(
            CheckpointFile(
                file.disk.content("/data/checkpoints/0000000000000001.checkpoint") ?? [], number: 1,
                storeID: whole.storeID))
        let path = "/data/journal/" + JournalFileHeader.name(older.place.file + 1)
        file.disk.flipBit(path, byte: 4096 + 100, bit: 1)
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(report.messages == 303)
        #expect(report.damage.map { "/data/" + $0.file } == [path] && report.damage.first?.offset == 4096)
    }

    @Test("a missing part of the directory is damage")
    func missingPart() throws {
        let file = try FileLog()
        file.log.close(state: [])
        try file.disk.removeDirectory("/data/channels")
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(report.damage == [Damage(file: "channels", offset: 0, reason: "the directory is missing")])
    }

    @Test("a flipped byte anywhere is reported or harmless, never a crash, and nothing is changed")
    func everyByte() throws {
        let file = try store(messages: 8, size: 20)
        let pristine = file.disk.everything()
        let whole = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        for (path, content) in pristine.sorted(by: { $0.key < $1.key }) {
            // Whole sectors of zeros are where nothing was written: one byte of each stands for all.
            for byte in content.indices {
                let sector = content[(byte / 512 * 512)..<min(content.count, byte / 512 * 512 + 512)]
                if byte % 512 != 5, sector.allSatisfy({ $0 == 0 }) { continue }
                file.disk.flipBit(path, byte: byte, bit: byte % 8)
                let flipped = file.disk.content(path)
                do throws(LogError) {
                    let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
                    let isNoticed = report.damage != [] || report.journal.tornTail != nil
                    let isHarmless = report.channels == whole.channels
                    #expect(isNoticed || isHarmless, "\(path) byte \(byte)")
                    let isHeader =
                        content.starts(with: bytes("DJH1")) && byte < 4096
                        && byte % 2048 < JournalFileHeader.size
                    if path.hasSuffix(".checkpoint") || path == "/data/store" || isHeader {
                        #expect(report.damage != [], "\(path) byte \(byte)")
                    }
                } catch {
                    #expect(path == "/data/store", "\(path) byte \(byte): \(error)")
                }
                #expect(file.disk.content(path) == flipped)
                file.disk.overwrite(path, with: content)
            }
        }
        #expect(file.disk.everything() == pristine)
    }

    @Test("a flipped byte anywhere in a segment is reported unless it is padding")
    func everyByteOfSegments() throws {
        let file = try store(messages: 60, segmentBytes: 1, filler: String(repeating: "x", count: 10_000))
        let whole = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(whole.segments > 2 && whole.damage == [])
        let segments = file.disk.everything().filter { $0.key.hasSuffix(".seg") }
        #expect(segments.count == whole.segments)
        for (path, content) in segments.sorted(by: { $0.key < $1.key }) {
            let trailer = content.count - SegmentFile.trailerSize - SegmentFile.entrySize
            for byte in content.indices {
                file.disk.flipBit(path, byte: byte, bit: byte % 8)
                let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
                let isCovered =
                    byte < 64 || byte >= trailer || (512..<(512 + BlockHeader.size)).contains(byte)
                let isPadding = content[byte] == 0 && !isCovered
                #expect(isPadding || report.damage.count == 1, "\(path) byte \(byte)")
                #expect(report.damage.allSatisfy { "/data/" + $0.file == path })
                file.disk.overwrite(path, with: content)
            }
        }
    }

    @Test("the offline reader gives a channel's messages in order, from any sequence")
    func reader() throws {
        let file = try store()
        let before = file.disk.everything()
        let reader = try OfflineReader.open(directory: "/data", fileSystem: file.disk)
        #expect(reader.channels.map(\.messages) == [300, 3] && reader.clusterID == "test")
        var texts: [String] = []
        try reader.forEachMessage(of: bytes("small"), from: 2) { message in
            texts.append("\(message.sequence) " + String(decoding: message.payload, as: UTF8.self))
            return true
        }
        #expect(texts == ["2 two", "3 three"])
        var sequences: [UInt64] = []
        try reader.forEachMessage(of: bytes("big")) { message in
            sequences.append(message.sequence)
            return message.sequence < 250
        }
        #expect(sequences == Array(1...250))
        #expect(throws: LogError.self) { try reader.forEachMessage(of: bytes("none")) { _ in true } }
        #expect(file.disk.everything() == before)
    }
}
