import BrokerLog
import BrokerProtocol
import Logging

/// The NATS Streaming protocol over the log: clients, channels, subscriptions, acknowledgements.
///
/// Owned by loop 0 and called on it alone. It decides and keeps state; bytes go out through the
/// transport and to the disk through the log. Nothing is delivered, listed, counted by a limit or
/// acknowledged before the log says that it is durable. The extensions of this class, a file each,
/// follow the sections of nats-streaming.md §3.
final class StreamingEngine<Transport: MessageTransport> {
    /// What `receive` is told about the subject on which a message came: the kind in the low eight
    /// bits, above them the subscription for acknowledgements.
    enum Inlet: UInt64 {
        case connect, ping, publish, subscribe, unsubscribe, subscriptionClose, close, reply, acknowledge
        case channelDelete, channelPurge
    }

    /// What a timer is for.
    enum Timer {
        case heartbeat(client: UInt64)
        case heartbeatTimeout(client: UInt64, number: UInt64)
        case duplicateCheck(client: UInt64, number: UInt64)
        case acknowledgementWait(subscription: UInt64)
        case inactivity(channel: UInt32)
        case saveState
        case expire
        case probe

        /// It runs out when a client does not answer: not while we do not read what clients send.
        var waitsForClient: Bool {
            switch self {
            case .heartbeat, .heartbeatTimeout, .duplicateCheck, .acknowledgementWait: true
            case .inactivity, .saveState, .expire, .probe: false
            }
        }
    }

    /// A response that waits for the disk.
    struct HeldResponse {
        /// What it answers, and so what else happens when it goes out or cannot.
        enum Request {
            case connect(client: UInt64)
            /// Messages may flow to the subscription once it is out. A durable keeps its id: the ack inbox
            /// tells which of its subscribe requests this was.
            case subscribe(id: UInt64, ackInbox: [UInt8])
            case unsubscribe
            case close
            /// A `ChannelRequest`.
            case administration(channel: [UInt8])
        }

        var request: Request
        var position: LogPosition
        var subject: [UInt8]
        var payload: [UInt8]
    }

    let options: BrokerOptions
    let log: Log
    let logger: Logger
    let transport: Transport
    let clock: EngineClock
    /// Trace lines are written; asked once, not per message.
    let traces: Bool

    var subjects: StreamingSubjects
    var names: UniqueNames
    /// Unique to this start of the server.
    let serverID: [UInt8]
    /// Requests of the server (heartbeats, duplicate checks) are answered to this and a token.
    let replyPrefix: [UInt8]

    // MARK: State

    var clientsByID = ByteKeyedTable<UInt64>()
    var clientsByConnectionID = ByteKeyedTable<UInt64>()
    var clients: [UInt64: StreamingClient] = [:]
    var nextClientSerial: UInt64 = 1
    var nextHeartbeat: UInt64 = 1
    var nextDuplicateCheck: UInt64 = 1

    var channelsByName = ByteKeyedTable<UInt32>()
    /// Lower-cased name → channel: names may not differ by case alone.
    var channelsByFoldedName = ByteKeyedTable<UInt32>()
    var channels: [UInt32: MessageChannel] = [:]

    /// Subscriptions that are online or about to be.
    var subscriptions: [UInt64: Subscription] = [:]
    var lastSubscriptionID: UInt64 = 0

    // MARK: Work

    var acknowledgements = AcknowledgementQueue()
    /// The clients of `acknowledgements`, in the same order; only while trace lines are written.
    var tracedPublishers: [[UInt8]] = []
    /// Responses that wait for the disk, in order; those before `heldHead` are out.
    var held: [HeldResponse] = []
    var heldHead = 0
    var dirtyChannels: [MessageChannel] = []
    /// Consumers that may have something to send.
    var ready: [(channel: MessageChannel, consumer: Consumer)] = []
    /// Consumers that wait for a block from the disk.
    var loading: [(channel: MessageChannel, consumer: Consumer)] = []
    /// Consumers with deliveries and acknowledgements that are not in the journal yet.
    var unsaved: [Consumer] = []
    var lastSave: UInt64 = 0
    var isSaveTimerArmed = false
    /// Members that nobody listened for.
    var unreachable: [UInt64] = []
    var isProbeTimerArmed = false
    var timers = DeadlineHeap<Timer>()
    var hasAppended = false
    /// Steps of the wall clock, which must not expire messages.
    var clockSteps = ClockSteps()
    /// The wall clock as it was at the first publish of this tick: read once, not per message.
    var tickTime: Int64?
    var publishersArePaused = false
    /// Monotonic nanoseconds at which publishers were paused last.
    var pauseStart: UInt64 = 0
    /// Nanoseconds until the clocks of clients would have run again, when publishers were paused last.
    var graceLeft: UInt64 = 0
    /// Timers of clients that came due during the pause.
    var stoppedTimers: [Timer] = []
    /// Monotonic nanoseconds from which on the clocks of clients run again after the last pause.
    var clientClocksStart: UInt64 = 0
    /// The log is about to be closed: what is sent from now on would not be remembered.
    var isShuttingDown = false
    /// Why publishes were refused last; nil since one was taken, or there seems to be room.
    var fullReason: String?
    /// Nanoseconds of the monotonic clock at which a publish was refused last.
    var lastRefusal: UInt64 = 0
    /// Subscribe requests that wait for a block to find their start time.
    var waitingStarts: [PendingStart] = []
    /// Purges that wait for a block in which they end.
    var waitingPurges: [PendingPurge] = []
    var scratch = ScratchMemory()
    var writer = StateWriter()

