import BrokerProtocol

/// Why a JSON text is not what it should be; the message is for the one who wrote it.
public struct JSONFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// One sentence.
    public let message: String

    /// A failure.
    public init(_ message: String) { self.message = message }

    /// The message.
    public var description: String { message }
}

/// The members of one JSON object, taken by name and type.
///
/// Requests and events are read with it: both are objects, `null` counts as absent in both. A request calls `finish`,
/// which refuses what nobody asked for; an event does not, because readers of events ignore unknown members.
///
/// ```swift
/// var fields = try JSONFields(parsing: bytes)
/// let name = try fields.requiredString("name")
/// let points = try fields.integer("points")          // nil when absent
/// try fields.finish()
/// ```
public struct JSONFields: Sendable {
    private var members: [String: JSONValue] = [:]
    private var order: [String] = []
    private var taken: Set<String> = []

    /// Reads a text that must be one JSON object, without duplicate keys.
    ///
    /// - Throws: `EOF` for an empty text (the words of the original), else a sentence.
    public init(parsing bytes: [UInt8]) throws(JSONFailure) {
        if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }) {
            throw JSONFailure("EOF")
        }
        let value = unsafe bytes.withUnsafeBytes { unsafe JSONValue(parsing: $0) }
        guard let value else { throw JSONFailure("json: the text is not valid JSON, or nested too deeply") }
        guard case .object(let members) = value else {
            throw JSONFailure("json: an object was expected, not \(Self.kind(value))")
        }
        try self.init(members)
    }

    private init(_ members: [(key: [UInt8], value: JSONValue)]) throws(JSONFailure) {
        for (key, value) in members {
            let name = try Self.text(key, of: "a member's name")
            guard self.members.updateValue(value, forKey: name) == nil else {
                throw JSONFailure("json: duplicate field \(Self.quoted(name))")
            }
            order.append(name)
        }
    }

    /// The string member `name`; nil when it is absent or null.
    ///
    /// - Throws: When it is something else, is not UTF-8, or has a NUL (which no database column can hold).
    public mutating func string(_ name: String) throws(JSONFailure) -> String? {
        guard let value = take(name) else { return nil }
        guard case .string(let bytes) = value else { throw mismatch(name, "a string", value) }
        return try Self.text(bytes, of: Self.quoted(name))
    }

    /// The boolean member `name`; nil when it is absent or null.
    ///
    /// - Throws: When it is something else.
    public mutating func boolean(_ name: String) throws(JSONFailure) -> Bool? {
        guard let value = take(name) else { return nil }
        guard case .boolean(let boolean) = value else { throw mismatch(name, "a boolean", value) }
        return boolean
    }

    /// The member `name` as a whole number of 32 bits, as the database columns have; nil when it is absent or null.
    ///
    /// - Throws: When it is something else, has a fraction, or does not fit.
    public mutating func integer(_ name: String) throws(JSONFailure) -> Int? {
        guard let value = take(name) else { return nil }
        guard case .number(let digits) = value else { throw mismatch(name, "a number", value) }
        guard let number = Int32(String(decoding: digits, as: UTF8.self)) else {
            throw JSONFailure("json: field \(Self.quoted(name)) must be a whole number of 32 bits")
        }
        return Int(number)
    }

    /// The member `name` as a number; nil when it is absent or null.
    ///
    /// - Throws: When it is something else.
    public mutating func number(_ name: String) throws(JSONFailure) -> Double? {
        guard let value = take(name) else { return nil }
        guard case .number(let digits) = value, let number = Double(String(decoding: digits, as: UTF8.self))
        else { throw mismatch(name, "a number", value) }
        return number
    }

    /// The member `name` as an array of strings; nil when it is absent or null.
    ///
    /// - Throws: When it is something else, or an element is.
    public mutating func strings(_ name: String) throws(JSONFailure) -> [String]? {
        guard let value = take(name) else { return nil }
        guard case .array(let elements) = value else { throw mismatch(name, "an array of strings", value) }
        var strings: [String] = []
        strings.reserveCapacity(elements.count)
        for element in elements {
            guard case .string(let bytes) = element else {
                throw mismatch(name, "an array of strings", element)
            }
            strings.append(try Self.text(bytes, of: "an element of \(Self.quoted(name))"))
        }
        return strings
    }

    /// The object member `name`; nil when it is absent or null.
    ///
    /// - Throws: When it is something else, or has a key twice.
    public mutating func object(_ name: String) throws(JSONFailure) -> JSONFields? {
        guard let value = take(name) else { return nil }
        guard case .object(let members) = value else { throw mismatch(name, "an object", value) }
        return try JSONFields(members)
    }

    /// The elements of the array `name`, which must be objects; nil when it is absent or null.
    ///
    /// - Throws: When it is something else.
    public mutating func objects(_ name: String) throws(JSONFailure) -> [JSONFields]? {
        guard let value = take(name) else { return nil }
        guard case .array(let elements) = value else { throw mismatch(name, "an array of objects", value) }
        var objects: [JSONFields] = []
        for element in elements {
            guard case .object(let members) = element else {
                throw mismatch(name, "an array of objects", element)
            }
            objects.append(try JSONFields(members))
        }
        return objects
    }

    /// The string member `name`, which must be there.
    ///
    /// - Throws: Also when it is absent or null.
    public mutating func requiredString(_ name: String) throws(JSONFailure) -> String {
        guard let value = try string(name) else { throw missing(name) }
        return value
    }

    /// The boolean member `name`, which must be there.
    ///
    /// - Throws: Also when it is absent or null.
    public mutating func requiredBoolean(_ name: String) throws(JSONFailure) -> Bool {
        guard let value = try boolean(name) else { throw missing(name) }
        return value
    }

    /// Whether a string is here or an array: audiences of tokens are either.
    public mutating func stringOrStrings(_ name: String) throws(JSONFailure) -> [String]? {
        if case .string = members[name] { return try string(name).map { [$0] } }
        return try strings(name)
    }

    /// Whether the member is there at all, `null` included.
    public func contains(_ name: String) -> Bool { members[name] != nil }

    /// Refuses members that nobody asked for.
    ///
    /// - Throws: `json: unknown field "x"`, the words of the original, for the first of them.
    public func finish() throws(JSONFailure) {
        for name in order where !taken.contains(name) {
            throw JSONFailure("json: unknown field \(Self.quoted(name))")
        }
    }

    private mutating func take(_ name: String) -> JSONValue? {
        taken.insert(name)
        guard let value = members[name], value != .null else { return nil }
        return value
    }

    private func missing(_ name: String) -> JSONFailure {
        JSONFailure("json: field \(Self.quoted(name)) is missing")
    }

    private func mismatch(_ name: String, _ wanted: String, _ value: JSONValue) -> JSONFailure {
        JSONFailure("json: field \(Self.quoted(name)) must be \(wanted), not \(Self.kind(value))")
    }

    private static func text(_ bytes: [UInt8], of what: String) throws(JSONFailure) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw JSONFailure("json: \(what) is not valid UTF-8")
        }
        guard !bytes.contains(0) else { throw JSONFailure("json: \(what) has a NUL character") }
        return text
    }

    /// The name in quotes, cut: it comes from outside and goes into an answer.
    private static func quoted(_ name: String) -> String {
        name.unicodeScalars.count <= 64 ? "\"\(name)\"" : "\"\(name.prefix(64))…\""
    }

    private static func kind(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .boolean: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}
