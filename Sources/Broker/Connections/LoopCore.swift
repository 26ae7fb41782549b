import BrokerProtocol
import Logging
import NIOCore

/// What one loop counted since it began (nats-core.md 7.2). Bytes are header block and payload.
struct LoopCounters: Sendable {
    var connections = 0
    var totalConnections: UInt64 = 0
    var inMessages: UInt64 = 0
    var inBytes: UInt64 = 0
    var outMessages: UInt64 = 0
    var outBytes: UInt64 = 0
    var slowConsumers: UInt64 = 0
    var staleConnections: UInt64 = 0
    /// Publishers that were paused because a receiver was nearly full.
    var stalledClients: UInt64 = 0
    /// Interests of the whole broker, as this loop knows them.
    var subscriptions = 0

    /// Adds another loop's counts; `subscriptions` is the same on all loops.
    static func += (left: inout LoopCounters, right: LoopCounters) {
        left.connections += right.connections
        left.totalConnections += right.totalConnections
        left.inMessages += right.inMessages
        left.inBytes += right.inBytes
        left.outMessages += right.outMessages
        left.outBytes += right.outBytes
        left.slowConsumers += right.slowConsumers
        left.staleConnections += right.staleConnections
        left.stalledClients += right.stalledClients
        left.subscriptions = max(left.subscriptions, right.subscriptions)
    }
}

/// What is mutable in a loop. One value in memory that `LoopCore` owns, so that the message path neither
/// counts references nor checks exclusivity.
@safe struct LoopState: ~Copyable {
    var connections: ConnectionTable
    var router: Router
    var counters = LoopCounters()
    /// Monotonic nanoseconds at the beginning of the tick.
    var now: UInt64 = 0
    var isTickScheduled = false
    /// Connections with output that no write was begun for.
    var dirty: [UnsafeMutablePointer<Connection>] = unsafe []
    /// Connections whose socket is gone, to be freed at the end of the tick.
    var gone: [UnsafeMutablePointer<Connection>] = unsafe []
    /// Interests that got their last message during the fan-out under way.
    var finished: [InterestPointer] = unsafe []
    var deadlines = DeadlineHeap<ConnectionID>()
    /// Publishers that wait for a receiver to drain.
    var stalled: Set<ConnectionID> = []
    /// On whose behalf messages are delivered now.
    var deliversFor = Origin.thisLoop
    /// The publisher of another loop that was told to wait in this tick.
    var lastToldToStall: ConnectionID?
    /// On loop 0: connections of other loops that have too much pending for the engine.
    var congestedElsewhere: Set<ConnectionID> = []
    /// Head lines that must be written anew, and their parts.
    var scratch = ByteStore()
    var strippedScratch = ByteStore()
    var operation = Operation()
    var nextInterest: UInt64 = 1
    /// Interests by name; kept only where there is more than one loop.
    var interestsByID: [InterestID: InterestPointer] = unsafe [:]
    var engineInterests: [EngineInterest: InterestPointer] = unsafe [:]
    /// Calls of the engine that came up while it was being called.
    var deferredEngineMessages: [DeferredEngineMessage] = []
    var isInEngine = false
    var isContinuing = false
    var congestionHasEnded = false
    var publishersArePaused = false
    /// Fences on their way: connection and loops that have not answered.
    var fences: [ConnectionID: Int] = [:]
    var isStopping = false
    /// Kept when the loop is stopping and the last connection is gone.
    var allGone: EventLoopPromise<Void>?
    var random = SystemRandomNumberGenerator()

    /// Where a message comes from.
    enum Origin {
        /// A connection of this loop, or the engine here.
        case thisLoop
        /// A connection of another loop, or with nil the engine there.
        case otherLoop(ConnectionID?)
    }

    init(loop: Int) {
        connections = ConnectionTable(loop: loop)
        router = Router(loop: loop)
    }
}

/// A message to the engine that was published from inside the engine.
struct DeferredEngineMessage {
    var tag: UInt64
    var subject: [UInt8]
    var reply: [UInt8]
    var payload: [UInt8]
}

