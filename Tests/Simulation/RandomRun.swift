import BrokerLog

/// A run in which chance decides what is done; everything follows from the seed.
extension Simulation {
    /// Makes `steps` random steps, then a crash and a last look.
    func run(steps: Int) throws {
        for _ in 0..<steps { try step() }
        try crash()
    }

    private func step() throws {
        clock += Int64(draw(1_000))
        switch draw(100) {
        case 0..<4: if model.existing(at: .max).count < 5 { try createRandom() }
        case 4..<50:
            if configuration.writesOnLoop, draw(2) == 0 { try submitSmall() } else { try appendRandom() }
        case 50..<56: appendState()
        case 56..<66: log.submit()
        case 66..<76: for _ in 0...draw(3) where log.stepCommit() { note("commit") }
        case 76..<82: for _ in 0...draw(8) where log.stepBackground() { note("background") }
        case 82..<85: try look()
        case 85..<88: checkpointRandom()
        case 88..<90: try setLimits(drawLimits(), of: anyChannel())
        case 90..<91: try expire()
        case 91..<92: try purge(anyChannel())
        case 92..<93: deleteChannel(anyChannel())
        case 93..<94: fillDisk()
        case 94..<95: failOneCall()
        case 95..<97: try crashInside()
        case 97..<98:
            try closeAndReopen()
            if !isClosed { try checkTwice() }
        default: try crash()
        }
        try poll()
    }

    private func createRandom() throws { try createChannel(drawLimits(), named: "channel.\(draw(1_000))") }

    private func appendRandom() throws {
        let id = anyChannel()
        for _ in 0...draw(6) {
            try append(of: draw(40) == 0 ? 60_000 + draw(60_000) : draw(2_500), to: id)
        }
    }

    /// Small batches that are on their way together; then often a crash.
    private func submitSmall() throws {
        let id = anyChannel()
        for _ in 0...draw(8) {
            try append(of: draw(900), to: id)
            log.submit()
            if draw(6) == 0 { try poll() }
        }
        if draw(8) == 0 { try crash() }
    }

    private func checkpointRandom() {
        checkpoint()
        if draw(2) == 0 { settle() }
    }

    /// The disk is full for a while.
    private func fillDisk() {
        if disk.capacity == .max, draw(2) == 0 {
            note("disk full")
            disk.capacity = draw(200_000)
        } else {
            disk.capacity = .max
        }
    }

    /// One of the next calls fails.
    private func failOneCall() {
        let calls: [SimulatedFileSystem.Call] = [
            .write, .sync, .open, .rename, .syncDirectory, .syncAll, .remove, .truncate,
        ]
        var kind = calls[draw(calls.count)]
        var code = [FaultCode.input, .noSpace, .quota, .openFiles][draw(4)].rawValue
        if configuration.writesOnLoop, draw(2) == 0 {
            kind = [.beginWrite, .endWrite][draw(2)]
            code = [FaultCode.input, .again, .invalid][draw(3)].rawValue
        }
        let skipped = draw(6)
        note("fail \(kind) with \(code) after \(skipped)")
        faults.arm(.failsKind(kind, at: skipped, code: code), on: disk)
    }

    /// The machine dies somewhere inside the next calls.
    private func crashInside() throws {
        let limit = draw(30)
        note("dies within \(limit) calls")
        faults.arm(.dies(at: limit), on: disk)
        for _ in 0..<12 {
            if draw(2) == 0 { checkpointRandom() }
            try appendRandom()
            log.submit()
            _ = log.stepCommit()
            for _ in 0..<4 { _ = log.stepBackground() }
            try poll()
        }
        try crash()
    }

    /// A crash, and often more of them: a chain, and crashes while recovering, up to three deep.
    func crash() throws {
        disk.capacity = .max
        let kinds = SimulatedFileSystem.Crash.allCases
        try reopen(after: draw(2) == 0 ? .random : kinds[draw(kinds.count)])
        if draw(3) == 0 { try checkTwice() }
        guard draw(4) == 0 else { return }
        for _ in 0...draw(3) {
            faults.arm(.dies(at: draw(40)), on: disk)
            disk.dropLocks()
            _ = try? Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
            disk.crash(.random)
        }
        try reopen(after: .random)
    }

    /// Some messages, and a crash somewhere within.
    func crashSoon() throws {
        if model.existing(at: .max).isEmpty { try createRandom() }
        try appendRandom()
        try commit()
        try crashInside()
    }

    private func anyChannel() -> UInt32? {
        let ids = model.existing(at: .max)
        return ids.isEmpty ? nil : ids[draw(ids.count)]
    }

    private func drawLimits() -> Model.Limits {
        var limits = Model.Limits()
        if draw(3) == 0 { limits.messages = 1 + draw(60) }
        if draw(3) == 0 { limits.bytes = 1_000 + draw(120_000) }
        if draw(3) == 0 { limits.age = UInt64(1_000 + draw(30_000)) }
        return limits
    }
}
