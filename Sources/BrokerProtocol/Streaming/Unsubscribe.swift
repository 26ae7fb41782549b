/// Ends a subscription, or closes it and leaves its durable in place, by the subject that it is sent to
/// (nats-streaming.md 2.1).
public struct UnsubscribeRequest: Equatable, Sendable {
    /// The subscription's client.
    public var clientID: [UInt8] = []
    /// The channel.
    public var subject: [UInt8] = []
    /// The subscription's ack inbox, or its message inbox as fallback.
    public var inbox: [UInt8] = []
    /// Not used by the broker.
    public var durableName: [UInt8] = []

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes; nil when the bytes are not a well-formed message.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &clientID)
                case 2: unsafe reader.read(key, into: &subject)
                case 3: unsafe reader.read(key, into: &inbox)
                case 4: unsafe reader.read(key, into: &durableName)
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
            + fieldSize(2, count: subject.count)
            + fieldSize(3, count: inbox.count)
            + fieldSize(4, count: durableName.count)
        return unsafe WireWriter.bytes(size: size) { writer in
            unsafe writer.field(1, clientID)
            unsafe writer.field(2, subject)
            unsafe writer.field(3, inbox)
            unsafe writer.field(4, durableName)
        }
    }
}
