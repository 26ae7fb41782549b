import BrokerLog
import Logging

/// The streaming engine and its log as they live on loop 0: made there, called there, ended there.
final class StreamingService: Sendable {
    typealias Engine = StreamingEngine<LoopCore>

    private let listener: ClientListener
    // Sendable: used on loop 0 alone, which made it.
    private nonisolated(unsafe) let engine: Engine

    private init(listener: ClientListener, engine: Engine) {
        self.listener = listener
        unsafe self.engine = engine
    }

    /// Opens the log and puts the engine on loop 0, before any client is accepted.
    static func start(
        options: BrokerOptions, listener: ClientListener, logger: Logger
    ) async throws -> StreamingService {
        try await listener.onLoop(0) { core in
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
            return StreamingService(listener: listener, engine: engine)
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
        try await listener.onLoop(0) { _ in try unsafe body(self.engine) }
    }

    /// Puts everything on disk and closes the log; the engine is not called afterwards.
    func stop() async throws {
        try await listener.onLoop(0) { core in
            core.beginTick()
            unsafe self.engine.shutDown()
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
