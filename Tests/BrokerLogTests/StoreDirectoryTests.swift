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
        disk.overwrite("/var/lib/broker/store", with: store)
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
            #expect(code(disk) == ((8..<12).contains(byte) ? .newerVersion : .damaged))
            disk.overwrite("/var/lib/broker/store", with: Array(whole.prefix(byte)))
            #expect(code(disk) == .damaged)
            disk.overwrite("/var/lib/broker/store", with: whole)
        }
        #expect(code(disk) == nil)
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