    // MARK: Counters of this run

    var inMessages: UInt64 = 0
    var inBytes: UInt64 = 0
    var outMessages: UInt64 = 0
    var outBytes: UInt64 = 0
    var redeliveredMessages: UInt64 = 0
    /// Acknowledgements of messages that were pending.
    var acknowledgedMessages: UInt64 = 0
    let startTime: Int64

    /// Takes over what the log recovered and listens on the subjects of the cluster id.
    init(
        options: BrokerOptions, log: Log, transport: Transport, logger: Logger,
        clock: EngineClock = .system, names: UniqueNames = UniqueNames()
    ) {
        self.options = options
        self.log = log
        self.transport = transport
        self.logger = logger
        self.clock = clock
        self.names = names
        traces = logger.logLevel <= .trace
        subjects = StreamingSubjects(clusterID: options.clusterID, discoverPrefix: options.discoverPrefix)
        serverID = self.names.next()
        replyPrefix = self.names.inbox() + [UInt8(ascii: ".")]
        startTime = clock.wall()
        recover()
        listen()
    }

    private func listen() {
        transport.listen(on: subjects.discover, tag: Inlet.connect.rawValue)
        transport.listen(on: subjects.ping, tag: Inlet.ping.rawValue)
        transport.listen(on: subjects.publishPrefix + Array(".>".utf8), tag: Inlet.publish.rawValue)
        transport.listen(on: subjects.subscribe, tag: Inlet.subscribe.rawValue)
        transport.listen(on: subjects.unsubscribe, tag: Inlet.unsubscribe.rawValue)
        transport.listen(on: subjects.subscriptionClose, tag: Inlet.subscriptionClose.rawValue)
        transport.listen(on: subjects.close, tag: Inlet.close.rawValue)
        transport.listen(on: replyPrefix + [UInt8(ascii: "*")], tag: Inlet.reply.rawValue)
        for (verb, inlet) in [(ChannelRequest.Verb.delete, Inlet.channelDelete), (.purge, .channelPurge)] {
            let prefix = verb.prefix(clusterID: Array(options.clusterID.utf8))
            transport.listen(on: prefix + [UInt8(ascii: ">")], tag: inlet.rawValue)
        }
    }

    static func acknowledgementTag(of subscription: UInt64) -> UInt64 {
        subscription << 8 | Inlet.acknowledge.rawValue
    }

    /// A message on a subject that the engine listens on. The bytes are valid during the call.
    func receive(
        tag: UInt64, subject: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        switch Inlet(rawValue: tag & 0xFF) {
        case .publish: unsafe receivePublish(subject: subject, reply: reply, payload: payload)
        case .acknowledge: unsafe receiveAcknowledgement(subscription: tag >> 8, payload: payload)
        case .connect: unsafe receiveConnect(reply: Array(reply), payload: payload)
        case .ping: unsafe receivePing(reply: Array(reply), payload: payload)
        case .subscribe: unsafe receiveSubscribe(reply: Array(reply), payload: payload)
        case .unsubscribe: unsafe receiveUnsubscribe(reply: Array(reply), payload: payload, isClose: false)
        case .subscriptionClose:
            unsafe receiveUnsubscribe(reply: Array(reply), payload: payload, isClose: true)
        case .close: unsafe receiveClose(reply: Array(reply), payload: payload)
        case .reply: unsafe receiveReply(subject: Array(subject))
        case .channelDelete:
            unsafe receiveChannelRequest(.delete, subject: subject, reply: Array(reply), payload: payload)
        case .channelPurge:
            unsafe receiveChannelRequest(.purge, subject: subject, reply: Array(reply), payload: payload)
        case nil: preconditionFailure("tag \(tag) was never given to listen(on:tag:)")
        }
    }

