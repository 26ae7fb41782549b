import BrokerLog
import Testing

@Suite("The data directory")
struct StoreDirectoryTests {
    private func open(_ disk: SimulatedFileSystem, cluster: String = "test") throws -> Log {
        var configuration = LogConfiguration(storage: .file(directory: "/var/lib/broker"))
        configuration.execution = .manual
        configuration.clusterID = cluster
        return try Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
    }

    private func code(_ disk: SimulatedFileSystem, cluster: String = "test") -> LogError.Code? {
        do {
            _ = try open(disk, cluster: cluster)
            return nil
        } catch {
            return (error as? LogError)?.code
        }
    }

    @Test("a directory in use by another broker is refused")
    func inUse() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let log = try open(disk)
        #expect(code(disk) == .inUse)
        log.close(state: [])
        #expect(code(disk) == nil)
    }

    @Test("a store of another cluster is refused, and the error names it")
    func otherCluster() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try open(disk).close(state: [])
        #expect(code(disk, cluster: "other") == .otherCluster("test"))
    }

    @Test("a store of a newer version is refused untouched")
    func newerVersion() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try open(disk).close(state: [])
        var store = try #require(disk.content("/var/lib/broker/store"))
        store[8] = 2
        disk.overwrite("/var/lib/broker/store", with: sealed(store))
        let before = disk.everything()
        #expect(code(disk) == .newerVersion)
        #expect(disk.everything() == before)
    }

    @Test("a directory that holds a store of NATS Streaming is refused untouched")
    func foreign() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try disk.makeDirectory("/var")
        try disk.makeDirectory("/var/lib")
        try disk.makeDirectory("/var/lib/broker")
        disk.close(try disk.open("/var/lib/broker/server.dat", .create))
        let before = disk.everything()
        #expect(code(disk) == .foreignStore)
        #expect(disk.everything() == before)
    }

    @Test("a directory that cannot be written is refused")
    func notWritable() throws {
        let disk = SimulatedFileSystem(seed: 1)
        disk.onCall { call, _ in call == .makeDirectory ? 13 : nil }
        #expect(code(disk) == .notWritable)
        disk.onCall { call, _ in call == .open ? 30 : nil }
        #expect(code(disk) == .notWritable)
    }

    @Test("each damaged byte of the store file is refused with a sentence")
    func damagedStore() throws {
        let disk = SimulatedFileSystem(seed: 1)
        try open(disk).close(state: [])
        let whole = try #require(disk.content("/var/lib/broker/store"))
        for byte in whole.indices {
            disk.flipBit("/var/lib/broker/store", byte: byte, bit: 3)
            #expect(code(disk) == .damaged)
            disk.overwrite("/var/lib/broker/store", with: Array(whole.prefix(byte)))
            #expect(code(disk) == .damaged)
            disk.overwrite("/var/lib/broker/store", with: whole)
        }
        #expect(code(disk) == nil)
    }

    @Test("a store file that is damaged or missing is named, and the journal says which store it is")
    func damagedStoreWithJournal() throws {
        let disk = SimulatedFileSystem(seed: 1)
        let path = "/var/lib/broker/store"
        let log = try open(disk)
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try log.append("kept", to: channel)
        log.close(state: [])
        let whole = try #require(disk.content(path))
        var damages: [(String, (SimulatedFileSystem) throws -> Void)] = whole.indices.map { byte in
            ("byte \(byte)", { $0.flipBit(path, byte: byte, bit: 3) })
        }
        damages.append(("emptied", { $0.overwrite(path, with: []) }))
        damages.append(("missing", { try $0.remove(path) }))
        damages.append(("unreadable", { $0.makeUnreadable(path, 0..<whole.count) }))
        for (what, damage) in damages {
            let copy = SimulatedFileSystem(copying: disk, seed: 1)
            try damage(copy)
            try copy.syncAll("/")
            for round in 0..<2 {
                let before = copy.everything()
                let log = try open(copy)
                #expect(log.recovery.damage.map(\.file) == ["store"], "\(what)")
                #expect(log.payloads(of: channel).first == "kept" && !log.recovery.isNew, "\(what)")
                #expect(copy.everything() == before, "opening changes nothing: \(what)")
                #expect(try log.append("more", to: channel).sequence == UInt64(2 + round))
                log.close(state: [])
            }
        }
        // What is of a newer version is left alone; and two stores are not mixed.
        let newer = SimulatedFileSystem(copying: disk, seed: 1)
        var newest = whole
        newest[8] = 9
        newer.overwrite(path, with: sealed(newest))
        #expect(code(newer) == .newerVersion)
        let mixed = SimulatedFileSystem(copying: disk, seed: 1)
        mixed.overwrite(path, with: [])
        let other = SimulatedFileSystem(seed: 2)
        let theirs = try open(other)
        _ = try theirs.createChannel(named: bytes("b"), limits: ChannelLimits())
        theirs.close(state: [])
        let journal = try #require(other.everything().first { $0.key.hasSuffix("0001.wal") })
        mixed.close(try mixed.open("/var/lib/broker/journal/00000000000000ff.wal", .create))
        mixed.overwrite("/var/lib/broker/journal/00000000000000ff.wal", with: journal.value)
        #expect(code(mixed) == .damaged)
    }

    @Test("a crash at any call while the store is made leaves no store or a whole one")
    func crashInCreation() throws {
        for crash in SimulatedFileSystem.Crash.allCases {
            for call in 0..<40 {
                let disk = SimulatedFileSystem(seed: UInt64(call))
                nonisolated(unsafe) var calls = 0
                disk.onCall { _, _ in
                    calls += 1
                    return calls > call ? 5 : nil
                }
                _ = try? open(disk)
                disk.crash(crash)
                #expect(code(disk) == nil, "crash \(crash) at call \(call)")
            }
        }
    }

    @Test("what is acknowledged in a store is there after a power cut, whoever began to create it")
    func createdInTwoStarts() throws {
        for code in [Int32(5), 13] {
            for call in 0..<40 {
                let file = try FileLog()
                let disk = SimulatedFileSystem(seed: UInt64(call))
                nonisolated(unsafe) var calls = 0
                disk.onCall { kind, path in
                    // A parent that cannot be read stays so.
                    if code == 13 { return kind == .syncDirectory && path == "/" ? code : nil }
                    calls += 1
                    return calls > call ? code : nil
                }
                let opens = {
                    try Log.open(file.configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
                }
                _ = try? opens()
                if code == 5 { disk.onCall(nil) }
                disk.crash(.process)
                let log = try opens()
                let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
                try log.append("one", to: channel)
                log.submit()
                while log.stepCommit() {}
                _ = log.poll()
                disk.onCall(nil)
                disk.crash(.dropAll)
                let again = try opens()
                #expect(
                    again.payloads(of: channel) == ["one"] && again.recovery.damage.isEmpty, "call \(call)")
                if code == 13 { break }
            }
        }
    }

    @Test("tmpfs and network file systems are warned about")
    func volumes() throws {
        for (volume, word) in [(VolumeKind.memory, "tmpfs"), (.network("NFS"), "NFS")] {
            let disk = SimulatedFileSystem(seed: 1)
            disk.setVolume(volume)
            var configuration = LogConfiguration(storage: .file(directory: "data"))
            configuration.execution = .manual
            var events: [LogEvent] = []
            _ = try Log.open(configuration, fileSystem: disk, wake: {}, report: { events.append($0) })
            #expect(
                events.contains { if case .warning(let text) = $0 { text.contains(word) } else { false } })
        }
    }
}
