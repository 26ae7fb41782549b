import BrokerProtocol

/// The data of one kind of event.
public protocol EventData: JSONRepresentable {
    /// The kind's name, which is also its channel (services.md 5.2, 5.4).
    static var type: String { get }
    /// The id of what the event is about: events of one id are retried together.
    var entityID: String { get }
    /// Reads the members of `data`; unknown ones are passed over.
    ///
    /// - Throws: `JSONFailure` when a member is missing or of the wrong type.
    init(_ fields: inout JSONFields) throws(JSONFailure)
}

/// Who causes events: what goes into their `metadata`.
public struct EventSource: Sendable, Hashable {
    /// The trace id of the request.
    public let traceID: String
    /// The internal id of the acting user.
    public let userID: String

    /// A source.
    public init(traceID: String, userID: String) {
        self.traceID = traceID
        self.userID = userID
    }
}

/// An event: envelope and data (services.md 5.1).
public struct Event<Data: EventData>: Sendable {
    /// The message's id, by which duplicates are told.
    public let id: String
    /// Who caused it.
    public let source: EventSource
    /// What happened.
    public let data: Data

    /// A new event with an id of its own.
    public init(_ data: Data, by source: EventSource, id: String = .makeUUID()) {
        self.id = id
        self.source = source
        self.data = data
    }

    /// The payload to publish: members in the order in which Go writes them.
    public var payload: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.beginObject("data")
        data.writeFields(to: &json)
        json.endObject()
        json.field("id", id)
        json.beginObject("metadata")
        json.field("traceId", source.traceID)
        json.field("userId", source.userID)
        json.endObject()
        json.field("type", Data.type)
        json.endObject()
        return json.bytes
    }

    /// Reads a payload.
    ///
    /// - Throws: `JSONFailure` when it is undecodable: no JSON object, a member missing or of the wrong type, another
    ///   type than `Data`'s, a time that is none.
    public init(payload: [UInt8]) throws(JSONFailure) {
        var fields = try JSONFields(parsing: payload)
        let envelope = try EventEnvelope(&fields)
        guard envelope.type == Data.type else {
            throw JSONFailure("the type is \"\(envelope.type.prefix(64))\", not \(Data.type)")
        }
        guard var members = try fields.object("data") else {
            throw JSONFailure("json: field \"data\" is missing")
        }
        id = envelope.id
        source = envelope.source
        data = try Data(&members)
    }
}

/// The members of an event beside its data.
struct EventEnvelope {
    let id: String
    let type: String
    let source: EventSource

    init(_ fields: inout JSONFields) throws(JSONFailure) {
        id = try fields.requiredString("id")
        // The column of the inbox; an id that does not fit could not be recorded as handled.
        guard (1...36).contains(id.unicodeScalars.count) else {
            throw JSONFailure("the event's id must have 1 to 36 characters")
        }
        type = try fields.requiredString("type")
        guard var metadata = try fields.object("metadata") else {
            throw JSONFailure("json: field \"metadata\" is missing")
        }
        source = EventSource(
            traceID: try metadata.requiredString("traceId"), userID: try metadata.requiredString("userId"))
    }
}

extension JSONFields {
    /// The member `name`, which must be a time of an event (services.md 5.3).
    ///
    /// - Throws: When it is absent or no such time.
    public mutating func requiredEventTime(_ name: String) throws(JSONFailure) -> Timestamp {
        let text = try requiredString(name)
        guard let time = Timestamp(eventText: text) else {
            throw JSONFailure("json: field \"\(name)\" is no time: \"\(text.prefix(64))\"")
        }
        return time
    }

    /// The member `name`, which must be an id that fits into the columns (36 characters), and not be empty.
    ///
    /// - Throws: When it is absent or no such text.
    public mutating func requiredEventID(_ name: String) throws(JSONFailure) -> String {
        let text = try requiredString(name)
        guard (1...36).contains(text.unicodeScalars.count) else {
            throw JSONFailure("json: field \"\(name)\" must have 1 to 36 characters")
        }
        return text
    }
}
