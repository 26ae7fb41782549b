/// Asks for messages of a channel (nats-streaming.md 2.1).
/// Strings are bytes and are not validated as UTF-8.
public struct SubscriptionRequest: Equatable, Sendable {
    /// Required.
    public var clientID: [UInt8] = []
    /// The channel.
    public var subject: [UInt8] = []
    /// Empty: not a queue subscription.
    public var queueGroup: [UInt8] = []
    /// Where the messages go.
    public var inbox: [UInt8] = []
    /// Messages sent and not acknowledged; at least 1.
    public var maxInFlight: Int32 = 0
    /// Seconds until a message that was not acknowledged is sent again; at least 1.
    public var ackWaitSeconds: Int32 = 0
    /// Empty: not durable.
    public var durableName: [UInt8] = []
    /// Where delivery begins.
    public var startPosition: StartPosition = .newOnly
    /// For `StartPosition.sequenceStart`.
    public var startSequence: UInt64 = 0
    /// For `StartPosition.timeDeltaStart`: nanoseconds before the broker's now; may be zero or negative.
    public var startTimeDelta: Int64 = 0

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes; nil when the bytes are not a well-formed message.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        var position: Int32 = 0
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &clientID)
                case 2: unsafe reader.read(key, into: &subject)
                case 3: unsafe reader.read(key, into: &queueGroup)
                case 4: unsafe reader.read(key, into: &inbox)
                case 5: unsafe reader.read(key, into: &maxInFlight)
                case 6: unsafe reader.read(key, into: &ackWaitSeconds)
                case 7: unsafe reader.read(key, into: &durableName)
                case 10: unsafe reader.read(key, into: &position)
                case 11: unsafe reader.read(key, into: &startSequence)
                case 12: unsafe reader.read(key, into: &startTimeDelta)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
        startPosition = StartPosition(rawValue: position)
    }

    /// The message's bytes; none when every field is empty.
    public func encoded() -> [UInt8] {
        let size =
            fieldSize(1, count: clientID.count)
            + fieldSize(2, count: subject.count)
            + fieldSize(3, count: queueGroup.count)
            + fieldSize(4, count: inbox.count)
            + fieldSize(5, varintValue(maxInFlight))
            + fieldSize(6, varintValue(ackWaitSeconds))
            + fieldSize(7, count: durableName.count)
            + fieldSize(10, varintValue(startPosition.rawValue))
            + fieldSize(11, startSequence)
            + fieldSize(12, varintValue(startTimeDelta))
        return unsafe WireWriter.bytes(size: size) { writer in
            unsafe writer.field(1, clientID)
            unsafe writer.field(2, subject)
            unsafe writer.field(3, queueGroup)
            unsafe writer.field(4, inbox)
            unsafe writer.field(5, varintValue(maxInFlight))
            unsafe writer.field(6, varintValue(ackWaitSeconds))
            unsafe writer.field(7, durableName)
            unsafe writer.field(10, varintValue(startPosition.rawValue))
            unsafe writer.field(11, startSequence)
            unsafe writer.field(12, varintValue(startTimeDelta))
        }
    }
}

/// The answer to a `SubscriptionRequest` and to an `UnsubscribeRequest` (nats-streaming.md 2.1).
public struct SubscriptionResponse: Equatable, Sendable {
    /// Where acknowledgements go; empty on error and in the answer to an `UnsubscribeRequest`.
    public var ackInbox: [UInt8] = []
    /// Empty on success.
    public var error: [UInt8] = []

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes; nil when the bytes are not a well-formed message.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 2: unsafe reader.read(key, into: &ackInbox)
                case 3: unsafe reader.read(key, into: &error)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
    }

    /// The message's bytes; none when every field is empty.
    public func encoded() -> [UInt8] {
        let size =
            fieldSize(2, count: ackInbox.count)
            + fieldSize(3, count: error.count)
        return unsafe WireWriter.bytes(size: size) { writer in
            unsafe writer.field(2, ackInbox)
            unsafe writer.field(3, error)
        }
    }
}

/// Where the delivery of a subscription begins (nats-streaming.md 2.1). Other raw values can arrive.
public struct StartPosition: RawRepresentable, Hashable, Sendable {
    /// The enumeration's number on the wire.
    public let rawValue: Int32
    /// Any number, also one that no version of the protocol knows.
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// Only what is published from now on.
    public static let newOnly = StartPosition(rawValue: 0)
    /// From the last message that the channel received.
    public static let lastReceived = StartPosition(rawValue: 1)
    /// From a time, given as nanoseconds before now.
    public static let timeDeltaStart = StartPosition(rawValue: 2)
    /// From a sequence.
    public static let sequenceStart = StartPosition(rawValue: 3)
    /// From the first message that is stored.
    public static let first = StartPosition(rawValue: 4)
}
