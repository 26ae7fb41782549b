import Glibc
import Synchronization
import Testing

@testable import BrokerLog

/// Batches that the loop gives to the disk itself.
@Suite("Frames under way")
struct FramesUnderWayTests {
    /// A log with one channel, whose journal file is in use: the next small batches are the loop's.
    private func makeLog(seed: UInt64 = 1) throws -> (FileLog, ChannelID) {
        let file = try FileLog(seed: seed) { $0.writesOnLoop = true }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        return (file, channel)
    }

    /// Appends messages, each a batch.
    private func submit(_ texts: [String], _ file: FileLog, _ channel: ChannelID) throws {
        for text in texts {
            try file.log.append(text, to: channel)
            file.log.submit()
        }
    }

    /// Appends what makes so many frames at once, each with as many messages as have to be there for it to be begun.
    private func submit(
        frames: Int, _ file: FileLog, _ channel: ChannelID, _ text: (Int) -> String = { "message \($0)" }
    ) throws -> [String] {
        var texts: [String] = []
        for frame in 0..<frames {
            for _ in 0..<max(1, 2 * frame) {
                texts.append(text(texts.count))
                try file.log.append(texts[texts.count - 1], to: channel)
            }
            file.log.submit()
        }
        return texts
    }

    /// Counts of calls, and what each of a kind gives in turn.
    private final class Calls: Sendable {
        private let state = Mutex((counts: [SimulatedFileSystem.Call: Int](), codes: [Int32?]()))

        init(_ file: FileLog, _ kind: SimulatedFileSystem.Call? = nil, _ codes: [Int32?] = []) {
            state.withLock { $0.codes = codes }
            file.disk.onCall { [self] call, _ in
                state.withLock { state in
                    state.counts[call, default: 0] += 1
                    guard call == kind, !state.codes.isEmpty else { return nil }
                    return state.codes.removeFirst()
                }
            }
        }

        subscript(_ call: SimulatedFileSystem.Call) -> Int { state.withLock { $0.counts[call] ?? 0 } }
    }

