/// Writes JSON as Go's encoder does, which tools of the NATS world expect: members in the order of the
/// calls, `<`, `>` and `&` escaped, bytes that are not UTF-8 as U+FFFD; either on one line or pretty with
/// two blanks.
///
///     var json = JSONWriter(isPretty: true)
///     json.beginObject()
///     json.field("status", "ok")
///     json.beginArray("urls"); json.element("a"); json.endArray()
///     json.endObject()
///     json.bytes
public struct JSONWriter: Sendable {
    /// The text so far, UTF-8.
    public private(set) var bytes: [UInt8] = []
    private let isPretty: Bool
    private var depth = 0
    /// True when the next value is the first one of its object or array.
    private var isFirst = true

    /// A writer that has written nothing. Pretty: a line per value, indented by two blanks a level.
    public init(isPretty: Bool = false) {
        self.isPretty = isPretty
    }

    // MARK: Structure

    /// Opens an object: as the whole text or as an element of an array.
    public mutating func beginObject() { open(UInt8(ascii: "{")) }
    /// Opens an object as the member `key`.
    public mutating func beginObject(_ key: String) { open(UInt8(ascii: "{"), key: key) }
    /// Closes the innermost object.
    public mutating func endObject() { close(UInt8(ascii: "}")) }
    /// Opens an array: as the whole text or as an element of an array.
    public mutating func beginArray() { open(UInt8(ascii: "[")) }
    /// Opens an array as the member `key`.
    public mutating func beginArray(_ key: String) { open(UInt8(ascii: "["), key: key) }
    /// Closes the innermost array.
    public mutating func endArray() { close(UInt8(ascii: "]")) }

    // MARK: Members of an object

    /// A string member.
    public mutating func field(_ key: String, _ value: String) {
        begin(key)
        append(string: value)
    }

    /// A string member given as bytes; what is not UTF-8 is written as U+FFFD.
    public mutating func field(_ key: String, _ value: [UInt8]) {
        begin(key)
        append(string: String(decoding: value, as: UTF8.self))
    }

    /// A string member given as bytes that are lent; what is not UTF-8 is written as U+FFFD.
    public mutating func field(_ key: String, _ value: RawSpan) {
        begin(key)
        append(value)
    }

    /// An integer member.
    public mutating func field(_ key: String, _ value: some BinaryInteger) {
        begin(key)
        bytes.append(contentsOf: String(value).utf8)
    }

    /// A number with a fraction; a whole one is written without.
    public mutating func field(_ key: String, _ value: Double) {
        begin(key)
        let isWhole = value == value.rounded() && value.magnitude < 1e15
        bytes.append(contentsOf: (isWhole ? String(Int(value)) : String(value)).utf8)
    }

