import BrokerLog
import Dispatch
import Glibc

/// Something that must not be: what, and after which steps.
struct Violation: Error, CustomStringConvertible {
    var description: String
}

/// A log on a simulated disk, stepped by hand, and the model that it is held against. What is done with it is said by
/// scripts (`Script`), by chance (`Simulation.run`), or by a test.
final class Simulation {
    var random: SeededGenerator
    let disk: SimulatedFileSystem
    let faults = Faults()
    /// Opens that had failed when everything was read last.
    private var failedOpens = 0
    var model = Model()
    var log: Log
    var configuration: LogConfiguration
    /// Signalled when the log's threads have news.
    let woken = DispatchSemaphore(value: 0)
    var clock: Int64 = 1_000_000
    var nextState: UInt64 = 1
    var isClosed = false
    /// The disk was damaged: what is lost must be named, and nothing else may be missing.
    var allowsDamage = false
    /// The journal's end may be gone without a trace: nothing after it tells that it was there.
    var allowsCut = false
    /// What the newest checkpoint covers.
    var checkpointed: UInt64 = 0
    /// Who waits for the loop to go round.
    var pace: Pace?
    private(set) var trace: [String] = []
    private(set) var crashes = 0
    private(set) var acknowledged = 0

    init(seed: UInt64, configure: (inout LogConfiguration) -> Void = { _ in }) throws {
        random = SeededGenerator(seed: seed)
        disk = SimulatedFileSystem(seed: seed &* 31 &+ 7)
        configuration = LogConfiguration(storage: .file(directory: "/data"))
        configuration.execution = .manual
        configuration.journalSizeBytes = 1 << 20
        configuration.segmentBytes = 20_000 + Int(random.next() % 150_000)
        configuration.cacheBytes = random.next() % 2 == 0 ? 1 : 1 << 20
        configuration.clusterID = "simulation"
        // Small batches by the loop, several at once, in every other run.
        configuration.writesOnLoop = seed % 2 == 1
        configure(&configuration)
        let woken = woken
        log = try Log.open(
            configuration, fileSystem: disk, clock: LogClock { 0 }, wake: { _ = woken.signal() })
    }

    /// The same store and what is known of it, on a disk of its own.
    init(copying other: Simulation, seed: UInt64) throws {
        random = SeededGenerator(seed: seed)
        disk = SimulatedFileSystem(copying: other.disk, seed: seed)
        (configuration, model, clock, nextState) = (
            other.configuration, other.model, other.clock, other.nextState
        )
        log = try Log.open(
            LogConfiguration(storage: .memory), fileSystem: disk, clock: LogClock { 0 }, wake: {})
    }

    func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    /// Takes in what the log did.
    func poll() throws {
        pace?.turn()
        let news = log.poll()
        let durable = log.durable.rawValue
        if durable > model.durable { acknowledged += Int(durable - model.durable) }
        guard durable >= model.durable || allowsDamage else {
            throw Violation(description: "durable went back to \(durable)")
        }
        model.durable = max(model.durable, durable)
        if let reason = news.refused {
            note("refused: \(reason)")
            model.refuse()
        }
        if let reason = news.closed {
            note("closed: \(reason)")
            isClosed = true
        }
        if news.checkpointWanted { checkpoint() }
    }

    /// Reads what trimming waits for. Where a file could not be opened, the log tries again once a second: that second passes,
    /// at a time before all, at which nothing is too old.
    func readEverything() throws {
        try endFrames()
        for _ in 0..<4 { try readOn() }
        let failed = faults.injected[.open, default: 0]
        guard failed != failedOpens, !isClosed else { return }
        failedOpens = failed
        log.expire(now: .min)
        for _ in 0..<4 { try readOn() }
        guard !isClosed else { return }
        note("a second at \(mark())")
    }

    /// Lets frames under way end, which would become durable while the log is asked again and again for what it has to read.
    func endFrames() throws {
        guard configuration.writesOnLoop else { return }
        while log.stepCommit() {}
        try poll()
    }

    /// Lets the log read what was asked for.
    func readOn() throws {
        if configuration.execution == .threads {
            _ = woken.wait(timeout: .now() + .milliseconds(20))
        } else {
            while log.stepReader() {}
        }
        try poll()
    }

    /// Lets the log do what it can.
    func settle() {
        log.submit()
        for _ in 0..<50 where log.stepCommit() {}
        try? poll()
        for _ in 0..<50 where log.stepBackground() {}
    }

    /// The process or the machine dies, and the store is opened again.
    func reopen(after kind: SimulatedFileSystem.Crash) throws {
        crashes += 1
        note("crash \(kind)")
        disk.crash(kind)
        faults.clear()
        try open()
    }

    /// Opens the store and holds what is there against the model.
    func open() throws {
        let known = model.durable
        do {
            log = try Log.open(
                configuration, fileSystem: disk, clock: LogClock { 0 },
                wake: { [woken] in _ = woken.signal() })
        } catch {
            throw Violation(description: "the store does not open: \(error)")
        }
        isClosed = false
        guard allowsDamage || log.recovery.damage.isEmpty else {
            throw Violation(description: "damage where there is none: \(log.recovery.damage)")
        }
        let position = log.durable.rawValue
        guard allowsDamage || position >= known else {
            throw Violation(description: "acknowledged up to \(known), recovered up to \(position)")
        }
        model.crash(to: max(position, allowsDamage ? known : 0))
        try checkStates()
        try checkContents()
    }

    /// Opens the store once more: that changes no byte.
    func open(twice: Bool) throws {
        let before = disk.everything()
        disk.crash(.process)
        try open()
        guard disk.everything() == before else { throw Violation(description: "opening changed the store") }
    }

    /// Records and messages that are lost leave gaps: numbers go on where the log says.
    func takeInLosses() {
        model.crash(to: log.durable.rawValue)
        for id in model.existing(at: .max) {
            guard let info = log.info(of: ChannelID(rawValue: id)) else { continue }
            model.channels[id]?.messages.removeAll { $0.sequence > info.lastSequence }
        }
    }

    func note(_ text: String) {
        trace.append(text)
        if verbose { write(2, text + "\n", text.utf8.count + 1) }
    }
    private let verbose = getenv("SIMULATION_VERBOSE") != nil
}

extension Model.Limits {
    /// The product's value of these limits.
    var product: ChannelLimits { ChannelLimits(maxMessages: messages, maxBytes: bytes, maxAge: age) }
}
