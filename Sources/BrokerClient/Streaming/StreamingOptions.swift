/// How a `StreamingClient` keeps its session and what it bounds. The defaults are those of the original clients
/// (nats-streaming.md 1.4).
public struct StreamingOptions: Hashable, Sendable {
    /// Time for the server to answer a connect, subscribe, unsubscribe or close.
    public var requestTimeout: Duration = .seconds(2)
    /// Time for the acknowledgement of a publish.
    public var publishTimeout: Duration = .seconds(30)
    /// Publishes without an acknowledgement; publishers wait beyond.
    public var maxPublishesInFlight = 16_384
    /// Time between the client's pings; whole seconds, at least one.
    public var pingInterval: Duration = .seconds(5)
    /// Pings without an answer before the session counts as lost.
    public var maxPingsOut = 88
    /// First part of the subject of the connect request.
    public var discoverPrefix = "_STAN.discover"

    /// The defaults.
    public init() {}
}

/// What a subscription to a channel asks for (nats-streaming.md 3.4).
public struct ChannelSubscriptionOptions: Hashable, Sendable {
    /// Where delivery begins. A durable that exists already goes on where it was, whatever is said here.
    public enum Start: Hashable, Sendable {
        /// With what is published from now on.
        case newOnly
        /// With the last message that is there.
        case last
        /// With the first message that is there.
        case first
        /// With this sequence.
        case sequence(UInt64)
        /// With the first message that is no older than this.
        case since(Duration)
    }

    /// Where delivery begins.
    public var start = Start.newOnly
    /// Under this name the server keeps the position when the subscription is closed; nil for none.
    public var durableName: String?
    /// Each message goes to one of the subscriptions with the same group; nil for none.
    public var queueGroup: String?
    /// Time to acknowledge a message before it is sent again; whole seconds, at least one.
    public var ackWait: Duration = .seconds(30)
    /// Messages that were sent and not acknowledged, at most; at least 1.
    public var maxInFlight = 1_024
    /// Whether the consumer acknowledges each message itself. Otherwise a message is acknowledged when the next one is
    /// asked for: it has been handled by then.
    public var manualAck = false

    /// The defaults, beginning as given.
    public init(start: Start = .newOnly, durableName: String? = nil, queueGroup: String? = nil) {
        self.start = start
        self.durableName = durableName
        self.queueGroup = queueGroup
    }
}
