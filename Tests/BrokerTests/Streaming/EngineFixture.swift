import BrokerLog
import BrokerProtocol
import Logging

@testable import Broker

/// An engine on a manual transport, a manual clock, and a log in memory or on a simulated disk.
final class EngineFixture {
    typealias Engine = StreamingEngine<ManualTransport>

    /// Turned by hand: nanoseconds since the start of the test.
    final class Clock: @unchecked Sendable {
        // Sendable: a test runs on one thread.
        var now: UInt64 = 1_000_000_000
        /// 2026-01-01T00:00:00Z and what has passed, and a step that somebody made.
        var wall: Int64 { 1_767_225_600_000_000_000 + Int64(now) + wallOffset }
        var wallOffset: Int64 = 0
        /// The log called its wake closure.
        var logHasNews = false
    }

    /// Where the log keeps its messages.
    enum Storage {
        case memory
        /// In memory, but durability and reads are answered late, as the seed says.
        case late(seed: UInt64)
        /// On a simulated disk, stepped by hand.
        case disk(seed: UInt64)
    }

    let clock = Clock()
    let transport = ManualTransport()
    let storage: Storage
    let logLevel: Logger.Level
    var options: BrokerOptions
    let disk: SimulatedFileSystem
    var log: Log
    var engine: Engine
    /// What the engine and the log said.
    let lines = LogLines()
    /// Clients that answer heartbeats: all that connected unless a test takes them out.
    var living: Set<String> = []
    /// How often a client was killed: each life has a heartbeat inbox of its own.
    private var deaths: [String: Int] = [:]
    private var inboxes = 0

    init(
        storage: Storage = .memory, journalSizeBytes: Int = 1 << 20, logLevel: Logger.Level = .info,
        _ change: (inout BrokerOptions) -> Void = { _ in }
    ) throws {
        var options = BrokerOptions()
        options.clusterID = "vc"
        options.journalSizeBytes = journalSizeBytes
        change(&options)
        self.options = options
        self.storage = storage
        self.logLevel = logLevel
        if case .disk(let seed) = storage {
            disk = SimulatedFileSystem(seed: seed)
        } else {
            disk = SimulatedFileSystem(seed: 0)
        }
        log = try Self.openLog(storage, options: options, disk: disk, clock: clock)
        engine = Self.makeEngine(
            options, log: log, transport: transport, clock: clock, logger: lines.logger(logLevel))
        settle()
    }

    /// A fixture whose clients are connected.
    static func connected(
        _ ids: String..., storage: Storage = .memory, _ change: (inout BrokerOptions) -> Void = { _ in }
    ) throws -> EngineFixture {
        let fixture = try EngineFixture(storage: storage, change)
        for id in ids { fixture.join(id) }
        return fixture
    }

    private static func openLog(
        _ storage: Storage, options: BrokerOptions, disk: SimulatedFileSystem, clock: Clock
    ) throws -> Log {
        var configuration: LogConfiguration
        switch storage {
        case .memory: configuration = LogConfiguration(storage: .memory)
        case .late(let seed):
            configuration = LogConfiguration(storage: .memory)
            configuration.lateAnswerSeed = seed
        case .disk:
            configuration = LogConfiguration(storage: .file(directory: "/data"))
            configuration.execution = .manual
            configuration.newStoreID = 1
        }
        configuration.clusterID = options.clusterID
        configuration.journalSizeBytes = options.journalSizeBytes
        return try Log.open(
            configuration, fileSystem: disk, clock: LogClock { clock.now },
            wake: { clock.logHasNews = true })
    }

    private static func makeEngine(
        _ options: BrokerOptions, log: Log, transport: ManualTransport, clock: Clock, logger: Logger
    ) -> Engine {
        Engine(
            options: options, log: log, transport: transport, logger: logger,
            clock: EngineClock(monotonic: { clock.now }, wall: { clock.wall }))
    }

    // MARK: Restart

