import Foundation
import Glibc
import Synchronization
import Testing

@testable import BrokerLog

@Suite("The space of removed segments is given back a piece at a time")
struct RemovedFilesTests {
    private let disk = SimulatedFileSystem(seed: 1)
    private static let clock = LogClock { 0 }

    private func make(_ path: String, _ size: Int) throws {
        let file = try disk.open(path, .create)
        try [UInt8](repeating: 1, count: size).withUnsafeBytes { try disk.write(file, $0, at: 0) }
        disk.close(file)
    }

    @Test("names go at once, then one piece after the other")
    func pieces() throws {
        try make("/a", 1_000)
        try make("/b", 250)
        var removed = RemovedFiles(fileSystem: disk, pieceBytes: 300)
        try removed.remove("/a")
        #expect(try disk.list("/") == ["b"])
        try removed.remove("/b")
        #expect(try disk.list("/") == [])
        var left = [disk.used]
        for _ in 0..<20 where !removed.isEmpty {
            _ = removed.releasePiece(Self.clock)
            left.append(disk.used)
        }
        #expect(left == [1_000, 1_000, 900, 600, 300, 0], "what is no more than a piece went with its name")
        #expect(removed.pause(now: 0) == nil)
    }

    @Test("the disk is the others' for five times as long as a piece took, and for a millisecond at least")
    func pauses() throws {
        let time = Atomic<UInt64>(1_000_000_000)
        let took = Atomic<UInt64>(700_000)
        let clock = LogClock { time.load(ordering: .relaxed) }
        disk.onCall { call, _ in
            if call == .truncate { time.add(took.load(ordering: .relaxed), ordering: .relaxed) }
            return nil
        }
        try make("/a", 1_000)
        var removed = RemovedFiles(fileSystem: disk, pieceBytes: 100)
        try removed.remove("/a")
        #expect(removed.pause(now: clock.now()) == 0)
        _ = removed.releasePiece(clock)
        time.add(1_000_000, ordering: .relaxed)
        #expect(removed.pause(now: clock.now()) == 0, "the directory is synced")
        _ = removed.releasePiece(clock)
        #expect(removed.pause(now: clock.now()) == 3_500_000)
        #expect(removed.pause(now: clock.now() + 3_499_999) == 1)
        #expect(removed.pause(now: clock.now() + 3_500_000) == 0)
        took.store(10_000, ordering: .relaxed)
        _ = removed.releasePiece(clock)
        #expect(removed.pause(now: clock.now()) == 1_000_000)
        // Behind more than 64 files the pause is as long as the piece took.
        took.store(4_000_000, ordering: .relaxed)
        for index in 0..<64 {
            try make("/more\(index)", 1_000)
            try removed.remove("/more\(index)")
        }
        _ = removed.releasePiece(clock)
        _ = removed.releasePiece(clock)
        #expect(removed.pause(now: clock.now()) == 4_000_000)
    }

    @Test(
        "a file goes as a whole that cannot be opened, measured or shortened, or whose name may come back",
        arguments: [
            (SimulatedFileSystem.Call.open, EMFILE, 0), (.size, EIO, 0), (.syncDirectory, EIO, 1),
            (.truncate, EIO, 2),
        ])
    func whole(_ refused: SimulatedFileSystem.Call, _ code: Int32, _ turns: Int) throws {
        try make("/a", 1_000)
        disk.onCall { call, _ in call == refused ? code : nil }
        var removed = RemovedFiles(fileSystem: disk, pieceBytes: 300)
        try removed.remove("/a")
        for turn in 0..<turns {
            #expect(disk.used == 1_000, "turn \(turn)")
            let failure = removed.releasePiece(Self.clock)
            #expect((failure != nil) == (refused == .syncDirectory), "a sync that fails is told of")
        }
        #expect(removed.isEmpty && disk.used == 0)
        // After a sync that failed no other is believed.
        disk.onCall(nil)
        try make("/b", 1_000)
        try removed.remove("/b")
        #expect(removed.isEmpty == (refused == .syncDirectory))
    }

