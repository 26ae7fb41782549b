import BrokerLog
import Logging
import NIOCore

/// The streaming engine and its log as they live on loop 0: made there, called there, ended there.
final class StreamingService: Sendable {
    typealias Engine = StreamingEngine<LoopCore>

    private let listener: ClientListener
    /// Reads what the log's `events` say; nil where there are none.
    private let events: (any Channel)?
    /// On loop 0, which made it.
    private let engine: NIOLoopBound<Engine>

    private init(listener: ClientListener, events: (any Channel)?, engine: NIOLoopBound<Engine>) {
        self.listener = listener
        self.events = events
        self.engine = engine
    }

    /// Opens the log and puts the engine on loop 0, before any client is accepted.
    static func start(
        options: BrokerOptions, listener: ClientListener, logger: Logger
    ) async throws -> StreamingService {
        let (engine, events) = try await listener.onLoop(0) { core in
            let log = try open(options, core: core, logger: logger)
            let engine = Engine(options: options, log: log, transport: core, logger: logger)
            core.engine = unsafe EngineCalls(
                receive: { unsafe engine.receive(tag: $0, subject: $1, reply: $2, payload: $3) },
                endOfTick: { engine.endOfTick() },
                timeReached: { engine.timeReached($0) },
                nextDeadline: { engine.nextDeadline },
                congestionEnded: { engine.congestionEnded() })
            // What recovery journaled goes out with the first tick, which also arms the timer.
            core.beginTick()
            return (NIOLoopBound(engine, eventLoop: core.eventLoop), log.events)
        }
        do {
            var channel: (any Channel)?
            if let events {
                channel = try await listener.onLoop(0) { core in try JournalEvents.watch(events, core) }.get()
            }
            return StreamingService(listener: listener, events: channel, engine: engine)
        } catch {
            try await end(engine, listener)
            throw error
        }
    }

    private static func open(_ options: BrokerOptions, core: LoopCore, logger: Logger) throws(LogError) -> Log
    {
        var configuration: LogConfiguration
        switch options.store {
        case .memory: configuration = LogConfiguration(storage: .memory)
        case .file: configuration = LogConfiguration(storage: .file(directory: options.directory))
        }
        configuration.clusterID = options.clusterID
        configuration.journalSizeBytes = options.journalSizeBytes
        configuration.cacheBytes = options.memoryLimitBytes
        switch options.sync {
        case .always: configuration.sync = .always
        case .interval(let nanoseconds): configuration.sync = .interval(nanoseconds: nanoseconds)
        case .never: configuration.sync = .never
        }
        configuration.writesOnLoop = true
        let wakeUp = WakeUp(core: core)
        // The memory store answers within the tick that asks.
        let isLate = options.store != .memory
        return try Log.open(
            configuration, wake: { if isLate { wakeUp.call() } },
            report: { event in report(event, to: logger) })
    }

    private static func report(_ event: BrokerLog.LogEvent, to logger: Logger) {
        switch event {
        case .notice(let text): logger.info("STREAM: \(text)")
        case .warning(let text): logger.warning("STREAM: \(text)")
        case .error(let text): logger.error("STREAM: \(text)")
        }
    }

    /// Runs `body` with the engine on its loop.
    func withEngine<Result: Sendable>(
        _ body: @escaping @Sendable (Engine) throws -> Result
    ) async throws -> Result {
        try await listener.onLoop(0) { _ in try body(self.engine.value) }
    }

    /// Puts everything on disk and closes the log; the engine is not called afterwards.
    func stop() async throws {
        try await Self.end(engine, listener)
        // It may be closed: then nothing is left to do.
        try? await events?.close()
    }

    private static func end(_ engine: NIOLoopBound<Engine>, _ listener: ClientListener) async throws {
        try await listener.onLoop(0) { core in
            core.beginTick()
            engine.value.shutDown()
            core.engine = nil
        }
    }
}

/// Calls the engine on loop 0 when the log's threads have news.
private final class WakeUp: @unchecked Sendable {
    // Sendable: `core` is only touched in tasks of its own event loop.
    private let core: LoopCore

    init(core: LoopCore) { self.core = core }

    func call() {
        // The engine looks for the log's news at the end of every tick.
        core.eventLoop.execute { self.core.beginTick() }
    }
}
