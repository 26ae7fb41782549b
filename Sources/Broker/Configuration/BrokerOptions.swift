/// When a batch of the journal counts as durable, as the operator chose it (`--sync`).
public enum SyncMode: Sendable, Equatable {
    /// After `fdatasync` of the batch returned. The default.
    case always
    /// After the write; a sync follows at this interval (nanoseconds). A crash of the machine may
    /// lose what was acknowledged within it.
    case interval(nanoseconds: UInt64)
    /// After the write; the operating system syncs when it likes.
    case never
}

/// Where channels are kept.
public enum StoreKind: Sendable, Equatable {
    /// In a data directory (journal and segments). The default.
    case file
    /// In memory: acknowledged messages end with the process.
    case memory
}

/// Everything that an operator can choose about a broker. The defaults are those of the original
/// servers (nats-core.md §1.4, nats-streaming.md §4.1 and §5.2) but for the store, which is `file`.
public struct BrokerOptions: Sendable {
    // MARK: Network

    /// Address that clients connect to.
    public var host = "0.0.0.0"
    /// Port that clients connect to; -1 chooses a free one.
    public var port = 4222
    /// Port of the monitoring endpoint; nil is off, -1 chooses a free one.
    public var monitoringPort: Int?
    /// Event loops; at least 1.
    public var loops = 1
    /// Microseconds that a processor may take to wake up while there is work; nil leaves that to the system.
    public var cpuLatencyMicroseconds: Int32?
    /// The server's name in INFO; the server id if nil.
    public var serverName: String?
    /// Host announced in INFO in place of `host`.
    public var advertisedHost: String?
    /// Port announced in INFO in place of the one that it listens on.
    public var advertisedPort: Int?

    // MARK: Credentials

    /// User name that clients must present; nil asks for none.
    public var user: String?
    /// Password that goes with `user`.
    public var password: String?
    /// Token that clients must present; nil asks for none.
    public var token: String?
    /// Token that clients must present to delete and purge channels; with nil whoever may connect may.
    public var administratorToken: String?
    /// Time that a client has to authenticate, in nanoseconds.
    public var authTimeoutNanoseconds: UInt64 = 2_000_000_000

    // MARK: Limits of connections

    /// Connections at a time.
    public var maxConnections = 65_536
    /// Subscriptions of one connection; 0 is unlimited.
    public var maxSubscriptions = 0
    /// Tokens of the subject of one subscription; 0 is unlimited.
    public var maxSubscriptionTokens = 0
    /// Bytes of the arguments of one protocol line.
    public var maxControlLine = 4_096
    /// Bytes of one message, headers included.
    public var maxPayload = 1_048_576
    /// Bytes queued for one connection before it is cut off as a slow consumer.
    public var maxPending = 67_108_864
    /// Time between the server's pings, in nanoseconds.
    public var pingIntervalNanoseconds: UInt64 = 120_000_000_000
    /// Pings without an answer before a connection counts as stale.
    public var maxPingsOut = 2
    /// Time that one write to a client may take, in nanoseconds.
    public var writeDeadlineNanoseconds: UInt64 = 10_000_000_000

    /// Bytes of a payload that trace lines show; 0 is all.
    public var maxTracedMessageBytes = 0

    // MARK: Store

    /// File or memory.
    public var store = StoreKind.file
    /// The data directory, created if absent.
    public var directory = "data"
    /// When a publish is acknowledged.
    public var sync = SyncMode.always
    /// Bytes that all journal files may take together.
    public var journalSizeBytes = 256 << 20

    /// Bytes of messages that the file store keeps in memory.
    public var memoryLimitBytes = MemoryLimit.unlimitedDefault

    // MARK: NATS Streaming

    /// The cluster id, part of every subject of the streaming protocol.
    public var clusterID = "test-cluster"
    /// Prefix of the discover subject.
    public var discoverPrefix = "_STAN.discover"
    /// Time between heartbeats to a client, in nanoseconds.
    public var heartbeatIntervalNanoseconds: UInt64 = 30_000_000_000
    /// Time that a client has to answer a heartbeat, in nanoseconds.
    public var heartbeatTimeoutNanoseconds: UInt64 = 10_000_000_000
    /// Heartbeats that may fail in a row before the client is closed.
    public var maxFailedHeartbeats = 10
    /// Channels; 0 is unlimited.
    public var maxChannels = 100
    /// Subscriptions of one channel; 0 is unlimited.
    public var maxSubscriptionsPerChannel = 1_000
    /// Messages kept in one channel; 0 is unlimited.
    public var maxMessages = 1_000_000
    /// Bytes kept in one channel; 0 is unlimited.
    public var maxBytes = 1_024_000_000
    /// Age of the messages kept, in nanoseconds; 0 is unlimited.
    public var maxAgeNanoseconds: UInt64 = 0
    /// Time without a subscription after which a channel is deleted, in nanoseconds; 0 is never.
    public var maxInactivityNanoseconds: UInt64 = 0
    /// A second subscribe of a live durable replaces it in place of being refused.
    public var replaceDurable = false

    // MARK: Files

    /// File that the process id is written to.
    public var pidFile: String?
    /// Directory of the file that tells the ports (`<program>_<pid>.ports`).
    public var portsFileDirectory: String?

    /// The defaults.
    public init() {}
}