    /// A boolean member.
    public mutating func field(_ key: String, _ value: Bool) {
        begin(key)
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    /// A member that is `null`.
    public mutating func nullField(_ key: String) {
        begin(key)
        bytes.append(contentsOf: "null".utf8)
    }

    // MARK: Elements of an array

    /// A string element.
    public mutating func element(_ value: String) {
        begin(nil)
        append(string: value)
    }

    /// A string element given as bytes; what is not UTF-8 is written as U+FFFD.
    public mutating func element(_ value: [UInt8]) {
        element(String(decoding: value, as: UTF8.self))
    }

    /// A string element given as bytes that are lent; what is not UTF-8 is written as U+FFFD.
    public mutating func element(_ value: RawSpan) {
        begin(nil)
        append(value)
    }

    /// An element that is `null`.
    public mutating func nullElement() {
        begin(nil)
        bytes.append(contentsOf: "null".utf8)
    }

    /// An integer element.
    public mutating func element(_ value: some BinaryInteger) {
        begin(nil)
        bytes.append(contentsOf: String(value).utf8)
    }

    // MARK: Writing

    private mutating func begin(_ key: String?) {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        if depth > 0 { breakLine() }
        if let key {
            append(string: key)
            bytes.append(UInt8(ascii: ":"))
            if isPretty { bytes.append(UInt8(ascii: " ")) }
        }
    }

    private mutating func open(_ bracket: UInt8, key: String? = nil) {
        begin(key)
        bytes.append(bracket)
        depth += 1
        isFirst = true
    }

    private mutating func close(_ bracket: UInt8) {
        precondition(depth > 0, "every end has its begin")
        depth -= 1
        // An empty object or array stays on its line.
        if !isFirst { breakLine() }
        bytes.append(bracket)
        isFirst = false
    }

    private mutating func breakLine() {
        guard isPretty else { return }
        bytes.append(UInt8(ascii: "\n"))
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: depth * 2))
    }

    private mutating func append(string: String) {
        var string = string
        if !string.withUTF8({ unsafe appendPlain(UnsafeRawBufferPointer($0)) }) { appendEscaped(string) }
    }

    private mutating func append(_ text: RawSpan) {
        if !(unsafe text.withUnsafeBytes { unsafe appendPlain($0) }) {
            appendEscaped(unsafe text.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) })
        }
    }

    /// Writes a text that needs no escapes, as nearly all do; false, and nothing is written, when it needs some.
    private mutating func appendPlain(_ text: UnsafeRawBufferPointer) -> Bool {
        guard unsafe Self.isPlain(text) else { return false }
        bytes.append(UInt8(ascii: "\""))
        unsafe bytes.append(contentsOf: text)
        bytes.append(UInt8(ascii: "\""))
        return true
    }

    private mutating func appendEscaped(_ string: String) {
        bytes.append(UInt8(ascii: "\""))
        defer { bytes.append(UInt8(ascii: "\"")) }
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": bytes.append(contentsOf: "\\\"".utf8)
            case "\\": bytes.append(contentsOf: "\\\\".utf8)
            case "\n": bytes.append(contentsOf: "\\n".utf8)
            case "\r": bytes.append(contentsOf: "\\r".utf8)
            case "\t": bytes.append(contentsOf: "\\t".utf8)
            case "\u{08}": bytes.append(contentsOf: "\\b".utf8)
            case "\u{0C}": bytes.append(contentsOf: "\\f".utf8)
            case "<", ">", "&", "\u{2028}", "\u{2029}", "\u{00}"..<"\u{20}":
                let hex = String(scalar.value, radix: 16)
                bytes.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - hex.count) + hex).utf8)
            default: bytes.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
            }
        }
    }

    /// Whether a text is written as it is: ASCII characters that need no escapes.
    package static func isPlain(_ text: UnsafeRawBufferPointer) -> Bool {
        guard text.count >= 8 else { return unsafe text.allSatisfy { isPlain($0) } }
        // Eight bytes at a time; the last ones together with some that were looked at before.
        var escapes: UInt64 = 0
        for offset in stride(from: 0, to: text.count - 8, by: 8) {
            unsafe escapes |= Self.escapes(in: text.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        unsafe escapes |= Self.escapes(
            in: text.loadUnaligned(fromByteOffset: text.count - 8, as: UInt64.self))
        return escapes & Self.highBits == 0
    }

    private static let highBits: UInt64 = 0x8080_8080_8080_8080

    /// The highest bit of a byte is set if one is not written as it is: that one, or one above it (a borrow may run on).
    @inline(__always)
    private static func escapes(in word: UInt64) -> UInt64 {
        // Some pairs differ in one bit: < and >, " and &.
        word | (word &- each(0x20)) | zeros(word | each(0x02), each(UInt8(ascii: ">")))
            | zeros(word | each(0x04), each(UInt8(ascii: "&"))) | zeros(word, each(UInt8(ascii: "\\")))
    }

    /// The highest bit of each byte that is the same in both, where none below it is.
    @inline(__always)
    private static func zeros(_ one: UInt64, _ other: UInt64) -> UInt64 {
        let difference = one ^ other
        return (difference &- each(0x01)) & ~difference
    }

    @inline(__always)
    private static func each(_ byte: UInt8) -> UInt64 { UInt64(byte) &* 0x0101_0101_0101_0101 }

    /// Whether a byte is written as it is: an ASCII character that needs no escape.
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte < 0x80 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
            && byte != UInt8(ascii: "<") && byte != UInt8(ascii: ">") && byte != UInt8(ascii: "&")
    }
}