    @Test("a file that has another name, as in a copy by hard links, keeps what is in it")
    func linked() throws {
        let directory = FileManager.default.temporaryDirectory.path + "/removed-\(UUID())"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let files = RealFileSystem()
        let file = try files.open(directory + "/a", .create)
        try [UInt8](repeating: 1, count: 1_000).withUnsafeBytes { try files.write(file, $0, at: 0) }
        files.close(file)
        try FileManager.default.linkItem(atPath: directory + "/a", toPath: directory + "/copy")
        try FileManager.default.createSymbolicLink(
            atPath: directory + "/link", withDestinationPath: directory + "/copy")
        var removed = RemovedFiles(fileSystem: files, pieceBytes: 300)
        for name in ["link", "a"] { try removed.remove("\(directory)/\(name)") }
        #expect(removed.isEmpty)
        #expect(try files.list(directory) == ["copy"])
        try removed.remove(directory + "/copy")
        #expect(!removed.isEmpty)
        for _ in 0..<20 where !removed.isEmpty { _ = removed.releasePiece(Self.clock) }
        #expect(removed.isEmpty)
    }

    @Test("a crash brings back no file that was shortened", arguments: [true, false])
    func crash(removesDirectory: Bool) throws {
        try disk.makeDirectory("/d")
        try make("/d/a", 1_000)
        try disk.syncAll("/")
        var removed = RemovedFiles(fileSystem: disk, pieceBytes: 300)
        try removed.remove("/d/a")
        if removesDirectory { try disk.removeDirectory("/d") }
        for _ in 0..<20 where disk.used == 1_000 { _ = removed.releasePiece(Self.clock) }
        #expect(disk.used < 1_000)
        disk.crash(.dropAll)
        #expect(disk.content("/d/a") == nil)
    }

    @Test("a file that is not removed stays as it is, and its error is the caller's")
    func refused() throws {
        try make("/a", 1_000)
        var removed = RemovedFiles(fileSystem: disk, pieceBytes: 300)
        #expect(throws: FileError(call: "unlink", path: "/b", code: ENOENT)) { try removed.remove("/b") }
        disk.onCall { call, _ in call == .remove ? EACCES : nil }
        #expect(throws: FileError.self) { try removed.remove("/a") }
        #expect(removed.isEmpty && disk.content("/a")?.count == 1_000)
    }

    @Test("of more files than descriptors are for it, the rest goes at once")
    func many() throws {
        for index in 0..<300 { try make("/\(index)", 1_000) }
        var removed = RemovedFiles(fileSystem: disk, pieceBytes: 300)
        for index in 0..<300 { try removed.remove("/\(index)") }
        #expect(try disk.list("/") == [] && disk.used == 128_000)
        let hadSome = removed.releaseAll()
        #expect(hadSome && disk.used == 0)
        let hasMore = removed.releaseAll()
        #expect(!hasMore)
    }

    // MARK: In a log

    /// Four segments of 256 KiB or a little more.
    private func fill(_ file: FileLog, _ channel: ChannelID) throws {
        for index in 0..<1_300 {
            try file.log.append("\(index) " + noise(1_000, seed: UInt64(index)), to: channel)
            if index % 60 == 0 { file.settle() }
        }
        file.checkpoint()
        file.checkpoint()
    }

    private func segments(_ file: FileLog) -> [String] {
        file.disk.everything().keys.filter { $0.hasSuffix(".seg") }
    }

    @Test(
        "a channel that is deleted leaves no name, and its space goes by quarters of a segment between other jobs"
    )
    func deleted() throws {
        let file = try FileLog { $0.segmentBytes = 256 << 10 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel)
        #expect(segments(file).count >= 4)
        let cuts = Atomic(0)
        file.disk.onCall { call, _ in
            if call == .truncate { cuts.add(1, ordering: .relaxed) }
            return nil
        }
        _ = try file.log.deleteChannel(channel)
        file.settleJournal()
        let before = file.disk.used
        #expect(file.log.stepBackground(), "the deletion itself")
        #expect(segments(file) == [])
        #expect(file.disk.used > before - (128 << 10), "only what is small went with its name")
        file.settle()
        #expect(file.disk.used < before - (1_250 << 10))
        #expect(cuts.load(ordering: .relaxed) >= 4 * 4)
        file.disk.onCall(nil)
        try file.reopen(after: .dropAll)
        #expect(file.log.statistics.damage == [])
    }

