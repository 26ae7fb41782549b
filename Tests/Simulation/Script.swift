import BrokerLog
import Testing

/// A fixed run of the log. Crashes and failures are put at each of its calls of the disk.
struct Script: CustomTestStringConvertible, Sendable {
    let name: String
    let configure: @Sendable (inout LogConfiguration) -> Void
    let body: @Sendable (Simulation) throws -> Void

    var testDescription: String { name }

    /// A new store on which the script is about to run.
    ///
    /// - Parameter writesOnLoop: whether the loop writes small batches, several at once.
    func simulation(seed: UInt64, writesOnLoop: Bool) throws -> Simulation {
        try Simulation(seed: seed) { configuration in
            configuration.segmentBytes = 24_000
            configuration.cacheBytes = 1
            configuration.writesOnLoop = writesOnLoop
            configure(&configuration)
        }
    }

    private init(
        _ name: String, configure: @escaping @Sendable (inout LogConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (Simulation) throws -> Void
    ) {
        (self.name, self.configure, self.body) = (name, configure, body)
    }

    static let all = [create, append, overlap, roll, checkpoint, delete, expire, purge, recover, shutdown]

    static let create = Script("create") { run in
        for number in 0..<3 {
            try run.createChannel(named: "channel.\(number)")
            try run.commit()
        }
        try run.createChannel(Model.Limits(messages: 2), named: "limited")
        try run.commit()
    }

    static let append = Script("append") { run in
        let small = try run.createChannel(named: "small")
        let large = try run.createChannel(Model.Limits(messages: 5), named: "large")
        for size in [1, 600, 0, 5_000, 70_000, 3] {
            try run.append(2, of: size, to: small)
            try run.append(of: size * 2, to: large)
            run.appendState()
            try run.commit()
        }
    }

    /// Small batches that are on their way together, more than may be, with acknowledgements of some in between, over the end
    /// of a journal file and beside a checkpoint.
    static let overlap = Script("overlap") { run in
        let channel = try run.createChannel(named: "overlaps")
        try run.commit()
        for round in 0..<8 {
            for size in [10, 700, 2_000, 20, 1_500, 40] {
                try run.append(of: size, to: channel)
                run.log.submit()
                if size == 2_000 { try run.poll() }
            }
            if round % 4 == 1 {
                run.checkpoint()
                try run.background()
            }
            if round == 5 {
                try run.append(4, of: 60_000, to: channel)
                run.log.submit()
            }
            _ = run.log.stepCommit()
            try run.poll()
        }
        try run.commit()
    }

    static let roll = Script("roll") { run in
        let channel = try run.createChannel(named: "rolls")
        for _ in 0..<9 {
            try run.append(3, of: 9_000, to: channel)
            try run.commit()
            try run.background()
        }
        // A frame that is larger than a journal file.
        try run.append(of: 150_000, to: channel)
        try run.commit()
        try run.append(of: 10, to: channel)
        try run.commit()
    }

    static let checkpoint = Script("checkpoint") { run in
        let many = try run.createChannel(named: "many")
        let few = try run.createChannel(named: "few")
        for round in 0..<4 {
            try run.append(7, of: 16_000, to: many)
            try run.append(of: 100, to: few)
            try run.commit()
            run.checkpoint()
            // The second and the last one are made while messages are on their way.
            if round % 2 == 1 { try run.append(3, of: 700, to: few) }
            try run.commit()
            try run.background()
        }
    }

    static let delete = Script("delete") { run in
        let kept = try run.createChannel(named: "kept")
        let gone = try run.createChannel(named: "gone")
        for _ in 0..<3 {
            try run.append(6, of: 16_000, to: gone)
            try run.append(of: 500, to: kept)
            try run.commit()
            try run.background()
        }
        run.checkpoint()
        try run.commit()
        try run.background()
        run.deleteChannel(gone)
        // The deletion is not on disk yet: nothing of it may be done.
        try run.poll()
        try run.background()
        try run.commit()
        try run.background()
        let again = try run.createChannel(named: "gone")
        try run.append(2, of: 300, to: again)
        try run.commit()
        run.checkpoint()
        try run.commit()
        try run.background()
    }

    static let expire = Script("expire") { run in
        let channel = try run.createChannel(Model.Limits(age: 10_000), named: "aging")
        let bounded = try run.createChannel(Model.Limits(bytes: 40_000), named: "bounded")
        for round in 0..<5 {
            try run.append(4, of: 16_000, to: channel)
            try run.append(4, of: 16_000, to: bounded)
            try run.commit()
            try run.background()
            run.clock += 4_000
            if round == 2 {
                run.checkpoint()
                try run.commit()
                try run.background()
            }
            try run.expire()
            try run.commit()
            try run.background()
        }
        try run.setLimits(Model.Limits(messages: 3), of: channel)
        try run.commit()
        try run.background()
    }

    static let purge = Script("purge") { run in
        let channel = try run.createChannel(named: "purged")
        let other = try run.createChannel(named: "other")
        for round in 0..<3 {
            try run.append(8, of: 9_000, to: channel)
            try run.append(of: 300, to: other)
            try run.commit()
            try run.background()
            run.checkpoint()
            try run.commit()
            try run.background()
            // In the middle of a block that is on the disk, then of what is on its way there, then all.
            try run.append(2, of: 9_000, to: channel)
            try run.purge(channel, below: [4, 19, .max][round])
            try run.background()
            try run.commit()
            try run.background()
        }
        try run.append(2, of: 100, to: channel)
        try run.commit()
        run.checkpoint()
        try run.commit()
        try run.background()
    }

    /// A store with everything in it, then openings of it.
    static let recover = Script("recover") { run in
        let channel = try run.createChannel(Model.Limits(bytes: 100_000), named: "recovered")
        for _ in 0..<3 {
            try run.append(6, of: 12_000, to: channel)
            run.appendState()
            try run.commit()
            run.checkpoint()
            try run.commit()
            try run.background()
        }
        try run.append(3, of: 900, to: channel)
        try run.commit()
        for _ in 0..<3 {
            try run.restart()
            try run.append(2, of: 400, to: channel)
            try run.commit()
        }
    }

    static let shutdown = Script("shutdown") { run in
        let channel = try run.createChannel(named: "channel")
        for _ in 0..<2 {
            try run.append(5, of: 16_000, to: channel)
            try run.commit()
            try run.background()
            run.log.submit()
            try run.close()
            try run.restart()
            try run.append(of: 5, to: channel)
            try run.commit()
        }
    }
}

extension Simulation {
    /// Makes durable what was appended.
    func commit() throws {
        log.submit()
        while log.stepCommit() {}
        try poll()
    }

    /// Lets the background do what it has.
    func background() throws {
        for _ in 0..<200 where log.stepBackground() {}
        try poll()
    }

    /// The process ends without a word, and another one opens the store, if the disk lets it.
    func restart() throws {
        if faults.isOff { return }
        disk.dropLocks()
        note("restart")
        do {
            log = try Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
        } catch {
            // As an operator would: again when the fault is gone. Where there was none that is a failure.
            guard !faults.injected.isEmpty else { throw Violation(description: "no opening: \(error)") }
            if faults.isOff { return }
            faults.clear()
            disk.dropLocks()
            return try open()
        }
        isClosed = false
        guard log.durable.rawValue >= model.durable else {
            throw Violation(
                description: "acknowledged up to \(model.durable), restarted with \(log.durable.rawValue)")
        }
        model.crash(to: log.durable.rawValue)
        nextState = max(nextState, (model.states.last?.id ?? 0) + 1)
    }
}
