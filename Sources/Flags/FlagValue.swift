/// What came of reading the text of a flag's value.
public enum FlagReading: Sendable {
    /// The value.
    case value(any FlagValue)
    /// Not of this type; the reason in Go's words, `parse error` or `value out of range`.
    case refused(reason: String)
    /// No size: reported last, see `FlagSet.parse`.
    case notASize
}

/// A type that a flag can have: `Bool`, `Int`, `UInt`, `String`, `Duration`, `ByteCount`.
public protocol FlagValue: Sendable {
    /// Whether the flag takes a value only with `=`.
    static var isBoolean: Bool { get }
    /// The word for the value in the usage text.
    static var placeholder: String { get }
    /// Reads the text of a value.
    static func read(_ text: String) -> FlagReading
    /// The value as it would be typed.
    var flagText: String { get }
    /// Whether this is the type's zero, which Go's usage text leaves out as a default.
    var isZeroFlagValue: Bool { get }
}

extension FlagValue {
    /// Only booleans do without a value.
    public static var isBoolean: Bool { false }
}

extension Bool: FlagValue {
    /// A boolean needs no value.
    public static var isBoolean: Bool { true }
    /// A boolean is typed without a value.
    public static var placeholder: String { "" }
    /// `1 0 t f T F true false TRUE FALSE True False`.
    public static func read(_ text: String) -> FlagReading {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": .value(true)
        case "0", "f", "F", "false", "FALSE", "False": .value(false)
        default: .refused(reason: "parse error")
        }
    }
    /// `true` or `false`.
    public var flagText: String { self ? "true" : "false" }
    /// `false`.
    public var isZeroFlagValue: Bool { !self }
}

extension String: FlagValue {
    /// `string`.
    public static var placeholder: String { "string" }
    /// Any text is a string.
    public static func read(_ text: String) -> FlagReading { .value(text) }
    /// The text itself.
    public var flagText: String { self }
    /// The empty text.
    public var isZeroFlagValue: Bool { isEmpty }
}

extension Int: FlagValue {
    /// `int`.
    public static var placeholder: String { "int" }
    /// Go's base-0 literals: `10`, `-1`, `0x1f`, `0o17`, `017`, `0b11`, `1_000`.
    public static func read(_ text: String) -> FlagReading { readInteger(text, as: Int.self) }
    /// Decimal digits.
    public var flagText: String { String(self) }
    /// `0`.
    public var isZeroFlagValue: Bool { self == 0 }
}

extension UInt: FlagValue {
    /// `uint`.
    public static var placeholder: String { "uint" }
    /// As for `Int`, without a sign.
    public static func read(_ text: String) -> FlagReading { readInteger(text, as: UInt.self) }
    /// Decimal digits.
    public var flagText: String { String(self) }
    /// `0`.
    public var isZeroFlagValue: Bool { self == 0 }
}

extension Duration: FlagValue {
    /// `duration`.
    public static var placeholder: String { "duration" }
    /// Go's durations: `300ms`, `1h30m`, `-1.5s`, a bare `0`.
    public static func read(_ text: String) -> FlagReading {
        guard let nanoseconds = GoDuration.nanoseconds(text) else { return .refused(reason: "parse error") }
        return .value(Duration.nanoseconds(nanoseconds))
    }
    /// As Go prints it: `1h0m0s`.
    public var flagText: String {
        let (seconds, attoseconds) = components
        return GoDuration.text(nanoseconds: seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000)
    }
    /// No time at all.
    public var isZeroFlagValue: Bool { self == .zero }
}

/// A number of bytes, typed with an optional unit: `k m g` are powers of 1000, `kb mb gb` powers of 1024.
public struct ByteCount: Hashable, Sendable, Comparable {
    /// The number of bytes; negative where the command line said so (the caller judges).
    public var bytes: Int

    /// A number of bytes.
    public init(_ bytes: Int) { self.bytes = bytes }

    /// Reads `1024`, `64mb`, `1G`; `nil` when it is no size or does not fit.
    public init?(text: String) {
        let text = text.lowercased()
        let units: [(suffix: String, factor: Int)] = [
            ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30),
            ("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000), ("", 1),
        ]
        guard let unit = units.first(where: { text.hasSuffix($0.suffix) }) else { return nil }
        let digits = text.dropLast(unit.suffix.utf8.count)
        guard let number = Int(digits), digits.utf8.first != UInt8(ascii: "+") else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit.factor)
        guard !overflow else { return nil }
        self.bytes = bytes
    }

    /// The smaller number of bytes comes first.
    public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }
}

extension ByteCount: FlagValue {
    /// `size`.
    public static var placeholder: String { "size" }
    /// See `init?(text:)`.
    public static func read(_ text: String) -> FlagReading {
        ByteCount(text: text).map { .value($0) } ?? .notASize
    }
    /// The number, with the largest unit that divides it.
    public var flagText: String {
        for (suffix, factor) in [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)]
        where bytes != 0 && bytes.isMultiple(of: factor) {
            return "\(bytes / factor)\(suffix)"
        }
        return String(bytes)
    }
    /// `0`.
    public var isZeroFlagValue: Bool { bytes == 0 }
}
