import BrokerLog
import Dispatch
import Glibc
import Synchronization
import Testing

@Suite("The log's own threads on a disk that fails", .serialized)
struct ThreadTests {
    @Test(
        "the machine dies while all threads work, and nothing acknowledged is lost", arguments: UInt64(0)..<2)
    func crashes(part: UInt64) throws {
        var total = Tally()
        for seed in Seeds.dealt(part, of: 2, share: 0.1) {
            let run = try Simulation(seed: seed) { $0.execution = .threads }
            do {
                for _ in 0..<3 {
                    try load(run)
                    try run.reopen(after: .random)
                }
                run.end()
            } catch {
                // The threads hold on to the disk, not to the run.
                run.end()
                Seeds.fail("ThreadTests", seed: seed, error, run)
                total.failures += 1
                if total.failures == 3 { break }
            }
            total.add(run)
        }
        total.say("threads, part \(part)")
    }

    @Test("syncs that take long hold up what they cover, and lose nothing when the machine dies in them")
    func slowSyncs() throws {
        var total = Tally()
        var (slowed, forced) = (0, 0)
        for seed in Seeds.dealt(0, of: 1, share: 0.02) {
            let run = try Simulation(seed: seed) { $0.execution = .threads }
            do {
                for round in 0..<3 {
                    let pace = Pace(seed: seed &* 3 &+ UInt64(round))
                    run.pace = pace
                    forced += try load(run)
                    slowed += pace.slowed
                    try run.reopen(after: .random)
                }
                run.end()
            } catch {
                run.pace?.end()
                run.end()
                Seeds.fail("ThreadTests", seed: seed, error, run)
                total.failures += 1
                if total.failures == 3 { break }
            }
            total.add(run)
        }
        // How many syncs a run comes to is up to the machine, but not fewer than it has waited for.
        #expect(slowed >= forced && forced > 0)
        total.say("slow syncs (\(slowed), \(forced) waited for)")
    }

    /// Publishes as fast as it can until the machine dies.
    ///
    /// - Returns: How many times it has waited for a sync: all was durable after something had not been, and what had not
    ///   been was appended after the time before.
    @discardableResult
    private func load(_ run: Simulation) throws -> Int {
        var waits = 0
        let woken = run.woken
        run.faults.arm(
            .dies(at: 5 + run.draw(150)), on: run.disk, pace: run.pace, began: { woken.signal() })
        for _ in 0..<200 where !run.isClosed && !run.faults.isOff {
            let ids = run.model.existing(at: .max)
            switch run.draw(20) {
            case 0 where ids.count < 4: try run.createChannel(named: "channel")
            case 1: run.checkpoint()
            case 2 where ids.count > 1: run.deleteChannel(ids[run.draw(ids.count)])
            case 3: run.appendState()
            default:
                if !ids.isEmpty {
                    try run.append(1 + run.draw(5), of: run.draw(9_000), to: ids[run.draw(ids.count)])
                }
            }
            run.log.submit()
            if run.draw(3) == 0 {
                let isBehind = run.model.durable < run.model.last
                while run.model.durable < run.model.last && !run.isClosed && !run.faults.isOff {
                    _ = run.woken.wait(timeout: .now() + .milliseconds(run.pace == nil ? 20 : 1))
                    try run.poll()
                }
                if isBehind, run.model.durable == run.model.last { waits += 1 }
            }
            try run.poll()
        }
        run.pace?.end()
        run.end()
        return waits
    }

    @Test("a sync that hangs holds up its messages and nothing else")
    func stuckSync() throws {
        let run = try Simulation(seed: 1) {
            $0.execution = .threads
            $0.writesOnLoop = false
        }
        let id = try run.createChannel(named: "channel")
        try run.append(5, of: 100, to: id)
        run.log.submit()
        try durable(run)
        let (hangs, goesOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        run.disk.onCall { call, path in
            guard call == .sync, path.contains("journal") else { return nil }
            hangs.signal()
            goesOn.wait()
            goesOn.signal()
            return nil
        }
        let before = run.model.durable
        try run.append(5, of: 100, to: id)
        run.log.submit()
        hangs.wait()
        // Every call of the log returns meanwhile: reads serve what was durable, appends are taken.
        for _ in 0..<100 {
            try run.append(of: 1_000, to: id)
            run.log.submit()
            try run.poll()
            try run.checkContents()
        }
        #expect(run.model.durable == before && run.log.bytesInFlight > 100_000)
        goesOn.signal()
        try durable(run)
        #expect(run.log.bytesInFlight == 0)
        run.end()
        try run.reopen(after: .dropAll)
        run.end()
    }

    @Test("a journal file that takes long to be made ready holds up nobody")
    func slowFile() throws {
        let run = try Simulation(seed: 1) {
            $0.execution = .threads
            $0.writesOnLoop = false
            // The first file has 256 KiB then.
            $0.journalSizeBytes = 32 << 20
        }
        let id = try run.createChannel(named: "channel")
        try run.append(of: 100, to: id)
        run.log.submit()
        try durable(run)
        let (hangs, goesOn) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let isLate = Atomic(false)
        run.disk.onCall { call, path in
            // The background zeroes a file that is to be used later.
            guard call == .open, path.contains("journal") else { return nil }
            hangs.signal()
            // A test that waits for ever says less than one that fails.
            if goesOn.wait(timeout: .now() + .seconds(60)) == .timedOut {
                isLate.store(true, ordering: .relaxed)
            }
            goesOn.signal()
            return nil
        }
        // More than half of the first file, which is when another is asked for, and then less than what is left of it.
        for _ in 0..<8 {
            try run.append(of: 20_000, to: id)
            run.log.submit()
            try durable(run)
        }
        hangs.wait()
        for _ in 0..<5 {
            try run.append(of: 1_000, to: id)
            run.log.submit()
            try durable(run)
            try run.checkContents()
            #expect(run.log.statistics.journalFileBytes > 0)
        }
        let wasLate = isLate.load(ordering: .relaxed)
        #expect(!wasLate, "the loop or the committer waited for the file")
        goesOn.signal()
        run.end()
        try run.reopen(after: .dropAll)
        run.end()
    }

    @Test("while no file can be opened a reader asks now and then, not as often as it can")
    func noDescriptors() throws {
        let run = try Simulation(seed: 1) {
            $0.execution = .threads
            $0.writesOnLoop = false
            $0.cacheBytes = 1
        }
        let id = try run.createChannel(named: "channel")
        try run.append(8, of: 60_000, to: id)
        run.log.submit()
        try durable(run)
        run.checkpoint()
        while run.log.statistics.checkpoints == 0 {
            run.woken.wait()
            try run.poll()
        }
        let refused = Atomic(0)
        run.disk.onCall { call, path in
            guard call == .open, path.hasSuffix(".seg"), refused.load(ordering: .relaxed) < 10 else {
                return nil
            }
            refused.add(1, ordering: .relaxed)
            return EMFILE
        }
        let began = ContinuousClock.now
        try run.checkContents()
        // Whoever is refused rests 10 ms at least; without that ten times take less than one.
        let count = refused.load(ordering: .relaxed)
        #expect(count == 10 && ContinuousClock.now - began >= .milliseconds(100))
        run.end()
    }

    private func durable(_ run: Simulation) throws {
        while run.model.durable < run.model.last {
            run.woken.wait()
            try run.poll()
        }
    }
}
