import Testing

@testable import BrokerLog

@Suite("Repairing a data directory")
struct RepairTests {
    /// A store with sealed segments, an open one, tails, two checkpoints and journal behind them, as a crash
    /// leaves it; `pristine`: what its channels hold.
    private struct Sample {
        let file: FileLog
        let pristine: [String: [String]]

        init(trimmed: Bool = false) throws {
            let file = try FileLog { configuration in
                configuration.segmentBytes = 60_000
                configuration.cacheBytes = 1
            }
            let big = try file.log.createChannel(named: bytes("big"), limits: ChannelLimits())
            let other = try file.log.createChannel(
                named: bytes("other"), limits: ChannelLimits(maxMessages: 500))
            let small = try file.log.createChannel(named: bytes("small"), limits: ChannelLimits())
            for half in 0..<2 {
                for index in 0..<150 {
                    try file.log.append(
                        "\(half * 150 + index + 1) " + noise(1_000, seed: UInt64(index)), to: big)
                    try file.log.append(
                        "\(half * 150 + index + 1) " + noise(700, seed: UInt64(index)), to: other)
                    if index % 25 == 24 { file.settle() }
                }
                try file.log.append("\(half + 1) small", to: small)
                bytes("state \(half)").withUnsafeBytes { _ = file.log.appendState($0) }
                file.settle()
                file.checkpoint("snapshot \(half)")
            }
            if trimmed { _ = try file.log.purge(big, below: 120) }
            try file.log.append("3 small", to: small)
            bytes("state 2").withUnsafeBytes { _ = file.log.appendState($0) }
            file.settle()
            try file.log.append("4 small", to: small)
            file.settle()
            file.disk.crash(.dropAll)
            self.file = file
            pristine = try Self.contents(file.disk).mapValues { Array($0.values) }
        }

        /// Payload by sequence, by channel.
        static func contents(_ disk: SimulatedFileSystem) throws -> [String: [UInt64: String]] {
            let reader = try OfflineReader.open(directory: "/data", fileSystem: disk)
            var found: [String: [UInt64: String]] = [:]
            for channel in reader.channels {
                let name = String(decoding: channel.name, as: UTF8.self)
                found[name] = [:]
                try reader.forEachMessage(of: channel.name) { message in
                    found[name]?[message.sequence] = String(decoding: message.payload, as: UTF8.self)
                    return true
                }
            }
            return found
        }

        func files(_ suffix: String) -> [String] {
            file.disk.everything().keys.filter { $0.hasSuffix(suffix) && !$0.contains("/damaged/") }.sorted()
        }
    }

    /// Repairs what `damage` does to a store, and holds the result to what a repair promises.
    @discardableResult
    private func repaired(
        _ note: String, trimmed: Bool = false, comparesCopies: Bool = true, _ damage: (Sample) throws -> Void
    ) throws -> LogRepair.Outcome {
        do {
            return try repairedOnce(note, trimmed: trimmed, comparesCopies, damage)
        } catch {
            Issue.record("\(note): \(error)")
            throw error
        }
    }

