/// One operation of a client, as `OperationParser` found it (nats-core.md 1.2).
///
/// One value is reused for operation after operation; only the fields that its `kind` names are set. The
/// views are valid until the parser is called again or the input goes away.
@safe public struct Operation {
    /// The operations that a client may send.
    public enum Kind: UInt8, Sendable {
        /// `PUB` and `HPUB`: `subject`, `reply`, `headerSize`, `payload`, `tail`.
        case publish
        /// `SUB`: `subject`, `queue`, `sid`.
        case subscribe
        /// `UNSUB`: `sid`, `maximum`.
        case unsubscribe
        /// `CONNECT`: `argument` is the JSON.
        case connect
        /// `PING`.
        case ping
        /// `PONG`.
        case pong
        /// `INFO`: `argument` is the JSON.
        case info
        /// `+OK`.
        case ok
        /// `-ERR`: `argument` is the text.
        case error
    }

    /// Which operation it is.
    public var kind = Kind.ping
    /// `PUB`, `HPUB`, `SUB`: the subject, not validated.
    public var subject = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// `PUB`, `HPUB`: the reply subject, empty for none.
    public var reply = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// `SUB`: the queue group, empty for none.
    public var queue = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// `SUB`, `UNSUB`: the client's own name for the subscription.
    public var sid = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// `PUB`, `HPUB`: the header block and the payload.
    public var payload = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// `HPUB`: bytes of `payload` that are the header block. `PUB`: -1.
    public var headerSize = -1
    /// `PUB`, `HPUB`: the bytes from the reply (or, without one, the first size) to the end of the payload
    /// exactly as a `MSG` or `HMSG` to a subscriber has them; empty when the client's line was spaced or
    /// ended differently, so that they must be written anew.
    public var tail = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// `PUB`, `HPUB`: the size fields as received, with a blank between them.
    public var sizes = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    /// `UNSUB`: messages since the `SUB` after which the subscription ends; 0 = at once.
    public var maximum = 0
    /// `CONNECT`, `INFO`, `-ERR`: the rest of the line.
    public var argument = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    /// A value to be filled by the parser.
    public init() {}
}

/// What is wrong with a client's bytes (nats-core.md 1.7). Every one of them ends the connection.
public enum ParseFailure: Equatable, Sendable {
    /// No operation begins like this, or a payload is not followed by CR LF.
    case unknownOperation
    /// The arguments of `operation` are too few, too many, or no sizes.
    case badArguments(operation: Operation.Kind)
    /// More argument bytes than `OperationLimits.controlLine`.
    case controlLineTooLong
    /// A message of `size` bytes, above `OperationLimits.payload`.
    case payloadTooLarge(size: Int)
}

/// Bounds of what a client may send (nats-core.md 1.4).
public struct OperationLimits: Sendable {
    /// Bytes of arguments on one line.
    public var controlLine: Int
    /// Bytes of header block and payload; `Int.max` = unlimited.
    public var payload: Int

    /// Limits in bytes.
    public init(controlLine: Int = 4096, payload: Int = 1_048_576) {
        self.controlLine = controlLine
        self.payload = payload
    }
}

/// The part of the input that was not parsed yet.
@safe public struct InputCursor {
    /// The next byte.
    public internal(set) var position: UnsafePointer<UInt8>
    /// One past the last byte.
    public let end: UnsafePointer<UInt8>

    /// A cursor over `bytes`, which must outlive it; nil when there are none.
    public init?(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return nil }
        unsafe position = base.assumingMemoryBound(to: UInt8.self)
        unsafe end = position + bytes.count
    }

    /// Bytes that are left.
    public var count: Int { unsafe end - position }

    /// The bytes that are left.
    public var rest: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: position, count: count)
    }

    /// Drops what is left.
    public mutating func skipAll() { unsafe position = end }
}
