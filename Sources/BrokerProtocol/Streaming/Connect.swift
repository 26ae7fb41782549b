/// Asks the broker to register a client: client to the discover subject (nats-streaming.md 2.1).
/// Strings are bytes and are not validated as UTF-8.
public struct ConnectRequest: Equatable, Sendable {
    /// Unique in the cluster at any time.
    public var clientID: [UInt8] = []
    /// Where the broker sends heartbeats; required.
    public var heartbeatInbox: [UInt8] = []
    /// 0 = legacy (no connection id, no pings), 1 = protocol one.
    public var protocolVersion: Int32 = 0
    /// Protocol 1: unique id of this connection, opaque.
    public var connectionID: [UInt8] = []
    /// Seconds between the client's pings.
    public var pingIntervalSeconds: Int32 = 0
    /// Pings that may stay unanswered.
    public var pingMaxOut: Int32 = 0

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes; nil when the bytes are not a well-formed message.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &clientID)
                case 2: unsafe reader.read(key, into: &heartbeatInbox)
                case 3: unsafe reader.read(key, into: &protocolVersion)
                case 4: unsafe reader.read(key, into: &connectionID)
                case 5: unsafe reader.read(key, into: &pingIntervalSeconds)
                case 6: unsafe reader.read(key, into: &pingMaxOut)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
    }

    /// The message's bytes; none when every field is empty.
    public func encoded() -> [UInt8] {
        let size =
            fieldSize(1, count: clientID.count)
            + fieldSize(2, count: heartbeatInbox.count)
            + fieldSize(3, varintValue(protocolVersion))
            + fieldSize(4, count: connectionID.count)
            + fieldSize(5, varintValue(pingIntervalSeconds))
            + fieldSize(6, varintValue(pingMaxOut))
        return unsafe WireWriter.bytes(size: size) { writer in
            unsafe writer.field(1, clientID)
            unsafe writer.field(2, heartbeatInbox)
            unsafe writer.field(3, varintValue(protocolVersion))
            unsafe writer.field(4, connectionID)
            unsafe writer.field(5, varintValue(pingIntervalSeconds))
            unsafe writer.field(6, varintValue(pingMaxOut))
        }
    }
}

/// The answer to a `ConnectRequest` (nats-streaming.md 2.1); when `error` is set all else is empty.
public struct ConnectResponse: Equatable, Sendable {
    /// The client appends `.` and the channel.
    public var publishPrefix: [UInt8] = []
    /// Where `SubscriptionRequest` goes.
    public var subscribeRequests: [UInt8] = []
    /// Where `UnsubscribeRequest` goes to end a subscription for good.
    public var unsubscribeRequests: [UInt8] = []
    /// Where `CloseRequest` goes.
    public var closeRequests: [UInt8] = []
    /// Empty on success.
    public var error: [UInt8] = []
    /// Where `UnsubscribeRequest` goes to leave a durable in place.
    public var subscriptionCloseRequests: [UInt8] = []
    /// Where `Ping` goes; only for protocol 1 and later.
    public var pingRequests: [UInt8] = []
    /// Echoed from the request; only for protocol 1 and later; 0 switches the client's pings off.
    public var pingIntervalSeconds: Int32 = 0
    /// Echoed from the request; only for protocol 1 and later.
    public var pingMaxOut: Int32 = 0
    /// 1 on success.
    public var protocolVersion: Int32 = 0

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes; nil when the bytes are not a well-formed message.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &publishPrefix)
                case 2: unsafe reader.read(key, into: &subscribeRequests)
                case 3: unsafe reader.read(key, into: &unsubscribeRequests)
                case 4: unsafe reader.read(key, into: &closeRequests)
                case 5: unsafe reader.read(key, into: &error)
                case 6: unsafe reader.read(key, into: &subscriptionCloseRequests)
                case 7: unsafe reader.read(key, into: &pingRequests)
                case 8: unsafe reader.read(key, into: &pingIntervalSeconds)
                case 9: unsafe reader.read(key, into: &pingMaxOut)
                case 10: unsafe reader.read(key, into: &protocolVersion)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
    }

    /// The message's bytes; none when every field is empty.
    public func encoded() -> [UInt8] {
        let size =
            fieldSize(1, count: publishPrefix.count)
            + fieldSize(2, count: subscribeRequests.count)
            + fieldSize(3, count: unsubscribeRequests.count)
            + fieldSize(4, count: closeRequests.count)
            + fieldSize(5, count: error.count)
            + fieldSize(6, count: subscriptionCloseRequests.count)
            + fieldSize(7, count: pingRequests.count)
            + fieldSize(8, varintValue(pingIntervalSeconds))
            + fieldSize(9, varintValue(pingMaxOut))
            + fieldSize(10, varintValue(protocolVersion))
        return unsafe WireWriter.bytes(size: size) { writer in
            unsafe writer.field(1, publishPrefix)
            unsafe writer.field(2, subscribeRequests)
            unsafe writer.field(3, unsubscribeRequests)
            unsafe writer.field(4, closeRequests)
            unsafe writer.field(5, error)
            unsafe writer.field(6, subscriptionCloseRequests)
            unsafe writer.field(7, pingRequests)
            unsafe writer.field(8, varintValue(pingIntervalSeconds))
            unsafe writer.field(9, varintValue(pingMaxOut))
            unsafe writer.field(10, varintValue(protocolVersion))
        }
    }
}
