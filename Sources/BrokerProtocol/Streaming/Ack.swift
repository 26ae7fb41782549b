/// A subscriber's acknowledgement of one message, client to ack inbox (nats-streaming.md 2.1).
@safe public struct Ack {
    /// The channel; a view.
    public var subject = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// The message's sequence in its channel.
    public var sequence: UInt64 = 0

    /// An acknowledgement over the caller's memory.
    public init(subject: UnsafeRawBufferPointer, sequence: UInt64) {
        unsafe self.subject = subject
        self.sequence = sequence
    }

    /// Decodes in place; nil when the bytes are not a well-formed message.
    /// `subject` is valid as long as `bytes`.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &subject)
                case 2: unsafe reader.read(key, into: &sequence)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
    }

    /// Bytes that `encode` writes.
    public var encodedSize: Int {
        unsafe fieldSize(1, count: subject.count) + fieldSize(2, sequence)
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
        unsafe writer.field(1, subject)
        unsafe writer.field(2, sequence)
        return unsafe writer.count
    }
}