/// One event loop of the broker: its connections, its copy of all interests, and the way of every message
/// that comes in or goes out there.
///
/// Everything but `mailbox` is used on `eventLoop` alone. A *tick* is one wake-up: input of any number of
/// connections is parsed and routed, then `endTick` lets the engine work and writes each connection's output
/// once.
@safe final class LoopCore {
    let eventLoop: any EventLoop
    let index: Int
    let shared: SharedCore
    let options: BrokerOptions
    let limits: OperationLimits
    let logger: Logger
    /// Trace lines are written; asked once, not per operation.
    let traces: Bool
    let state: UnsafeMutablePointer<LoopState>
    let chunkPool: UnsafeMutablePointer<OutputChunks>
    /// The streaming engine; only loop 0 has one. It never changes during a call of it.
    var engine: EngineCalls? {
        didSet { unsafe uncountedEngine = engine.map { unsafe Unmanaged.passUnretained($0) } }
    }
    /// `engine`, for the call that each message makes: a count of references would wait until the message, which the
    /// engine has just copied, has reached memory. It is alive as long as it is there: `engine` holds it.
    private(set) var uncountedEngine: Unmanaged<EngineCalls>?
    /// Work for the other loops, handed over at the end of the tick.
    var outgoing: [Mailbox.Parcel]
    /// A mailbox of another loop was full at the last hand-over.
    var mailboxesAreFull = false
    /// Bytes that the engine sent each other loop since that said last that it took all of them over.
    var engineBytes: [Int]
    /// Every loop of the broker, this one included.
    var peers: [LoopCore] = []
    let mailbox = Mailbox()
    /// Keeps processors ready while there is work; nil unless that is asked for.
    var cpuLatency: CPULatencyRequest?
    private var timer: Scheduled<Void>?
    private var timerDeadline = UInt64.max