    private func repairedOnce(
        _ note: String, trimmed: Bool, _ comparesCopies: Bool, _ damage: (Sample) throws -> Void
    ) throws -> LogRepair.Outcome {
        let sample = try Sample(trimmed: trimmed)
        let disk = sample.file.disk
        try damage(sample)
        let broken = disk.everything()
        let check = try LogCheck.run(directory: "/data", fileSystem: disk)
        #expect(!check.damage.isEmpty, "\(note): the check sees it")
        let whole = try Sample.contents(disk)

        let dry = try LogRepair.run(directory: "/data", isDryRun: true, fileSystem: disk)
        #expect(dry.before == check && dry.after == nil && !dry.plan.steps.isEmpty, "\(note)")
        #expect(disk.everything() == broken, "\(note): a dry run changes nothing")

        let outcome = try LogRepair.run(directory: "/data", fileSystem: disk)
        #expect(outcome.after?.damage == [], "\(note)")
        #expect(try LogCheck.run(directory: "/data", fileSystem: disk).damage == [], "\(note)")
        #expect(try Sample.contents(disk) == whole, "\(note): what was whole is there, and nothing else")
        for file in Set(check.damage.map(\.file)) where comparesCopies {
            guard let content = broken["/data/" + file] else { continue }
            let copy = try #require(
                outcome.setAside.flatMap { disk.content("/data/\($0)/\(file)") }, "\(note)")
            #expect(copy == content, "\(note): the damaged bytes of \(file) are kept")
        }
        // It serves, and another repair has nothing to do.
        try sample.file.reopen(after: .process)
        let log = sample.file.log
        #expect(log.recovery.damage == [] && log.statistics.damage == [], "\(note)")
        for id in log.channels {
            let last = try #require(log.info(of: id)).lastSequence
            #expect(try log.append("next", to: id).sequence == last + 1, "\(note)")
        }
        sample.file.settle()
        sample.file.checkpoint()
        disk.crash(.dropAll)
        let again = try LogRepair.run(directory: "/data", fileSystem: disk)
        #expect(again.plan.steps == [] && again.before.damage == [], "\(note)")
        return outcome
    }

    @Test("a sound store is left alone, to the byte")
    func sound() throws {
        let sample = try Sample()
        let before = sample.file.disk.everything()
        let outcome = try LogRepair.run(directory: "/data", fileSystem: sample.file.disk)
        #expect(outcome.plan.steps == [] && outcome.setAside == nil && outcome.plan.lost == [])
        #expect(sample.file.disk.everything() == before)
        #expect(sample.pristine["big"]?.count == 300 && sample.pristine["small"]?.count == 4)
    }

    @Test(
        "a damaged block at any place of a segment, sealed or not, trimmed or not", arguments: [false, true])
    func blocks(trimmed: Bool) throws {
        let sample = try Sample(trimmed: trimmed)
        for path in sample.files(".seg") {
            let size = sample.file.disk.content(path)?.count ?? 0
            for byte in [8, 520, 512 + 300, size / 2, size - 200, size - 10] where byte < size {
                let sample = try Sample(trimmed: trimmed)
                sample.file.disk.flipBit(path, byte: byte, bit: 3)
                // Some bytes are padding.
                guard try !LogCheck.run(directory: "/data", fileSystem: sample.file.disk).damage.isEmpty
                else {
                    continue
                }
                let outcome = try repaired("\(path) byte \(byte)", trimmed: trimmed) {
                    $0.file.disk.flipBit(path, byte: byte, bit: 3)
                }
                let lost = outcome.plan.lost.reduce(0) { $0 + $1.sequences.count }
                #expect(lost <= 100, "at most a block is lost")
                #expect(outcome.after?.lostBefore.reduce(0) { $0 + $1.sequences.count } == lost)
            }
        }
    }

    @Test("segments cut, emptied, missing, or swapped with another channel's")
    func files() throws {
        let segments = try Sample().files(".seg")
        let (mine, others) = (segments.filter { $0.contains("/1/") }, segments.filter { $0.contains("/2/") })
        #expect(mine.count > 2 && others.count > 2)
        for path in [mine[0], mine[1], try #require(mine.last)] {
            try repaired("missing \(path)") { try $0.file.disk.remove(path) }
            try repaired("empty \(path)") { $0.file.disk.overwrite(path, with: []) }
            try repaired("half of \(path)") {
                let content = $0.file.disk.content(path) ?? []
                $0.file.disk.overwrite(path, with: Array(content.prefix(content.count / 2)))
            }
            try repaired("\(path) of another channel") {
                $0.file.disk.overwrite(path, with: $0.file.disk.content(others[0]) ?? [])
            }
            try repaired("a page of zeros in \(path)") {
                var content = $0.file.disk.content(path) ?? []
                for byte in 4_096..<min(8_192, content.count) { content[byte] = 0 }
                $0.file.disk.overwrite(path, with: content)
            }
        }
        try repaired("all segments of a channel") { sample in
            for path in sample.files(".seg") where path.contains("/1/") { try sample.file.disk.remove(path) }
        }
    }

    @Test("checkpoints and their tails, the newest or the one before")
    func checkpoints() throws {
        for path in try Sample().files(".checkpoint") + Sample().files(".tails") {
            try repaired("a bit of \(path)") { $0.file.disk.flipBit(path, byte: 100, bit: 1) }
            try repaired("empty \(path)") { $0.file.disk.overwrite(path, with: []) }
            if path.hasSuffix(".tails") { try repaired("no \(path)") { try $0.file.disk.remove(path) } }
        }
    }

    @Test("the journal: frames, headers and whole files")
    func journal() throws {
        let sample = try Sample()
        let newest = try #require(
            sample.file.journal.last { path in
                sample.file.disk.content(path)?.dropFirst(4_096).contains { $0 != 0 } ?? false
            })
        let content = try #require(sample.file.disk.content(newest))
        let frames = stride(from: 4_096, to: content.count, by: 512)
            .filter { Array(content[$0..<($0 + 4)]) == bytes("DJF1") }
        #expect(frames.count > 2)
        for frame in frames.dropLast() {
            let sample = try Sample()
            sample.file.disk.flipBit(newest, byte: frame + 60, bit: 1)
            guard try !LogCheck.run(directory: "/data", fileSystem: sample.file.disk).damage.isEmpty else {
                continue
            }
            try repaired("frame at \(frame)") { $0.file.disk.flipBit(newest, byte: frame + 60, bit: 1) }
        }
        for byte in [20, 2_048 + 20] {
            try repaired("header at \(byte)") { $0.file.disk.flipBit(newest, byte: byte, bit: 1) }
        }
    }

    @Test("a place that the disk cannot read any more, in a file of each kind")
    func unreadable() throws {
        let sample = try Sample()
        let used = sample.file.disk.everything().filter { !$0.value.allSatisfy { $0 == 0 } }
        for (path, content) in used.sorted(by: { $0.key < $1.key }) {
            guard ["wal", "seg", "tails", "checkpoint"].contains(path.split(separator: ".").last) else {
                continue
            }
            let pages = Array(stride(from: 0, to: content.count, by: 4_096))
            for page in Set([pages[0], pages[pages.count / 2], pages[pages.count - 1]]).sorted() {
                let range = page..<min(page + 4_096, content.count)
                let sample = try Sample()
                sample.file.disk.makeUnreadable(path, range)
                // A check says what there is, whatever it is.
                let check = try LogCheck.run(directory: "/data", fileSystem: sample.file.disk)
                if check.damage.isEmpty {
                    #expect(path.hasSuffix(".wal"), "\(path) from \(page)")
                    continue
                }
                try repaired("\(path) unreadable from \(page)", comparesCopies: false) {
                    $0.file.disk.makeUnreadable(path, range)
                }
            }
        }
    }

    @Test("a checkpoint cannot make a repair touch what is not the store's")
    func foreignPaths() throws {
        let sample = try Sample()
        let disk = sample.file.disk
        let path = try #require(sample.files(".checkpoint").last)
        let number = try #require(
            CheckpointFile.number(String(path.split(separator: "/").last ?? ""), ".checkpoint"))
        let storeID = try LogCheck.run(directory: "/data", fileSystem: disk).storeID
        var forged = try #require(
            CheckpointFile(disk.content(path) ?? [], number: number, storeID: storeID))
        let outside = [
            "../outside.checkpoint", "checkpoints/../../outside.checkpoint",
            "channels/1/../../../outside.seg",
            "/outside.checkpoint", "checkpoints/other.checkpoint", "channels/+1/00000000000000000001.seg",
            "journal/../store", "store", "lock", "..",
        ]
        for file in outside { forged.damage.append(Damage(file: file, offset: 0, reason: "forged")) }
        // The simulated disk knows no parents: a directory of that name stands for one.
        try disk.makeDirectory("/data/..")
        for file in ["../outside.checkpoint", "outside.checkpoint"] {
            let file = try disk.open("/data/" + file, .create)
            try bytes("mine").withUnsafeBytes { try disk.write(file, $0, at: 0) }
            disk.close(file)
        }
        disk.overwrite(path, with: forged.encoded())
        let before = disk.everything()
        let outcome = try LogRepair.run(directory: "/data", fileSystem: disk)
        // What is remembered of the file `store` counts for nothing: it is looked at.
        #expect(
            outcome.before.damage.map(\.file).sorted() == outside.filter { $0 != "store" }.sorted(),
            "they are reported, as damage that was found")
        #expect(outcome.plan.steps == [.makeCheckpoints] && outcome.setAside == nil)
        for (path, content) in before where path.contains("outside") {
            #expect(disk.content(path) == content, "\(path)")
        }
        #expect(disk.content("/data/store") == before["/data/store"])
    }

    @Test("several things at once, and a repair that is ended at any call and begun again")
    func interrupted() throws {
        func damage(_ sample: Sample) {
            sample.file.disk.flipBit("/data/channels/1/00000000000000000001.seg", byte: 800, bit: 1)
            sample.file.disk.flipBit(
                sample.files(".seg").last { $0.contains("/2/") } ?? "", byte: 900, bit: 1)
            sample.file.disk.flipBit(sample.files(".tails")[0], byte: 100, bit: 1)
        }
        try repaired("all") { damage($0) }
        var limit = 0
        var isDone = false
        while !isDone {
            limit += 7
            let sample = try Sample()
            damage(sample)
            let whole = try Sample.contents(sample.file.disk)
            nonisolated(unsafe) var calls = 0
            nonisolated(unsafe) var died = false
            let last = limit
            sample.file.disk.onCall { _, _ in
                calls += 1
                if calls > last { died = true }
                return calls > last ? SimulatedFileSystem.machineIsOff : nil
            }
            _ = try? LogRepair.run(directory: "/data", fileSystem: sample.file.disk)
            isDone = !died
            sample.file.disk.crash(.random)
            let outcome = try LogRepair.run(directory: "/data", fileSystem: sample.file.disk)
            #expect(try Sample.contents(sample.file.disk) == whole, "ended after \(limit) calls")
            #expect(try LogCheck.run(directory: "/data", fileSystem: sample.file.disk).damage == [])
            #expect(outcome.plan.steps.isEmpty || outcome.after?.damage == [])
        }
    }

    @Test("state and limits are those of before")
    func state() throws {
        let sample = try Sample()
        sample.file.disk.flipBit(sample.files(".tails")[1], byte: 100, bit: 1)
        _ = try LogRepair.run(directory: "/data", fileSystem: sample.file.disk)
        try sample.file.reopen(after: .process)
        #expect(sample.file.log.recoveredState.snapshot == bytes("snapshot 0state 1state 2"))
        #expect(
            sample.file.log.channels.compactMap { sample.file.log.limits(of: $0)?.maxMessages } == [
                0, 500, 0,
            ])
    }

    @Test("what cannot be repaired is left alone, with a sentence")
    func refused() throws {
        func error(_ damage: (Sample) throws -> Void) throws -> LogError? {
            let sample = try Sample()
            try damage(sample)
            let before = sample.file.disk.everything()
            let error = #expect(throws: LogError.self) {
                try LogRepair.run(directory: "/data", fileSystem: sample.file.disk)
            }
            let after = sample.file.disk.everything().filter { !$0.key.contains("/damaged/") }
            #expect(after == before)
            return error
        }
        #expect(
            try error { $0.file.disk.flipBit("/data/store", byte: 17, bit: 1) }?.code
                == .invalidConfiguration)
        #expect(throws: LogError.self) {
            try LogRepair.run(directory: "/nonexistent", fileSystem: SimulatedFileSystem(seed: 1))
        }
        let running = try FileLog()
        running.settle()
        let inUse = #expect(throws: LogError.self) {
            try LogRepair.run(directory: "/data", fileSystem: running.disk)
        }
        #expect(inUse?.code == .inUse)
    }

    @Test("a damaged or missing store file is written anew for the cluster that is named, and for no other")
    func storeFile() throws {
        for isMissing in [false, true] {
            let sample = try Sample()
            let disk = sample.file.disk
            let whole = (try Sample.contents(disk), disk.content("/data/store"))
            let other = #expect(throws: LogError.self) {
                sample.file.disk.flipBit(sample.files(".tails")[1], byte: 100, bit: 1)
                defer { sample.file.disk.flipBit(sample.files(".tails")[1], byte: 100, bit: 1) }
                _ = try LogRepair.run(directory: "/data", clusterID: "another", fileSystem: disk)
            }
            #expect(other?.code == .otherCluster("test"))
            #expect(throws: LogError.self, "a sound store is not of another cluster either") {
                try LogRepair.run(directory: "/data", clusterID: "another", fileSystem: disk)
            }
            if isMissing {
                try disk.remove("/data/store")
            } else {
                disk.flipBit("/data/store", byte: 17, bit: 1)
            }
            let damaged = disk.content("/data/store")
            let dry = try LogRepair.run(directory: "/data", isDryRun: true, fileSystem: disk)
            #expect(dry.plan.steps.contains(.writeStore) && disk.content("/data/store") == damaged)
            for name in ["", "a b", "x*", ".a", "a..b"] {
                let refused = #expect(throws: LogError.self) {
                    try LogRepair.run(directory: "/data", clusterID: name, fileSystem: disk)
                }
                #expect(refused?.code == .invalidConfiguration && disk.content("/data/store") == damaged)
            }
            let outcome = try LogRepair.run(directory: "/data", clusterID: "test", fileSystem: disk)
            #expect(outcome.after?.damage == [] && outcome.after?.clusterID == "test")
            #expect(outcome.setAside.flatMap { disk.content("/data/\($0)/store") } == damaged)
            #expect(try Sample.contents(disk) == whole.0 && disk.content("/data/store") == whole.1)
            try sample.file.reopen(after: .dropAll)
            #expect(sample.file.log.recovery.damage == [])
        }
    }

    @Test("a store without a whole checkpoint, whose journal begins late, is left alone")
    func withoutCheckpoint() throws {
        let file = try FileLog.withLateJournal()
        for path in file.disk.everything().keys where path.hasSuffix(".checkpoint") {
            file.disk.flipBit(path, byte: 100, bit: 1)
        }
        for isStoreMissing in [false, true] {
            if isStoreMissing { try file.disk.remove("/data/store") }
            let before = file.disk.everything()
            let error = #expect(throws: LogError.self) {
                try LogRepair.run(directory: "/data", clusterID: "test", fileSystem: file.disk)
            }
            #expect(error?.description.contains("does not reach back to the beginning") == true)
            #expect(file.disk.everything() == before)
        }
    }

    @Test("a young store whose only checkpoint is damaged is made again from its journal")
    func onlyCheckpoint() throws {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<100 { try file.log.append("\(index)", to: channel) }
        file.settle()
        file.checkpoint()
        file.disk.crash(.dropAll)
        file.disk.flipBit("/data/checkpoints/0000000000000001.checkpoint", byte: 50, bit: 1)
        let outcome = try LogRepair.run(directory: "/data", fileSystem: file.disk)
        #expect(outcome.after?.messages == 100 && outcome.plan.lost == [])
    }
}
