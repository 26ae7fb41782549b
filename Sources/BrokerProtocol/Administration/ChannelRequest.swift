/// A request of this broker's own API about one channel, which NATS Streaming has no words for.
///
/// It is published to `$BROKER.API.CHANNEL.<VERB>.<cluster id>.<channel>` with a reply subject, VERB being
/// `DELETE` or `PURGE`. The payload is a JSON object, or nothing where the defaults are meant. The answer,
/// sent when the change is on disk, is a JSON object: with `error`, a sentence, when nothing was done.
///
///     DELETE  {"force": true}                    also with subscriptions that are online; default false
///     PURGE   {"up_to_sequence": 100}            messages up to this sequence, it included
///             {"older_than_ns": 3600000000000}   messages stored longer ago than this
///             {}                                 every message
public enum ChannelRequest: Equatable, Sendable {
    /// Which messages a purge removes.
    public enum Extent: Equatable, Sendable {
        /// Every message stored when the request arrives.
        case all
        /// Those up to a sequence, it included.
        case upTo(sequence: UInt64)
        /// Those stored more than so many nanoseconds ago.
        case olderThan(nanoseconds: UInt64)
    }

    /// What a request is about, as its subject says.
    public enum Verb: String, CaseIterable, Sendable {
        /// `ChannelRequest.delete`.
        case delete = "DELETE"
        /// `ChannelRequest.purge`.
        case purge = "PURGE"

        /// What stands before the channel in the subject.
        public func prefix(clusterID: [UInt8]) -> [UInt8] {
            Array("\(ChannelRequest.prefix)CHANNEL.\(rawValue).".utf8) + clusterID + [UInt8(ascii: ".")]
        }
    }

    /// The channel ends with its messages and durables; `force`: also while somebody is subscribed.
    case delete(force: Bool)
    /// Messages are removed; the channel goes on with its next sequence.
    case purge(Extent)

    /// What every subject of the broker's own API begins with.
    public static let prefix = "$BROKER.API."

    /// The kind of request.
    public var verb: Verb {
        switch self {
        case .delete: .delete
        case .purge: .purge
        }
    }

    /// The payload of the request.
    public var payload: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        switch self {
        case .delete(let force): if force { json.field("force", true) }
        case .purge(.all): break
        case .purge(.upTo(let sequence)): json.field("up_to_sequence", sequence)
        case .purge(.olderThan(let nanoseconds)): json.field("older_than_ns", nanoseconds)
        }
        json.endObject()
        return json.bytes
    }

    /// Reads the payload of a request.
    ///
    /// - Throws: what is wrong with it.
    public init(_ verb: Verb, payload: UnsafeRawBufferPointer) throws(ChannelRequestError) {
        var members: [(key: [UInt8], value: JSONValue)] = []
        if payload.count > 0 {
            guard case .object(let found) = unsafe JSONValue(parsing: payload) else {
                throw ChannelRequestError("the request should be a JSON object, like {} or \(verb.example)")
            }
            members = found
        }
        switch verb {
        case .delete: self = .delete(force: try Self.force(members))
        case .purge: self = .purge(try Self.extent(members))
        }
    }

    private static func force(
        _ members: [(key: [UInt8], value: JSONValue)]
    ) throws(ChannelRequestError) -> Bool {
        var force = false
        for (key, value) in members {
            guard String(decoding: key, as: UTF8.self) == "force" else { throw unknown(key, .delete) }
            guard case .boolean(let flag) = value else {
                throw ChannelRequestError("\"force\" should be true or false")
            }
            force = flag
        }
        return force
    }

    private static func extent(
        _ members: [(key: [UInt8], value: JSONValue)]
    ) throws(ChannelRequestError) -> Extent {
        var extent = Extent.all
        for (key, value) in members {
            let name = String(decoding: key, as: UTF8.self)
            guard name == "up_to_sequence" || name == "older_than_ns" else { throw unknown(key, .purge) }
            guard extent == .all else {
                throw ChannelRequestError("give \"up_to_sequence\" or \"older_than_ns\", once")
            }
            guard case .number(let digits) = value,
                let number = UInt64(String(decoding: digits, as: UTF8.self)), number > 0
            else { throw ChannelRequestError("\"\(name)\" should be a whole number of 1 and above") }
            extent = name == "up_to_sequence" ? .upTo(sequence: number) : .olderThan(nanoseconds: number)
        }
        return extent
    }

    private static func unknown(_ key: [UInt8], _ verb: Verb) -> ChannelRequestError {
        ChannelRequestError(
            "\"\(String(decoding: key, as: UTF8.self))\" is nothing that can be asked for here; "
                + "a request is like {} or \(verb.example)")
    }
}

extension ChannelRequest.Verb {
    fileprivate var example: String {
        switch self {
        case .delete: "{\"force\":true}"
        case .purge: "{\"up_to_sequence\":100}"
        }
    }
}

/// Why a request about a channel is none: a sentence that says what would be right.
public struct ChannelRequestError: Error, Equatable, Sendable {
    /// The sentence.
    public let text: String

    init(_ text: String) { self.text = text }
}
