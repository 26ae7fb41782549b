/// The answer to a `PubMsg`, on its reply subject (nats-streaming.md 2.1). The fields are views.
@safe public struct PubAck {
    /// The guid of the publish.
    public var guid = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// Empty when the message was stored.
    public var error = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    /// The acknowledgement of a stored message, over the caller's memory.
    public init(guid: UnsafeRawBufferPointer) {
        unsafe self.guid = guid
    }

    /// A refusal over the caller's memory, or a success when `error` is empty.
    public init(guid: UnsafeRawBufferPointer, error: UnsafeRawBufferPointer) {
        unsafe self.guid = guid
        unsafe self.error = error
    }

    /// Decodes in place; nil when the bytes are not a well-formed message.
    /// The fields are valid as long as `bytes`.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &guid)
                case 2: unsafe reader.read(key, into: &error)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
    }

    /// Bytes that `encode` writes.
    public var encodedSize: Int {
        unsafe fieldSize(1, count: guid.count) + fieldSize(2, count: error.count)
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
        unsafe writer.field(1, guid)
        unsafe writer.field(2, error)
        return unsafe writer.count
    }
}
