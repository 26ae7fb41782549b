import Testing

@testable import BrokerLog

@Suite("What a check says, and what a repair does then")
struct CheckAndRepairTests {
    /// A store of 1,001 messages: sealed segments, an open one, a tail, two checkpoints and journal behind them.
    private func store(segmentBytes: Int = 60_000) throws -> FileLog {
        let file = try FileLog { configuration in
            configuration.segmentBytes = segmentBytes
            configuration.cacheBytes = 1
        }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<1_000 {
            try file.log.append(noise(1_000, seed: UInt64(index)), to: channel)
            if index % 50 == 49 { file.settle() }
            if index % 200 == 199 { file.checkpoint() }
        }
        try file.log.append("last", to: channel)
        file.settle()
        file.disk.crash(.dropAll)
        return file
    }

    /// Takes a directory away with all that is in it.
    private func remove(_ path: String, from disk: SimulatedFileSystem) throws {
        for name in try disk.list(path) {
            let inner = path + "/" + name
            if disk.content(inner) == nil {
                try remove(inner, from: disk)
            } else {
                try disk.remove(inner)
            }
        }
        try disk.removeDirectory(path)
    }

    /// Expects that neither a dry run nor a repair goes on, that both say why, and that nothing is changed.
    private func expectRefused(_ disk: SimulatedFileSystem) throws {
        let report = try LogCheck.run(directory: "/data", fileSystem: disk)
        #expect(!report.isComplete && report.messages == 0 && !report.damage.isEmpty)
        let refusal = LogRepair.refusal(for: report, directory: "/data")
        let (before, names) = (disk.everything(), try disk.list("/data"))
        for isDryRun in [true, false] {
            let error = #expect(throws: LogError.self) {
                try LogRepair.run(directory: "/data", isDryRun: isDryRun, fileSystem: disk)
            }
            #expect(error != nil && error == refusal)
            #expect(error?.code == .damaged)
            #expect(error?.description.contains("does not reach back to the beginning") == true)
            #expect(disk.everything() == before)
            #expect(try disk.list("/data") == names, "a directory that is missing is not made")
        }
    }

    @Test(
        "without one of its directories a store is read, and a dry run tells all that the repair gives up",
        arguments: ["channels", "journal"])
    func missingDirectory(name: String) throws {
        let file = try store()
        let whole = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        #expect(whole.messages == 1_001 && whole.damage == [])
        try remove("/data/" + name, from: file.disk)
        let check = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        let missing = Damage(file: name, offset: 0, reason: "the directory is missing")
        #expect(check.isComplete && check.damage.contains(missing), "\(check)")
        #expect(check.checkpoints == whole.checkpoints)
        let before = file.disk.everything()
        let dry = try LogRepair.run(directory: "/data", isDryRun: true, fileSystem: file.disk)
        #expect(dry.before == check && file.disk.everything() == before)
        let lost = dry.plan.lost.reduce(0) { $0 + $1.sequences.count }
        if name == "channels" { #expect(lost > 800 && check.messages == 1_001 - lost) }
        let outcome = try LogRepair.run(directory: "/data", fileSystem: file.disk)
        #expect(outcome.plan == dry.plan && outcome.plan.lost == dry.plan.lost)
        #expect(outcome.after?.damage == [])
        #expect(outcome.after?.messages == check.messages)
        try file.reopen(after: .process)
        #expect(file.log.recovery.damage == [])
    }

    @Test("a file in the place of a directory is not repaired, and nothing is given up for it")
    func fileForDirectory() throws {
        let file = try store()
        try remove("/data/channels", from: file.disk)
        file.disk.close(try file.disk.open("/data/channels", .create))
        let before = file.disk.everything()
        #expect(throws: LogError.self) { try LogRepair.run(directory: "/data", fileSystem: file.disk) }
        #expect(file.disk.everything() == before)
    }

    @Test(
        "without a whole checkpoint, and with a journal that begins late, a dry run refuses as the repair does"
    )
    func lateJournal() throws {
        let file = try FileLog.withLateJournal()
        for path in file.disk.everything().keys where path.hasSuffix(".checkpoint") {
            file.disk.flipBit(path, byte: 100, bit: 1)
        }
        try expectRefused(file.disk)
    }

    @Test("without the directory of checkpoints nothing is changed either")
    func noCheckpoints() throws {
        let file = try FileLog.withLateJournal()
        try remove("/data/checkpoints", from: file.disk)
        try expectRefused(file.disk)
    }

    @Test("a store with a broken checkpoint and no journal is not taken for an empty one")
    func checkpointAlone() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try file.log.append("one", to: channel)
        file.log.close(state: [])
        for path in file.journal { try file.disk.remove(path) }
        for path in file.disk.everything().keys where path.hasSuffix(".checkpoint") {
            file.disk.flipBit(path, byte: 50, bit: 1)
        }
        try expectRefused(file.disk)
    }

    @Test("a young store that starts with a damaged frame of its journal can be repaired too")
    func youngStore() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        try file.log.append("one", to: channel)
        file.settle()
        file.disk.crash(.dropAll)
        #expect(!file.disk.everything().keys.contains { $0.hasSuffix(".checkpoint") })
        file.disk.flipBit(try #require(file.journal.first), byte: 4096 + 60, bit: 1)
        try file.reopen(after: .dropAll)
        #expect(!file.log.recovery.damage.isEmpty, "it starts")
        file.disk.crash(.dropAll)
        let outcome = try LogRepair.run(directory: "/data", fileSystem: file.disk)
        #expect(!outcome.before.damage.isEmpty && outcome.after?.damage == [])
        #expect(outcome.after?.messages == 1)
        try file.reopen(after: .dropAll)
        #expect(file.log.recovery.damage == [])
    }

    @Test("everything that is wrong at a place is reported, not what was found last")
    func onePlace() throws {
        let file = try store(segmentBytes: 400_000)
        let path = "/data/channels/1/00000000000000000001.seg"
        let segment = try file.disk.open(path, .read)
        let size = try file.disk.size(segment)
        let index = try SegmentFile.readFooter(
            segment, size: size, channel: 1, first: 1, fileSystem: file.disk)
        file.disk.close(segment)
        let blocks = try #require(index)
        try #require(blocks.count > 3)
        // Without the index what is missing has no place but the segment.
        file.disk.flipBit(path, byte: size - 10, bit: 1)
        for block in [blocks[0], blocks[2]] {
            file.disk.flipBit(path, byte: Int(block.offset) + 300, bit: 1)
        }
        let report = try LogCheck.run(directory: "/data", fileSystem: file.disk)
        let lost = report.damage.flatMap(\.lost).map(\.sequences)
        for block in [blocks[0], blocks[2]] {
            #expect(lost.contains(block.summary.firstSequence...block.summary.lastSequence), "\(lost)")
        }
        #expect(report.messages == 1_001 - Int(blocks[0].summary.count + blocks[2].summary.count))
    }

    @Test("a broker can start while a check reads, and the report says that it did")
    func brokerStarts() throws {
        let file = try store()
        let (disk, configuration) = (file.disk, file.configuration)
        nonisolated(unsafe) var isReading = false
        nonisolated(unsafe) var started: Log?
        disk.onCall { call, path in
            // What the broker calls comes here too.
            guard !isReading, call == .read, path.hasSuffix(".seg") else { return nil }
            isReading = true
            started = try? Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
            return nil
        }
        let report = try LogCheck.run(directory: "/data", fileSystem: disk)
        disk.onCall(nil)
        #expect(isReading && started != nil, "the lock can be had")
        #expect(report.isInUse && report.messages == 1_001 && report.damage == [])
        started?.abandon()
        #expect(try !LogCheck.run(directory: "/data", fileSystem: disk).isInUse)
    }

    @Test("no broker can start while a repair looks at what it will do")
    func repairIsAlone() throws {
        let file = try store()
        let (disk, configuration) = (file.disk, file.configuration)
        nonisolated(unsafe) var isReading = false
        nonisolated(unsafe) var code: LogError.Code?
        disk.onCall { call, path in
            guard !isReading, call == .read, path.hasSuffix(".seg") else { return nil }
            isReading = true
            do throws(LogError) {
                _ = try Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
            } catch {
                code = error.code
            }
            return nil
        }
        let outcome = try LogRepair.run(directory: "/data", fileSystem: disk)
        #expect(isReading && code == .inUse && outcome.plan.steps == [])
    }

    @Test("a reader says what it left out of the sequences that are asked about, after a repair too")
    func losses() throws {
        let file = try store()
        file.disk.flipBit("/data/channels/1/00000000000000000001.seg", byte: 800, bit: 1)
        for isRepaired in [false, true] {
            if isRepaired { _ = try LogRepair.run(directory: "/data", fileSystem: file.disk) }
            let reader = try OfflineReader.open(directory: "/data", fileSystem: file.disk)
            var found = 0
            try reader.forEachMessage(of: bytes("a")) { _ in
                found += 1
                return true
            }
            let all = reader.losses(of: bytes("a"), in: 1...UInt64.max)
            #expect(all.damage.isEmpty == isRepaired && all.lost.count == 1)
            #expect(all.lost.first?.sequences.count == 1_001 - found && found < 1_001)
            let behind = reader.losses(of: bytes("a"), in: 500...600)
            #expect(behind.damage.isEmpty && behind.lost.isEmpty)
        }
    }
}
