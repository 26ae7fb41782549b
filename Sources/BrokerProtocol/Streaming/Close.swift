/// Asks the broker to forget a client (nats-streaming.md 2.1).
public struct CloseRequest: Equatable, Sendable {
    /// The client to be forgotten.
    public var clientID: [UInt8] = []

    /// A message with empty fields, to be filled and encoded.
    public init() {}

    /// Decodes; nil when the bytes are not a well-formed message.
    public init?(decoding bytes: UnsafeRawBufferPointer) {
        var reader = unsafe WireReader(bytes)
        while let key = unsafe reader.key() {
            let understood =
                switch key.number {
                case 1: unsafe reader.read(key, into: &clientID)
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
        return unsafe WireWriter.bytes(size: size) { writer in
            unsafe writer.field(1, clientID)
        }
    }
}

/// The answer to a `CloseRequest` (nats-streaming.md 2.1); empty bytes on success.
public struct CloseResponse: Equatable, Sendable {
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
                case 1: unsafe reader.read(key, into: &error)
                default: unsafe reader.skip(key)
                }
            guard understood else { return nil }
        }
        guard unsafe reader.isAtEnd else { return nil }
    }

    /// The message's bytes; none when every field is empty.
    public func encoded() -> [UInt8] {
        let size =
            fieldSize(1, count: error.count)
        return unsafe WireWriter.bytes(size: size) { writer in
            unsafe writer.field(1, error)
        }
    }
}
