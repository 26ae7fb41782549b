/// A message that a subscription received.
public struct Message: Hashable, Sendable {
    /// The subject that it was published to.
    public var subject: String
    /// Where an answer goes; nil for none.
    public var reply: String?
    /// Its headers, empty for none.
    public var headers: Headers
    /// Its payload.
    public var payload: [UInt8]

    /// The payload as text; bytes that are not UTF-8 become U+FFFD.
    public var text: String { String(decoding: payload, as: UTF8.self) }

    /// Bytes that it counts for in a subscription's buffer: what it carries and about what keeping it takes.
    var cost: Int { subject.utf8.count + (reply?.utf8.count ?? 0) + payload.count + 128 }
}

extension Message {
    /// Copies a message out of the input.
    init(_ message: ServerMessage) {
        unsafe self.init(
            subject: String(decoding: message.subject, as: UTF8.self),
            reply: message.reply.isEmpty ? nil : String(decoding: message.reply, as: UTF8.self),
            headers: message.headers.isEmpty ? Headers() : Headers(block: [UInt8](message.headers)),
            payload: [UInt8](message.payload))
    }
}