    @Test("as many as may be are begun at once; what comes meanwhile is one frame behind them")
    func depth() throws {
        let (file, channel) = try makeLog()
        let calls = Calls(file)
        var texts = try submit(frames: FramesUnderWay.depth, file, channel)
        #expect(calls[.beginWrite] == FramesUnderWay.depth && calls[.endWrite] == 0)
        let meanwhile = (0..<20).map { "meanwhile \($0)" }
        try submit(meanwhile, file, channel)
        texts += meanwhile
        #expect(calls[.beginWrite] == FramesUnderWay.depth && calls[.endWrite] == 0)
        while file.log.stepCommit() {}
        #expect(
            calls[.beginWrite] == FramesUnderWay.depth + 1 && calls[.endWrite] == FramesUnderWay.depth + 1)
        #expect(calls[.write] == 0 && calls[.sync] == 0, "the thread has nothing to do")
        _ = file.log.poll()
        #expect(file.log.bytesInFlight == 0)
        #expect(file.log.statistics.syncs == UInt64(FramesUnderWay.depth) + 2, "each is one")
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
    }

    @Test("while few publish each message goes at once")
    func few() throws {
        let (file, channel) = try makeLog()
        let calls = Calls(file)
        for count in 1...FramesUnderWay.depth {
            try submit(["message \(count)"], file, channel)
            #expect(calls[.beginWrite] == count)
        }
    }

    @Test(
        "where many publish one more is begun beside others for twice as many messages, or when none is left")
    func company() throws {
        let (file, channel) = try makeLog()
        let calls = Calls(file)
        // A frame of five: more than there may be frames.
        let many = (0..<5).map { "\($0)" }
        for text in many { try file.log.append(text, to: channel) }
        file.log.submit()
        #expect(calls[.beginWrite] == 1)
        try submit(["one"], file, channel)
        #expect(calls[.beginWrite] == 1, "a message alone waits beside one frame")
        try submit(["two"], file, channel)
        #expect(calls[.beginWrite] == 2)
        try submit(["three", "four", "five"], file, channel)
        #expect(calls[.beginWrite] == 2, "three wait beside two")
        while file.log.stepCommit() {}
        #expect(calls[.beginWrite] == 3 && calls[.endWrite] == 3 && calls[.write] == 0)
        _ = file.log.poll()
        let texts = many + ["one", "two", "three", "four", "five"]
        #expect(file.log.payloads(of: channel) == texts)
        // The others have gone: who is left does not wait for them.
        for text in texts {
            try submit([text], file, channel)
            file.settle()
        }
        let begun = calls[.beginWrite]
        try submit(["alone", "beside it"], file, channel)
        #expect(calls[.beginWrite] == begun + 2)
    }

    @Test("nothing counts before every frame in front of it is on disk", arguments: UInt64(0)..<40)
    func order(seed: UInt64) throws {
        let (file, channel) = try makeLog(seed: seed)
        let before = file.log.durable.rawValue
        let texts = try submit(frames: FramesUnderWay.depth, file, channel)
        var ended: UInt64 = 0
        while file.log.durable.rawValue < before + UInt64(texts.count) {
            _ = file.log.poll()
            let now = file.log.durable.rawValue - before
            #expect(now >= ended)
            ended = now
            // Whatever else has ended: what counts is what a power cut leaves.
            let copy = SimulatedFileSystem(copying: file.disk, seed: seed)
            copy.crash(.dropAll)
            let log = try Log.open(file.configuration, fileSystem: copy, clock: LogClock { 0 }, wake: {})
            #expect(log.payloads(of: channel).count >= Int(now) && log.recovery.damage.isEmpty)
        }
    }

    @Test("what is large, or does not fit into the file, is the thread's, behind all that is under way")
    func large() throws {
        let (file, channel) = try makeLog()
        let calls = Calls(file)
        var texts = ["small", String(repeating: "x", count: FramesUnderWay.limit), "smaller"]
        try submit(texts, file, channel)
        #expect(calls[.beginWrite] == 1 && calls[.write] == 0)
        while file.log.stepCommit() {}
        #expect(calls[.beginWrite] == 1 && calls[.write] == 1, "what came behind it went with it")
        // Over the ends of many files, of which each begins with the thread.
        for index in 0..<600 {
            texts.append("\(index) " + String(repeating: "y", count: 3_000))
            try submit([texts[texts.count - 1]], file, channel)
            if index % 3 == 0 { file.settle() }
        }
        file.settle()
        #expect(calls[.beginWrite] > 100 && calls[.write] > 2)
        #expect(file.log.closedReason == nil)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts && file.log.recovery.damage.isEmpty)
    }

    @Test(
        "behind a batch the thread goes on with what is large; the rest waits until the loop has taken that batch in",
        arguments: [(60_000, false), (100_000, true)])
    func middle(size: Int, goesOn: Bool) throws {
        let (file, channel) = try makeLog()
        let committer = try #require(file.log.disk?.committer)
        // As much as one frame may be, and what comes while it is written.
        let texts = (0..<11).map { String(repeating: "x", count: $0 < 10 ? 100_000 : size) }
        try submit(texts, file, channel)
        #expect(committer.step())
        #expect(committer.step() == goesOn)
        _ = file.log.poll()
        #expect(committer.step() != goesOn)
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
    }

    @Test("what cannot be begun now is the thread's, and the loop goes on behind it")
    func refusedAtBegin() throws {
        let (file, channel) = try makeLog()
        let calls = Calls(file, .beginWrite, [nil, EAGAIN, nil, EINVAL])
        try submit(["one", "two", "three"], file, channel)
        #expect(calls[.beginWrite] == 2 && calls[.write] == 0, "one is under way")
        while file.log.stepCommit() {}
        #expect(calls[.write] == 1 && calls[.sync] == 1)
        try submit(["four"], file, channel)
        #expect(calls[.beginWrite] == 3)
        file.settle()
        // What is not to be had at all is not tried again.
        for text in ["five", "six"] {
            try submit([text], file, channel)
            file.settle()
        }
        #expect(calls[.beginWrite] == 4)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == ["one", "two", "three", "four", "five", "six"])
    }

    @Test(
        "what the kernel gave back is written again with all behind it, in order",
        arguments: [EAGAIN, EINVAL], UInt64(0)..<10)
    func refusedAtEnd(code: Int32, seed: UInt64) throws {
        let (file, channel) = try makeLog(seed: seed)
        let calls = Calls(file, .endWrite, [nil, code])
        var texts = try submit(frames: FramesUnderWay.depth, file, channel)
        try submit(["meanwhile"], file, channel)
        texts.append("meanwhile")
        file.settle()
        file.settle()
        #expect(file.log.closedReason == nil && file.log.bytesInFlight == 0)
        #expect(calls[.write] >= 1 && calls[.sync] >= 1)
        // Where it is never possible it is not tried again.
        let begun = calls[.beginWrite]
        try submit(["six"], file, channel)
        #expect(calls[.beginWrite] == begun + (code == EAGAIN ? 1 : 0))
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts + ["six"] && file.log.recovery.damage.isEmpty)
    }

    @Test(
        "what the kernel gave back and a full disk then refuses does not come up after a crash, written as it may be",
        arguments: UInt64(0)..<20, SimulatedFileSystem.Crash.allCases)
    func refusedAtEndAndByAFullDisk(seed: UInt64, crash: SimulatedFileSystem.Crash) throws {
        let (file, channel) = try makeLog(seed: seed)
        file.settle()
        file.disk.capacity = file.disk.used
        // Larger than what is left of the file, and no other is to be had.
        try submit([noise(150_000, seed: 0)], file, channel)
        while file.log.stepCommit() {}
        _ = file.log.poll()
        #expect(file.log.statistics.refusedMessages == 1)
        file.log.expire(now: 1)
        let kept = ["the loop's turn"]
        try submit(kept, file, channel)
        while file.log.stepCommit() {}
        _ = file.log.poll()
        let calls = Calls(file, .endWrite, [EAGAIN])
        try submit(["begun"], file, channel)
        #expect(calls[.beginWrite] == 1)
        try submit([noise(150_000, seed: 1)], file, channel)
        while file.log.stepCommit() {}
        _ = file.log.poll()
        #expect(calls[.endWrite] == 1 && file.log.statistics.refusedMessages == 3)
        #expect(file.log.closedReason == nil)
        try file.reopen(after: crash)
        #expect(file.log.payloads(of: channel) == kept)
    }

    @Test(
        "nor does it where the full disk refuses a frame that was to make the next file grow",
        arguments: UInt64(0)..<20)
    func refusedAtEndAndByAFileThatCannotGrow(seed: UInt64) throws {
        let (file, channel) = try makeLog(seed: seed)
        // More than half of the file, so that two are ready.
        let half = noise(150_000, seed: seed)
        try submit([half], file, channel)
        file.settle()
        try submit(["the loop's turn"], file, channel)
        file.settle()
        file.disk.capacity = file.disk.used
        let calls = Calls(file, .endWrite, [EAGAIN])
        try submit(["begun"], file, channel)
        #expect(calls[.beginWrite] == 1)
        try submit([noise(150_000, seed: 1), noise(150_000, seed: 2)], file, channel)
        while file.log.stepCommit() {}
        _ = file.log.poll()
        #expect(calls[.endWrite] == 1 && file.log.statistics.refusedMessages == 3)
        #expect(file.log.closedReason == nil)
        let copy = SimulatedFileSystem(copying: file.disk, seed: seed)
        copy.crash(.process)
        let log = try Log.open(file.configuration, fileSystem: copy, clock: LogClock { 0 }, wake: {})
        #expect(log.payloads(of: channel) == [half, "the loop's turn"] && log.recovery.damage.isEmpty)
        // What comes next goes to the file that was taken.
        file.disk.capacity = Int.max
        try submit(["later"], file, channel)
        file.settle()
        #expect(file.log.closedReason == nil)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == [half, "the loop's turn", "later"])
        #expect(file.log.recovery.damage.isEmpty)
    }

    @Test("a file whose writes are refused again and again is the thread's to its end; the next one is tried")
    func barred() throws {
        let (file, channel) = try makeLog()
        let calls = Calls(file, .endWrite, Array(repeating: EAGAIN, count: 8))
        var texts: [String] = []
        func settle(_ text: String) throws {
            texts.append(text)
            try submit([text], file, channel)
            file.settle()
        }
        for index in 0..<20 { try settle("\(index)") }
        #expect(calls[.beginWrite] == 8)
        // Over the end of the file.
        for index in 0..<40 { try settle("\(index) " + noise(8_000, seed: UInt64(index))) }
        #expect(calls[.beginWrite] > 8)
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
    }

    @Test("frames that were written once more in one are no torn tail", arguments: UInt64(0)..<20)
    func writtenAgain(seed: UInt64) throws {
        let (file, channel) = try makeLog(seed: seed)
        // Up to the last sector of a page: what the thread writes has no zeros behind it then.
        var texts = (0..<6).map { "\($0)" }
        for text in texts {
            try submit([text], file, channel)
            file.settle()
        }
        // Of the next four, one sector each, one is refused, the others are on disk.
        let isFirst = Atomic(true)
        file.disk.onCall { call, _ in
            call == .endWrite && isFirst.exchange(false, ordering: .relaxed) ? EAGAIN : nil
        }
        texts += try submit(frames: 4, file, channel) { "\($0)" }
        file.settle()
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel) == texts)
        #expect(file.log.recovery.cutTail == nil && file.log.recovery.damage.isEmpty)
    }

    @Test(
        "a frame that fails closes the log; what was in front of it counts, what is behind it never",
        arguments: UInt64(0)..<20)
    func failed(seed: UInt64) throws {
        let (file, channel) = try makeLog(seed: seed)
        let calls = Calls(file, .endWrite, [nil, EIO])
        let texts = try submit(frames: 4, file, channel)
        let news = file.settle()
        #expect(news.closed?.contains("endWrite") == true && file.log.closedReason != nil)
        let served = file.log.payloads(of: channel)
        // The last of them has six.
        #expect(served.count <= texts.count - 6 && served == Array(texts.prefix(served.count)))
        #expect(calls[.write] == 0 && calls[.sync] == 0, "nothing is retried")
        #expect(throws: AppendRefused.self) { try file.log.append("later", to: channel) }
        file.log.close(state: [])
        try file.reopen(after: .dropAll)
        #expect(file.log.payloads(of: channel).starts(with: served))
    }

    @Test(
        "the machine dies with frames under way: what lies behind a hole was acknowledged to nobody",
        arguments: UInt64(0)..<200)
    func hole(seed: UInt64) throws {
        let (file, channel) = try makeLog(seed: seed)
        try submit(["zero"], file, channel)
        file.settle()
        let texts = try submit(frames: 4, file, channel) { "\($0) " + noise(400, seed: UInt64($0)) }
        for _ in 0..<Int(seed % 3) { _ = file.log.poll() }
        let acknowledged = Int(file.log.durable.rawValue)
        try file.reopen(after: .random)
        let found = file.log.payloads(of: channel)
        #expect(
            found == Array((["zero"] + texts).prefix(found.count))
                && Int(file.log.durable.rawValue) >= acknowledged)
        #expect(file.log.recovery.damage.isEmpty)
        // What is left of them is in nobody's way.
        try submit(["next"], file, channel)
        file.settle()
        try file.reopen(after: .random)
        #expect(file.log.payloads(of: channel) == found + ["next"] && file.log.recovery.damage.isEmpty)
    }

    @Test(
        "frames behind a hole are not served when the journal file that took their place is lost",
        arguments: UInt64(0)..<100)
    func holeAndLoss(seed: UInt64) throws {
        let (file, channel) = try makeLog(seed: seed)
        try submit(["zero"], file, channel)
        file.settle()
        _ = try submit(frames: 4, file, channel) { "old \($0)" }
        try file.reopen(after: .random)
        let kept = file.log.payloads(of: channel)
        let texts = (1...6).map { "new \($0)" }
        for text in texts {
            try submit([text], file, channel)
            file.settle()
        }
        file.disk.crash(.dropAll)
        let newest = try #require(
            file.journal.last { file.disk.content($0)?.prefix(4).elementsEqual(bytes("DJH1")) == true })
        try file.disk.remove(newest)
        try file.disk.syncAll("/")
        try file.reopen(after: .process)
        let found = file.log.payloads(of: channel).filter { $0 != "-" }
        #expect(found.allSatisfy { (kept + texts).contains($0) }, "\(found) of \(kept) and \(texts)")
        #expect(!file.log.statistics.damage.isEmpty)
    }

    @Test("a disk that takes long is the thread's to wait for: nothing more is begun")
    func patience() throws {
        let time = Atomic(UInt64(0))
        let disk = SimulatedFileSystem(seed: 1)
        var configuration = LogConfiguration(storage: .file(directory: "/data"))
        (configuration.execution, configuration.clusterID, configuration.writesOnLoop) = (
            .manual, "test", true
        )
        let clock = LogClock { time.load(ordering: .relaxed) }
        let log = try Log.open(configuration, fileSystem: disk, clock: clock, wake: {})
        let begun = Atomic(0)
        disk.onCall { call, _ in
            if call == .beginWrite { begun.add(1, ordering: .relaxed) }
            return nil
        }
        func submit(_ texts: String...) throws {
            for text in texts { try log.append(text, to: channel) }
            log.submit()
        }
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        log.submit()
        while log.stepCommit() {}
        _ = log.poll()
        let before = begun.load(ordering: .relaxed)
        try submit("one")
        time.store(FramesUnderWay.patience, ordering: .relaxed)
        try submit("two", "three")
        #expect(begun.load(ordering: .relaxed) == before + 2)
        time.store(FramesUnderWay.patience + 1, ordering: .relaxed)
        try submit("four", "five", "six", "seven")
        #expect(begun.load(ordering: .relaxed) == before + 2)
        while log.stepCommit() {}
        _ = log.poll()
        #expect(log.payloads(of: channel) == ["one", "two", "three", "four", "five", "six", "seven"])
        try submit("eight")
        #expect(begun.load(ordering: .relaxed) == before + 3, "the disk goes on")
    }

    @Test("without a sync before each acknowledgement all is the thread's")
    func otherPolicies() throws {
        let file = try FileLog {
            $0.writesOnLoop = true
            $0.sync = .never
        }
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits())
        file.settle()
        let calls = Calls(file)
        try submit(["one"], file, channel)
        file.settle()
        #expect(calls[.beginWrite] == 0 && calls[.write] == 1)
    }
}
