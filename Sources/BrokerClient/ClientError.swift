/// Why an operation of `Client` failed. The description is for the person who must act.
public enum ClientError: Error, Hashable, Sendable {
    /// The address is none, for the reason given.
    case invalidURL(String, reason: String)
    /// No server could be reached; one line per server tried.
    case noServer([String])
    /// The server wants TLS, which this client does not speak.
    case tlsRequired(server: String)
    /// The server refused the credentials, in its words.
    case authorization(String)
    /// No answer within the time given.
    case timeout
    /// Nobody listens on the subject of a request.
    case noResponders
    /// The connection was lost while waiting.
    case connectionLost
    /// The client was closed or drained.
    case closed
    /// The subject is empty, has an empty token or a blank, or a wildcard where none may be.
    case invalidSubject(String)
    /// The queue group has a blank or is empty.
    case invalidQueueGroup(String)
    /// The header of this name cannot be sent.
    case invalidHeader(String)
    /// The server does not understand headers.
    case headersNotSupported
    /// The message is larger than the server allows; both in bytes, headers included.
    case payloadTooLarge(size: Int, limit: Int)
    /// The server does not permit it, in its words.
    case permission(String)
    /// What the server sent is not the protocol.
    case protocolViolation(String)
    /// The task was cancelled.
    case cancelled
}

extension ClientError: CustomStringConvertible {
    /// One sentence.
    public var description: String {
        switch self {
        case .invalidURL(let url, let reason): "\"\(url)\" is no server address: \(reason)"
        case .noServer(let attempts):
            attempts.isEmpty
                ? "no server to connect to" : "cannot connect: " + attempts.joined(separator: "; ")
        case .tlsRequired(let server): "the server \(server) requires TLS, which is not supported yet"
        case .authorization(let text): "the server refused the credentials: \(text)"
        case .timeout: "timeout"
        case .noResponders: "no responders are available for the request"
        case .connectionLost: "the connection was lost"
        case .closed: "the connection is closed"
        case .invalidSubject(let subject):
            "\"\(subject)\" is no valid subject: tokens joined by dots, none empty, without blanks, wildcards only to subscribe"
        case .invalidQueueGroup(let name): "\"\(name)\" is no valid queue group: it must have no blanks"
        case .invalidHeader(let name):
            "the header \"\(name)\" cannot be sent: its name must be printable without blank and colon, its value one line"
        case .headersNotSupported: "the server does not support headers"
        case .payloadTooLarge(let size, let limit):
            "the message has \(size) bytes, the server takes at most \(limit)"
        case .permission(let text): text
        case .protocolViolation(let reason): "the server does not speak the protocol: \(reason)"
        case .cancelled: "cancelled"
        }
    }
}