    @Test(
        "the thread leaves the disk to others behind each piece, and a job that waits comes before the next one"
    )
    func turns() throws {
        let file = try FileLog { $0.segmentBytes = 256 << 10 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel)
        _ = try file.log.deleteChannel(channel)
        let other = try file.log.createChannel(named: bytes("b"), limits: ChannelLimits())
        file.settleJournal()
        let background = try #require(file.log.disk?.background)
        let cuts = Atomic(0)
        let writes = Atomic(0)
        file.disk.onCall { call, path in
            if call == .truncate { cuts.add(1, ordering: .relaxed) }
            if call == .write, path.hasSuffix(".seg") { writes.add(1, ordering: .relaxed) }
            return nil
        }
        #expect(background.step(keepsPauses: true), "the deletion")
        #expect(background.step(keepsPauses: true), "the directory")
        #expect(!background.step(keepsPauses: true), "the clock stands still, and so do the pieces")
        for index in 0..<200 {
            try file.log.append("\(index) " + noise(1_000, seed: UInt64(index)), to: other)
        }
        file.settleJournal()
        for _ in 0..<20 where background.step(keepsPauses: true) {}
        #expect(writes.load(ordering: .relaxed) > 0, "jobs go on")
        #expect(cuts.load(ordering: .relaxed) == 0)
        file.settle()
        #expect(cuts.load(ordering: .relaxed) > 0)
    }

    @Test(
        "a sync that fails is told of, and a log that was closed holds no removed files",
        arguments: [true, false])
    func failing(_ inBetween: Bool) throws {
        let file = try FileLog { $0.segmentBytes = 256 << 10 }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        try fill(file, channel)
        try file.reopen(after: .process)
        try fill(file, channel)
        _ = try file.log.deleteChannel(channel)
        file.settleJournal()
        #expect(file.log.stepBackground(), "the deletion")
        let isHeld = { [disk = file.disk] in disk.used > disk.everything().values.reduce(0) { $0 + $1.count }
        }
        #expect(isHeld())
        file.disk.onCall { call, path in
            call == (inBetween ? .syncDirectory : .syncAll) && !path.hasSuffix("checkpoints") ? EIO : nil
        }
        if inBetween {
            file.settle()
            #expect(file.log.closedReason == nil, "nothing depends on it")
            #expect(file.events.count { "\($0)".contains("syncDirectory") } == 1, "\(file.events)")
        } else {
            file.log.checkpoint(state: [])
            #expect(file.log.stepBackground() && file.log.stepBackground())
            _ = file.log.poll()
            #expect(file.log.closedReason != nil)
        }
        #expect(!isHeld())
    }

    @Test("a full disk gets it back at once")
    func full() throws {
        let file = try FileLog {
            $0.segmentBytes = 256 << 10
            $0.journalSizeBytes = 32 << 20
        }
        let old = try file.log.createChannel(named: bytes("old"), limits: ChannelLimits())
        try fill(file, old)
        let new = try file.log.createChannel(named: bytes("new"), limits: ChannelLimits())
        _ = try file.log.deleteChannel(old)
        file.settleJournal()
        #expect(file.log.stepBackground())
        // Nothing grows any more, but for what the removed files hold.
        file.disk.capacity = file.disk.used
        let texts = (0..<200).map { "\($0) " + noise(1_000, seed: UInt64($0)) }
        for text in texts { try file.log.append(text, to: new) }
        file.settleJournal()
        let used = file.disk.used
        #expect(file.log.stepBackground(), "the directory's turn, as after each job")
        #expect(file.log.stepBackground(), "the blocks are written")
        #expect(file.disk.used < used - (512 << 10))
        #expect(segments(file).count == 1)
        file.settle()
        #expect(file.log.closedReason == nil && file.log.payloads(of: new) == texts)
    }

