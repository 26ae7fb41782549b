/// Why an operation of `StreamingClient` failed. The description is for the person who must act.
public enum StreamingError: Error, Hashable, Sendable {
    /// Nobody answered the connect request: no streaming server, or another cluster id.
    case noStreamingServer(clusterID: String)
    /// The server did not answer a request (what it was for) in time.
    case timeout(String)
    /// The server refused, in its words, for instance `stan: clientID already registered`.
    case refused(String)
    /// No acknowledgement came in time. The message may be stored all the same; publishing it again may store it twice.
    case publishTimeout
    /// The connection was lost before the acknowledgement came. The message may be stored all the same; publishing it again
    /// may store it twice.
    case acknowledgementLost
    /// The server does not know this client any more; connect anew.
    case sessionLost(String)
    /// The client was closed.
    case closed
    /// Only letters, digits, `-` and `_` make a client id.
    case invalidClientID(String)
    /// The name cannot be a channel's.
    case invalidChannel(String)
    /// The server is too old for this.
    case notSupported(String)
    /// The server's answer cannot be read.
    case malformedResponse(String)
    /// The connection to the server failed.
    case connection(ClientError)
    /// The task was cancelled.
    case cancelled

    /// A failure of the core client, told apart from a cancellation.
    init(_ error: ClientError) {
        switch error {
        case .cancelled: self = .cancelled
        case .closed: self = .closed
        default: self = .connection(error)
        }
    }
}

extension StreamingError: CustomStringConvertible {
    /// One sentence.
    public var description: String {
        switch self {
        case .noStreamingServer(let clusterID):
            "no streaming server with the cluster id \"\(clusterID)\" answers (stan: connect request timeout)"
        case .timeout(let what): "stan: \(what) request timeout"
        case .refused(let text): text
        case .publishTimeout: "stan: publish ack timeout; the message may be stored"
        case .acknowledgementLost:
            "the connection was lost before the acknowledgement came; the message may be stored"
        case .sessionLost(let reason): "the streaming session is lost: \(reason)"
        case .closed: "stan: connection closed"
        case .invalidClientID(let id):
            "\"\(id)\" is no valid client id: only letters, digits, - and _ are allowed, and at least one"
        case .invalidChannel(let name):
            "\"\(name)\" is no valid channel: tokens joined by dots, none empty, without blanks, / and wildcards"
        case .notSupported(let what): "stan: not supported by server: \(what)"
        case .malformedResponse(let what): "the server's answer to the \(what) request cannot be read"
        case .connection(let error): error.description
        case .cancelled: "cancelled"
        }
    }
}
