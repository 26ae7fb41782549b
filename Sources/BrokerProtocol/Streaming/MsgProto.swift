/// One message of a channel on its way to a subscriber's inbox (nats-streaming.md 2.1).
/// The byte fields are views: into the input after decoding, into the caller's memory before encoding.
@safe public struct MsgProto {
    /// Per channel, from 1.
    public var sequence: UInt64 = 0
    /// The channel.
    public var subject = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// From the `PubMsg`.
    public var reply = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// The payload.
    public var data = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// When the server received it: nanoseconds since 1970.
    public var timestamp: Int64 = 0
    /// True for a copy that may have been delivered before.
    public var redelivered = false
    /// 0 on first delivery, at least 1 when `redelivered`.
    public var redeliveryCount: UInt32 = 0

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes in place; nil when the bytes are not a well-formed message.
    /// The byte fields are valid as long as `bytes`.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &sequence)
                case 2: unsafe reader.read(key, into: &subject)
                case 3: unsafe reader.read(key, into: &reply)
                case 4: unsafe reader.read(key, into: &data)
                case 5: unsafe reader.read(key, into: &timestamp)
                case 6: unsafe reader.read(key, into: &redelivered)
                case 7: unsafe reader.read(key, into: &redeliveryCount)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
    }

    /// Bytes that `encode` writes.
    public var encodedSize: Int {
        unsafe fieldSize(1, sequence) + fieldSize(2, count: subject.count)
            + fieldSize(3, count: reply.count) + fieldSize(4, count: data.count)
            + fieldSize(5, varintValue(timestamp)) + fieldSize(6, redelivered ? 1 : 0)
            + fieldSize(7, UInt64(redeliveryCount))
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
        unsafe writer.field(1, sequence)
        unsafe writer.field(2, subject)
        unsafe writer.field(3, reply)
        unsafe writer.field(4, data)
        unsafe writer.field(5, varintValue(timestamp))
        unsafe writer.field(6, redelivered ? 1 : 0)
        unsafe writer.field(7, UInt64(redeliveryCount))
        return unsafe writer.count
    }
}