    /// After all input of a tick: saves state that must ride with this tick's publishes, hands the
    /// journal what was appended, and sends what may be sent. True: there is more to send, call
    /// again in the next tick.
    func endOfTick() -> Bool {
        if hasAppended && !unsaved.isEmpty && now() &- lastSave >= 5_000_000 { saveState() }
        hasAppended = false
        tickTime = nil
        log.submit()
        // The memory store is durable at once; for the file store this asks one variable.
        logProgressed()
        if hasAppended {
            // What waited for a block from the disk has gone on, and journaled.
            hasAppended = false
            log.submit()
            logProgressed()
        }
        pausePublishersIfFull()
        return deliverReady()
    }

    /// The log has news: called on the loop after its wake-up, and at the end of each tick.
    func logProgressed() {
        let news = log.poll()
        if let reason = news.refused { refusePublishes(reason) }
        if news.durableAdvanced { releaseDurable() }
        if news.readsFinished { resumeLoading() }
        if let reason = news.closed { storeClosed(reason) }
        if news.checkpointWanted { log.checkpoint(state: snapshot()) }
        if publishersArePaused { resumePublishersIfDrained() }
    }

    // MARK: Time

    /// Monotonic nanoseconds.
    func now() -> UInt64 { clock.monotonic() }

    /// Monotonic nanoseconds at which `timeReached` has something to do; nil if nothing waits.
    var nextDeadline: UInt64? { timers.earliest }

    func schedule(_ timer: Timer, at deadline: UInt64) { timers.insert(timer, at: deadline) }

    /// Everything whose time has come at `now`. The caller ends the tick afterwards.
    func timeReached(_ now: UInt64) {
        while let timer = timers.popDue(now) {
            if timer.waitsForClient, publishersArePaused || now < clientClocksStart {
                putOff(timer)
                continue
            }
            switch timer {
            case .heartbeat(let client): sendHeartbeat(to: client, now: now)
            case .heartbeatTimeout(let client, let number):
                heartbeatTimedOut(client, number: number, now: now)
            case .duplicateCheck(let client, let number): duplicateCheckTimedOut(client, number: number)
            case .acknowledgementWait(let subscription): acknowledgementWaitEnded(subscription, now: now)
            case .inactivity(let channel): inactivityEnded(of: channel, now: now)
            case .saveState:
                isSaveTimerArmed = false
                saveState()
            case .expire: expireMessages(now: now)
            case .probe: probeUnreachable(now: now)
            }
        }
    }

    // MARK: Responses

    /// Publishes `payload` to `subject`, if there is one.
    func send(_ payload: [UInt8], to subject: [UInt8]) {
        guard !subject.isEmpty else { return }
        unsafe subject.withUnsafeBytes { subject in
            unsafe payload.withUnsafeBytes { payload in
                unsafe _ = transport.publish(
                    subject: subject, reply: UnsafeRawBufferPointer(start: nil, count: 0), payload: payload)
            }
        }
    }

    /// Appends a state record to the journal.
    @discardableResult
    func journal(_ record: StateRecord) -> LogPosition {
        writer.removeAll()
        record.encode(into: &writer)
        hasAppended = true
        return unsafe writer.buffer.withUnsafeBytes { unsafe log.appendState($0) }
    }

    /// Sends a response once everything up to `position` is on disk.
    func hold(
        _ request: HeldResponse.Request, _ payload: [UInt8], to subject: [UInt8],
        until position: LogPosition
    ) {
        let response = HeldResponse(
            request: request, position: position, subject: subject, payload: payload)
        if let reason = log.closedReason { return answer(response, failed: reason) }
        held.append(response)
    }
}

/// The two clocks of the engine, as values so that tests can turn them by hand.
struct EngineClock: Sendable {
    /// Nanoseconds that only go forward.
    var monotonic: @Sendable () -> UInt64
    /// Nanoseconds since 1970.
    var wall: @Sendable () -> Int64
}

/// Memory that grows to the largest message and is used again for each.
@safe struct ScratchMemory: ~Copyable {
    private var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 16)

    deinit { unsafe memory.deallocate() }

    /// At least `size` bytes, valid until the next call.
    mutating func reserve(_ size: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe memory.count < size {
            unsafe memory.deallocate()
            unsafe memory = .allocate(byteCount: max(size, memory.count * 2), alignment: 16)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: memory[0..<size])
    }
}
