/// The texts of `-ERR`, which clients compare (nats-core.md 1.7).
enum ErrorText {
    static let unknownOperation = "Unknown Protocol Operation"
    static let controlLineTooLong = "maximum control line exceeded"
    static let payloadTooLarge = "Maximum Payload Violation"
    static let invalidSubject = "Invalid Subject"
    static let invalidPublishSubject = "Invalid Publish Subject"
    static let authorizationViolation = "Authorization Violation"
    static let authenticationTimeout = "Authentication Timeout"
    static let tooManyConnections = "maximum connections exceeded"
    static let tooManySubscriptions = "maximum subscriptions exceeded"
    static let invalidProtocol = "invalid client protocol"
    static let noRespondersRequiresHeaders = "no responders requires headers support"
    static let staleConnection = "Stale Connection"
    static let noAdministrator =
        "this client may not delete or purge channels; connect with the token that the broker was given as --admin-auth"

    static func publishViolation(_ subject: UnsafeRawBufferPointer) -> String {
        unsafe "Permissions Violation for Publish to \(quoted(subject))"
    }

    static func replyViolation(_ reply: UnsafeRawBufferPointer) -> String {
        unsafe "Permissions Violation for Publish with Reply of \(quoted(reply))"
    }

    static func subscriptionViolation(_ subject: UnsafeRawBufferPointer, queue: UnsafeRawBufferPointer)
        -> String
    {
        unsafe "Permissions Violation for Subscription to \(quoted(subject)) using queue \(quoted(queue))"
    }

    static func tooManyTokens(_ subject: UnsafeRawBufferPointer) -> String {
        unsafe "Permissions Violation for Subscription to \(quoted(subject)), too many tokens"
    }

    /// In double quotes; quotes, backslashes and what is no printable UTF-8 are escaped as Go's `%q` does.
    static func quoted(_ bytes: UnsafeRawBufferPointer) -> String {
        var text = "\""
        var index = 0
        while index < bytes.count {
            let byte = unsafe bytes[index]
            if byte < 0x80 {
                index += 1
                switch byte {
                case UInt8(ascii: "\""): text += "\\\""
                case UInt8(ascii: "\\"): text += "\\\\"
                case 0x07: text += "\\a"
                case 0x08: text += "\\b"
                case 0x09: text += "\\t"
                case 0x0A: text += "\\n"
                case 0x0B: text += "\\v"
                case 0x0C: text += "\\f"
                case 0x0D: text += "\\r"
                case 0x20..<0x7F: text.unicodeScalars.append(Unicode.Scalar(byte))
                default: text += "\\x" + hex(byte)
                }
                continue
            }
            let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2
            let end = min(index + length, bytes.count)
            if let scalar = unsafe String(validating: bytes[index..<end], as: UTF8.self) {
                text += scalar
                index = end
            } else {
                text += "\\x" + hex(byte)
                index += 1
            }
        }
        return text + "\""
    }

    private static func hex(_ byte: UInt8) -> String {
        (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
}
