import BrokerProtocol

/// A value that is written as one JSON object.
public protocol JSONRepresentable: Sendable {
    /// Writes the members; the braces are there already.
    func writeFields(to json: inout JSONWriter)
}

extension JSONRepresentable {
    /// The object as UTF-8.
    public var jsonBytes: [UInt8] {
        var json = JSONWriter()
        write(to: &json)
        return json.bytes
    }

    func write(to json: inout JSONWriter) {
        json.beginObject()
        writeFields(to: &json)
        json.endObject()
    }
}

extension Sequence where Element: JSONRepresentable {
    /// The objects as one JSON array.
    public var jsonBytes: [UInt8] {
        var json = JSONWriter()
        json.beginArray()
        for element in self { element.write(to: &json) }
        json.endArray()
        return json.bytes
    }
}

extension JSONWriter {
    /// A string member, or null.
    public mutating func field(_ key: String, _ value: String?) {
        if let value { field(key, value) } else { nullField(key) }
    }

    /// A point in time as HTTP bodies have it: RFC 3339 in UTC, microseconds.
    public mutating func field(_ key: String, _ value: Timestamp) { field(key, value.rfc3339) }

    /// An array of strings.
    public mutating func field(_ key: String, _ values: [String]) {
        beginArray(key)
        for value in values { element(value) }
        endArray()
    }
}