    /// The process is stopped in good order and starts again. `clientsAreAway`: nobody listens on
    /// any inbox until the test says so.
    func restart(clientsAreAway: Bool = false, change: (inout BrokerOptions) -> Void = { _ in }) throws {
        engine.shutDown()
        try start(clientsAreAway: clientsAreAway, change: change)
    }

    /// The process or the machine dies and the broker starts again; with the memory store everything
    /// is gone.
    func crash(
        _ kind: SimulatedFileSystem.Crash = .dropAll, clientsAreAway: Bool = false,
        change: (inout BrokerOptions) -> Void = { _ in }
    ) throws {
        disk.crash(kind)
        try start(clientsAreAway: clientsAreAway, change: change)
    }

    private func start(clientsAreAway: Bool, change: (inout BrokerOptions) -> Void) throws {
        change(&options)
        transport.forgetListeners()
        if clientsAreAway { transport.receivers = [] }
        log = try Self.openLog(storage, options: options, disk: disk, clock: clock)
        engine = Self.makeEngine(
            options, log: log, transport: transport, clock: clock, logger: lines.logger(logLevel))
        settle()
    }

    // MARK: Time

    /// Ends the tick, and lets the log do its work, until there is nothing left to do.
    func settle() {
        while true {
            clock.logHasNews = false
            while engine.endOfTick() {}
            var worked = answerHeartbeats() || clock.logHasNews
            while log.stepCommit() { worked = true }
            while log.stepBackground() { worked = true }
            while log.stepReader() { worked = true }
            if !worked { return }
        }
    }

    /// Lets time pass, stopping at every deadline as the loop's timer would.
    func advance(milliseconds: UInt64) {
        let end = clock.now + milliseconds * 1_000_000
        while true {
            let next = min(end, engine.nextDeadline ?? end)
            clock.now = max(clock.now, next)
            engine.timeReached(clock.now)
            settle()
            if clock.now >= end, engine.nextDeadline ?? .max > end { return }
        }
    }

    // MARK: Messages

    /// A subject that somebody listens on.
    func inbox(_ name: String? = nil) -> String {
        inboxes += 1
        let subject = name ?? "_INBOX.test\(inboxes)"
        transport.receivers.insert(subject)
        return subject
    }

    /// Publishes to the engine as a client would. False: the engine does not listen on `subject`.
    @discardableResult
    func send(_ payload: [UInt8], to subject: String, reply: String = "") -> Bool {
        guard let tag = transport.tag(for: subject) else { return false }
        Array(subject.utf8).withUnsafeBytes { subject in
            Array(reply.utf8).withUnsafeBytes { reply in
                payload.withUnsafeBytes { payload in
                    engine.receive(tag: tag, subject: subject, reply: reply, payload: payload)
                }
            }
        }
        return true
    }

    /// Publishes and returns what came back once everything is settled.
    func request(_ payload: [UInt8], to subject: String) -> [UInt8]? {
        let reply = inbox()
        send(payload, to: subject, reply: reply)
        settle()
        return transport.take(reply).first?.payload
    }

    /// Answers the heartbeats and duplicate checks of the clients that live.
    private func answerHeartbeats() -> Bool {
        var answered = false
        for id in living {
            for heartbeat in transport.take(heartbeatInbox(of: id)) {
                send([], to: heartbeat.reply)
                answered = true
            }
        }
        return answered
    }

    /// The client's process is gone: it answers nothing and nobody listens on its inboxes.
    func kill(_ id: String, inboxes: [String] = []) {
        living.remove(id)
        transport.receivers.remove(heartbeatInbox(of: id))
        deaths[id, default: 0] += 1
        for inbox in inboxes { transport.receivers.remove(inbox) }
    }

    /// `_HB.<id>` in a client's first life.
    func heartbeatInbox(of id: String) -> String {
        deaths[id].map { "_HB.\(id).\($0)" } ?? "_HB.\(id)"
    }

    /// The client hangs: what is sent to it arrives, but it answers nothing.
    func hang(_ id: String) { living.remove(id) }
}