    /// A log with empty channels whose disk has no room, but for what the segments of a deleted channel hold.
    private func makeFull(channels count: Int) throws -> (FileLog, [ChannelID]) {
        let file = try FileLog { $0.segmentBytes = 256 << 10 }
        let old = try file.log.createChannel(named: bytes("old"), limits: ChannelLimits())
        try fill(file, old)
        _ = try file.log.deleteChannel(old)
        let channels = try (0..<count).map {
            try file.log.createChannel(named: bytes("c\($0)"), limits: ChannelLimits())
        }
        file.settleJournal()
        #expect(file.log.stepBackground(), "the deletion")
        #expect(file.log.stepBackground(), "the directory")
        file.disk.capacity = file.disk.used
        return (file, channels)
    }

    @Test("a journal file that is made ahead has it, so that nobody is refused")
    func fullForAFileMadeAhead() throws {
        let (file, channels) = try makeFull(channels: 40)
        let background = try #require(file.log.disk?.background)
        // No block is full, and no piece goes while the clock stands still.
        for index in 0..<1_200 {
            try file.log.append("\(index) " + noise(1_000, seed: UInt64(index)), to: channels[index % 40])
            file.settleJournal()
            for _ in 0..<10 where background.step(keepsPauses: true) {}
        }
        #expect(file.log.statistics.refusedMessages == 0 && file.log.closedReason == nil)
    }

    @Test("so does a message that makes a file of the journal grow, when it comes again")
    func fullForALargeMessage() throws {
        let (file, channels) = try makeFull(channels: 1)
        let new = channels[0]
        let large = noise(400_000, seed: 1)
        try file.log.append(large, to: new)
        file.settleJournal()
        #expect(file.log.statistics.refusedMessages == 1)
        let used = file.disk.used
        #expect(file.log.stepBackground() && file.disk.used < used - (512 << 10))
        try file.log.append(large, to: new)
        file.settle()
        #expect(file.log.closedReason == nil && file.log.payloads(of: new) == [large])
    }

    @Test("so does the journal's next file, and the space kept back for checkpoints")
    func fullForTheJournal() throws {
        let (file, channels) = try makeFull(channels: 40)
        // More than the journal's files have left, and no block of it is full: no job of the background's meets the full disk.
        for index in 0..<2_000 where file.log.statistics.refusedMessages == 0 {
            try file.log.append("\(index) " + noise(1_000, seed: UInt64(index)), to: channels[index % 40])
            if index % 20 == 19 { file.settleJournal() }
        }
        #expect(file.log.statistics.refusedMessages > 0)
        let used = file.disk.used
        #expect(file.log.stepBackground() && file.disk.used < used - (512 << 10))
        file.log.expire(now: 1)
        file.settleJournal()
        try file.log.append("again", to: channels[0])
        file.checkpoint()
        #expect(file.disk.content("/data/space")?.isEmpty == false)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channels[0]).last == "again")
    }

    @Test("the thread gives it back between its other work, by the system's clock")
    func thread() throws {
        let disk = SimulatedFileSystem(seed: 1)
        var configuration = LogConfiguration(storage: .file(directory: "/data"))
        configuration.segmentBytes = 256 << 10
        configuration.journalSizeBytes = 1 << 20
        configuration.clusterID = "test"
        let news = Monitor()
        let log = try Log.open(configuration, fileSystem: disk, clock: .system) {
            news.locked { news.signal() }
        }
        func wait(_ what: String, until isDone: () -> Bool) {
            let start = LogClock.system.now()
            while !isDone() {
                guard LogClock.system.now() < start + 60_000_000_000 else {
                    Issue.record("after a minute: \(what)")
                    return
                }
                _ = log.poll()
                news.locked { news.wait(nanoseconds: 10_000_000) }
            }
        }
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        for index in 0..<1_300 {
            try log.append("\(index) " + noise(1_000, seed: UInt64(index)), to: channel)
            if index % 60 == 0 { log.submit() }
        }
        log.submit()
        wait("four segments") { disk.everything().keys.count { $0.hasSuffix(".seg") } >= 4 }
        _ = try log.deleteChannel(channel)
        log.submit()
        wait("no name is left") { !disk.everything().keys.contains { $0.hasSuffix(".seg") } }
        wait("no space is left without a name") {
            disk.used == disk.everything().values.reduce(0) { $0 + $1.count }
        }
        log.close(state: [])
    }
}
