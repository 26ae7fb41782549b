/// The headers of a message: ordered, keys may repeat, case is kept (nats-core.md 1.8).
///
/// ```swift
/// var headers: Headers = ["Trace": "1"]
/// headers.append("Trace", "2")
/// headers["Trace"]          // "1", the first
/// headers.all("Trace")      // ["1", "2"]
/// ```
public struct Headers: Hashable, Sendable {
    /// The lines in order.
    public private(set) var fields: [Field] = []
    /// The status of a message of the server, for instance 503; nil for a message of a client.
    public internal(set) var status: Int?

    /// One line.
    public struct Field: Hashable, Sendable {
        /// The key, its case as sent.
        public var name: String
        /// The value without surrounding blanks.
        public var value: String
    }

    /// No headers.
    public init() {}

    /// Whether there is no line and no status.
    public var isEmpty: Bool { fields.isEmpty && status == nil }

    /// Adds a line at the end.
    public mutating func append(_ name: String, _ value: String) {
        fields.append(Field(name: name, value: value))
    }

    /// The first value of a key; assigning replaces every line of it.
    public subscript(_ name: String) -> String? {
        get { fields.first { $0.name == name }?.value }
        set {
            fields.removeAll { $0.name == name }
            if let newValue { append(name, newValue) }
        }
    }

    /// Every value of a key, in order.
    public func all(_ name: String) -> [String] {
        fields.filter { $0.name == name }.map(\.value)
    }
}

extension Headers: ExpressibleByDictionaryLiteral {
    /// Lines in the order of the literal.
    public init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements { append(name, value) }
    }
}

extension Headers {
    /// The header block for the wire; nil for no headers.
    ///
    /// - Throws: `.invalidHeader` for a key that is empty or has a colon, blank or control character, and for a value
    ///   with a line end: they would forge other lines.
    func encoded() throws(ClientError) -> [UInt8] {
        var block = Array("NATS/1.0\r\n".utf8)
        for field in fields {
            guard !field.name.isEmpty,
                field.name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") })
            else { throw .invalidHeader(field.name) }
            guard !field.value.utf8.contains(where: { $0 == 0x0D || $0 == 0x0A }) else {
                throw .invalidHeader(field.name)
            }
            block += field.name.utf8
            block += ": ".utf8
            block += field.value.utf8
            block += "\r\n".utf8
        }
        block += "\r\n".utf8
        return block
    }

    /// Reads a header block. What is no header line is skipped: the server does not check them either.
    init(block: [UInt8]) {
        for (index, line) in block.split(separator: UInt8(ascii: "\n")).enumerated() {
            let text = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            if index == 0 {
                let words = text.split(separator: UInt8(ascii: " "), maxSplits: 2)
                if words.count >= 2 { status = Int(String(decoding: words[1], as: UTF8.self)) }
                if words.count == 3 { append("Description", String(decoding: words[2], as: UTF8.self)) }
                continue
            }
            guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let value = text[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
            append(String(decoding: text[..<colon], as: UTF8.self), String(decoding: value, as: UTF8.self))
        }
    }
}
