/// A publish to a channel: client to `_STAN.pub.<cluster>.<channel>` (nats-streaming.md 2.1).
///
/// The fields are views: into the input after decoding, into the caller's memory before encoding.
/// Strings are bytes and are not validated as UTF-8.
@safe public struct PubMsg {
    /// The publisher's client id.
    public var clientID = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// Correlates the `PubAck` with this publish.
    public var guid = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// The channel.
    public var subject = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// Copied to `MsgProto.reply`.
    public var reply = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// The payload.
    public var data = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// Protocol 1: when not empty it alone identifies the connection.
    public var connectionID = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes in place; nil when the bytes are not a well-formed message.
    /// The fields are valid as long as `bytes`.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        guard unsafe decode(bytes) else { return nil }
    }

    /// The guid of a message that is malformed behind it, for the error that answers it
    /// (nats-streaming.md 3.3); empty if it was not reached.
    public static func guid(ofMalformed bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var message = PubMsg()
        unsafe _ = message.decode(bytes)
        return unsafe message.guid
    }

    private mutating func decode(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &clientID)
                case 2: unsafe reader.read(key, into: &guid)
                case 3: unsafe reader.read(key, into: &subject)
                case 4: unsafe reader.read(key, into: &reply)
                case 5: unsafe reader.read(key, into: &data)
                case 6: unsafe reader.read(key, into: &connectionID)
                default: unsafe reader.skip(key)
                }
            guard understood else { return false }
        }
        return unsafe reader.isAtEnd
    }

    /// Bytes that `encode` writes.
    public var encodedSize: Int {
        unsafe fieldSize(1, count: clientID.count) + fieldSize(2, count: guid.count)
            + fieldSize(3, count: subject.count) + fieldSize(4, count: reply.count)
            + fieldSize(5, count: data.count) + fieldSize(6, count: connectionID.count)
    }

    /// Writes the message to the front of `memory` and returns how many bytes that were.
    /// `memory` must have room for `encodedSize` bytes.
    @discardableResult
    public func encode(into memory: UnsafeMutableRawBufferPointer) -> Int {
        guard memory.count > 0 else {
            precondition(encodedSize == 0, "no memory for a message that is not empty")
            return 0
        }
        var writer = unsafe WireWriter(memory)
        unsafe writer.field(1, clientID)
        unsafe writer.field(2, guid)
        unsafe writer.field(3, subject)
        unsafe writer.field(4, reply)
        unsafe writer.field(5, data)
        unsafe writer.field(6, connectionID)
        return unsafe writer.count
    }
}
