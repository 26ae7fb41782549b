import BrokerProtocol

/// Why a connection ended, as logs name it (nats-core.md 1.7).
enum CloseReason: String {
    case clientClosed = "Client Closed"
    case readError = "Read Error"
    case writeError = "Write Error"
    case protocolViolation = "Protocol Violation"
    case parseError = "Parse Error"
    case controlLineTooLong = "Maximum Control Line Exceeded"
    case payloadTooLarge = "Maximum Message Payload Exceeded"
    case tooManyConnections = "Maximum Connections Exceeded"
    case authenticationFailure = "Authentication Failure"
    case authenticationTimeout = "Authentication Timeout"
    case badProtocolVersion = "Bad Client Protocol Version"
    case noRespondersRequiresHeaders = "No Responders Requires Headers"
    case staleConnection = "Stale Connection"
    case slowConsumerPending = "Slow Consumer (Pending Bytes)"
    case slowConsumerDeadline = "Slow Consumer (Write Deadline)"
    case serverShutdown = "Server Shutdown"
}

/// Everything the loop keeps of one client connection.
///
/// Lives at a fixed address in memory that `ConnectionTable` owns. Freed only at the end of a tick, so a
/// pointer taken within a tick stays good for that tick.
@safe struct Connection: ~Copyable {
    /// How far a connection is from its end.
    enum Phase {
        case open
        /// No more input is parsed and no delivery accepted; what is queued goes out, then the socket
        /// is closed for writing.
        case flushing
        /// Closed for writing; input is thrown away until the client closes too or the deadline passes.
        case lingering
        /// The socket is gone.
        case closed
    }

    let id: ConnectionID
    /// The number in INFO.
    let clientID: UInt64
    let handler: ClientHandler
    /// The socket, which is the channel's and open until `phase` is `closed`; -1 where the channel has none.
    let descriptor: Int32
    /// `<address>:<port> - cid:<number>`, later with the client's own words (nats-core.md 6.5).
    var label: String
    let address: String

    // Touched per delivery.
    var output = OutputBuffer()
    var isDirty = false
    var phase = Phase.open
    var takesHeaders = false
    var echoes = true
    var isFlushing = false
    /// The last write is not on the socket yet.
    var isWriting = false
    /// More than 4 MiB were pending when the engine last published to it.
    var isReportedCongested = false

    // Touched per publish.
    var lastRoute: UnsafeMutablePointer<Route>?
    var lastRouteEpoch: UInt64 = 0
    var isVerbose = true
    var isPedantic = true
    var wantsNoResponders = false
    /// It published to the streaming engine: its reading stops when the engine says so.
    var publishesToEngine = false
    /// Other loops have work of this connection that a PONG must wait for.
    var hasWorkElsewhere = false

    // Touched per read and less.
    var parser: OperationParser
    var isAuthenticated: Bool
    /// It may publish to the subjects of `ChannelRequest`.
    var isAdministrator = false
    var hasConnected = false
    /// It counts against the limit on connections.
    var isCounted = false
    var protocolVersion = 0
    var hasSentConnectInfo = false
    var interests = unsafe ByteKeyedTable<InterestPointer>()
    var keepAlive: KeepAlive
    /// Monotonic nanoseconds; .max = none.
    var authenticationDeadline = UInt64.max
    var writeDeadline = UInt64.max
    var lingerDeadline = UInt64.max
    /// The earliest entry in the loop's deadlines; .max = none.
    var scheduledDeadline = UInt64.max
    /// Reading goes on at this time: a receiver of this publisher was nearly full.
    var stallEnd: UInt64 = 0
    /// Nanoseconds to pause after this read.
    var stall: UInt64 = 0
    /// Each reason for which reading is paused.
    var pauses = PauseReasons()
    /// The rest of a read that a pause cut short.
    var backlog = ByteStore()
    /// The client closed its side while a backlog waited.
    var inputHasEnded = false
    var closeReason: CloseReason?

    init(
        id: ConnectionID, clientID: UInt64, handler: ClientHandler, address: String, port: Int,
        limits: OperationLimits, isAuthenticated: Bool, keepAlive: KeepAlive
    ) {
        self.id = id
        self.clientID = clientID
        self.handler = handler
        descriptor = handler.descriptor
        self.address = address
        label = "\(address):\(port) - cid:\(clientID)"
        parser = OperationParser(limits: limits)
        self.isAuthenticated = isAuthenticated
        self.keepAlive = keepAlive
    }

    /// The earliest time at which something is due.
    var nextDeadline: UInt64 {
        switch phase {
        case .open:
            min(
                min(keepAlive.nextCheck, authenticationDeadline),
                min(writeDeadline, pauses.contains(.stall) ? stallEnd : .max))
        case .flushing, .lingering: min(lingerDeadline, writeDeadline)
        case .closed: .max
        }
    }
}

/// Why nothing is read from a connection.
struct PauseReasons: OptionSet {
    let rawValue: UInt8
    /// A PONG waits for the other loops.
    static let fence = PauseReasons(rawValue: 1)
    /// The streaming engine has too much in flight.
    static let engine = PauseReasons(rawValue: 2)
    /// A receiver is nearly full.
    static let stall = PauseReasons(rawValue: 4)
}

/// The connections of one loop, at fixed addresses, found by slot.
///
/// Invariant: a slot's generation rises each time it is freed, so an old `ConnectionID` finds nothing.
@safe struct ConnectionTable {
    private var slots: [UnsafeMutablePointer<Connection>?] = unsafe []
    private var generations: [UInt16] = []
    private var freeSlots: [Int] = []
    private(set) var count = 0
    let loop: Int

    init(loop: Int) { self.loop = loop }

    /// Makes room for a connection and calls `make` with its name.
    mutating func insert(_ make: (ConnectionID) -> Connection) -> UnsafeMutablePointer<Connection> {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = unsafe slots.count
            unsafe slots.append(nil)
            generations.append(0)
        }
        let pointer = UnsafeMutablePointer<Connection>.allocate(capacity: 1)
        unsafe pointer.initialize(
            to: make(ConnectionID(loop: loop, generation: generations[slot], slot: slot)))
        unsafe slots[slot] = unsafe pointer
        count += 1
        return unsafe pointer
    }

    /// The connection with this name, if it is still there.
    func find(_ id: ConnectionID) -> UnsafeMutablePointer<Connection>? {
        let slot = Int(id.slot)
        guard unsafe slot < slots.count, generations[slot] == id.generation else { return nil }
        return unsafe slots[slot]
    }

    /// Frees `connection`; no pointer to it may be used again.
    mutating func remove(_ connection: UnsafeMutablePointer<Connection>) {
        let slot = unsafe Int(connection.pointee.id.slot)
        unsafe connection.deinitialize(count: 1)
        unsafe connection.deallocate()
        unsafe slots[slot] = nil
        generations[slot] &+= 1
        freeSlots.append(slot)
        count -= 1
    }

    /// Every connection.
    var all: [UnsafeMutablePointer<Connection>] { unsafe slots.compactMap { unsafe $0 } }
}