    /// A loop core that owns nothing yet; `loops` is how many there are in all.
    init(eventLoop: any EventLoop, index: Int, loops: Int, shared: SharedCore, logger: Logger) {
        self.eventLoop = eventLoop
        self.index = index
        self.shared = shared
        self.logger = logger
        options = shared.options
        limits = OperationLimits(
            controlLine: shared.options.maxControlLine,
            payload: shared.options.maxPayload < 0 ? .max : shared.options.maxPayload)
        traces = logger.logLevel <= .trace
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: LoopState(loop: index))
        unsafe chunkPool = .allocate(capacity: 1)
        unsafe chunkPool.initialize(to: OutputChunks())
        outgoing = (0..<loops).map { _ in Mailbox.Parcel(MailboxBatch()) }
        engineBytes = Array(repeating: 0, count: loops)
        unsafe state.pointee.now = Self.monotonicNow()
    }

    deinit {
        unsafe state.pointee.router.deallocate()
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
        unsafe chunkPool.deinitialize(count: 1)
        unsafe chunkPool.deallocate()
    }

    var hasOtherLoops: Bool { outgoing.count > 1 }

    static func monotonicNow() -> UInt64 { NIODeadline.now().uptimeNanoseconds }

    // MARK: Ticks

    /// Call before handling any event: notes the time and arranges for `endTick`.
    @inline(__always)
    func beginTick() {
        if unsafe !state.pointee.isTickScheduled { scheduleTick(isWork: true) }
    }

    @inline(never)
    private func scheduleTick(isWork: Bool) {
        unsafe state.pointee.isTickScheduled = true
        unsafe state.pointee.now = Self.monotonicNow()
        // NIO runs this after the I/O of the same wake-up.
        eventLoop.assumeIsolated().execute { self.endTick() }
        if hasOtherLoops { drainMailbox() }
        if isWork, let cpuLatency { noteWork(cpuLatency) }
    }

    /// The engine's turn, then one write for each connection that has output.
    ///
    /// The tick counts as scheduled until the end, so that what the engine makes dirty is written in it.
    private func endTick() {
        var wantsMore = false
        if let engine {
            wantsMore = inEngine {
                if unsafe state.pointee.congestionHasEnded {
                    unsafe state.pointee.congestionHasEnded = false
                    engine.congestionEnded()
                }
                return engine.endOfTick()
            }
            receiveDeferred(engine)
            if unsafe !state.pointee.deferredEngineMessages.isEmpty { wantsMore = true }
        }
        flushDirty()
        if hasOtherLoops { handOver() }
        releaseGone()
        if let allGone = unsafe state.pointee.allGone, unsafe state.pointee.connections.count == 0 {
            unsafe state.pointee.allGone = nil
            timer?.cancel()
            allGone.succeed()
        }
        if unsafe state.pointee.router.hasGarbage { unsafe state.pointee.router.collectGarbage() }
        if unsafe state.pointee.congestionHasEnded { wantsMore = true }
        unsafe state.pointee.lastToldToStall = nil
        unsafe state.pointee.isTickScheduled = false
        armTimer()
        if wantsMore { continueSoon() }
    }

    /// Another tick, after the sockets were looked at: NIO runs tasks until none is left before it does.
    private func continueSoon() {
        guard unsafe !state.pointee.isContinuing else { return }
        unsafe state.pointee.isContinuing = true
        eventLoop.assumeIsolated().scheduleTask(in: .microseconds(20)) {
            unsafe self.state.pointee.isContinuing = false
            self.beginTick()
        }
    }

    /// Runs a call of the engine; what it publishes to itself meanwhile is put off, so that it is never
    /// entered twice.
    @inline(__always)
    func inEngine<Result>(_ call: () -> Result) -> Result {
        unsafe state.pointee.isInEngine = true
        defer { unsafe state.pointee.isInEngine = false }
        return call()
    }

    /// Messages that the engine published to itself; those that come up meanwhile wait for the next tick.
    private func receiveDeferred(_ engine: EngineCalls) {
        let messages = unsafe state.pointee.deferredEngineMessages
        unsafe state.pointee.deferredEngineMessages = []
        for message in messages {
            unsafe message.subject.withUnsafeBytes { subject in
                unsafe message.reply.withUnsafeBytes { reply in
                    unsafe message.payload.withUnsafeBytes { payload in
                        unsafe deliverToEngine(
                            tag: message.tag, subject: subject, reply: reply, payload: payload)
                    }
                }
            }
        }
        if unsafe !state.pointee.deferredEngineMessages.isEmpty { beginTick() }
    }

    /// Frees the connections whose sockets are gone.
    private func releaseGone() {
        guard unsafe !state.pointee.gone.isEmpty else { return }
        for index in unsafe state.pointee.gone.indices {
            let connection = unsafe state.pointee.gone[index]
            unsafe connection.pointee.output.discard(chunks: chunkPool)
            unsafe connection.pointee.output.writeFinished(chunks: chunkPool)
            unsafe state.pointee.connections.remove(connection)
        }
        unsafe state.pointee.gone.removeAll(keepingCapacity: true)
    }

    // MARK: The one timer

    /// Sees to it that `timeReached` runs at the earliest deadline.
    func armTimer() {
        let earliest = unsafe min(state.pointee.deadlines.earliest ?? .max, engine?.nextDeadline() ?? .max)
        guard earliest < timerDeadline else { return }
        timer?.cancel()
        timerDeadline = earliest
        timer = eventLoop.assumeIsolated().scheduleTask(
            deadline: .uptimeNanoseconds(earliest)
        ) { self.timerFired() }
    }

    private func timerFired() {
        timerDeadline = .max
        timer = nil
        // An idle broker has timers too; what they set going comes back as input, or as news of the log.
        if unsafe !state.pointee.isTickScheduled { scheduleTick(isWork: false) }
        let now = Self.monotonicNow()
        unsafe state.pointee.now = now
        timeReached(now)
        if let engine, let deadline = engine.nextDeadline(), deadline <= now {
            inEngine { engine.timeReached(now) }
        }
    }

    /// Ends the loop's work: sends every client what is queued for it and closes the connection. The future
    /// is done when all are gone, at the latest when their time to linger is over.
    func stop() -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        unsafe state.pointee.isStopping = true
        unsafe state.pointee.allGone = promise
        beginTick()
        let connections = unsafe state.pointee.connections.all
        for index in unsafe connections.indices { unsafe finish(connections[index], .serverShutdown) }
        return promise.futureResult
    }
}
