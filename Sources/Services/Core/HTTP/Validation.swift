import Glibc
import Synchronization

/// Collects what is wrong with the fields of a request, so that one answer names all of it.
///
/// ```swift
/// var validation = Validation()
/// let name = validation.text("name", try fields.string("name"), 1...36)
/// try validation.finish()
/// ```
public struct Validation: Sendable {
    private var fields: [RequestError.Field] = []

    /// Nothing wrong so far.
    public init() {}

    /// Notes a field's error.
    public mutating func refuse(_ name: String, _ error: String) {
        fields.append(RequestError.Field(name, error))
    }

    /// A text that must be there, without blanks around it, with so many characters (Unicode scalars, as the columns
    /// count them).
    public mutating func text(_ name: String, _ value: String?, _ length: ClosedRange<Int>) -> String {
        guard let value else {
            refuse(name, "\(name) is a required field")
            return ""
        }
        let text = value.trimmed
        if text.isEmpty, length.lowerBound > 0 {
            refuse(name, "\(name) is a required field")
        } else {
            limit(name, text, length)
        }
        return text
    }

    /// A text that may be absent; when it is there, as `text(_:_:_:)`.
    public mutating func optionalText(_ name: String, _ value: String?, _ length: ClosedRange<Int>) -> String?
    {
        value.map { text(name, $0, length) }
    }

    /// An id that must be a UUID, or may be empty when `mayBeEmpty`; lower case in return.
    public mutating func id(_ name: String, _ value: String?, mayBeEmpty: Bool = false) -> String {
        let text = value ?? ""
        if text.isEmpty {
            if !mayBeEmpty { refuse(name, "\(name) is a required field") }
            return ""
        }
        guard let id = text.canonicalUUID else {
            refuse(name, "\(name) must be a valid UUID")
            return ""
        }
        return id
    }

    /// A number that must lie in a range.
    public mutating func range(_ name: String, _ value: Int?, _ range: ClosedRange<Int>) -> Int? {
        if let value, !range.contains(value) {
            refuse(
                name,
                value < range.lowerBound
                    ? "\(name) must be \(range.lowerBound) or greater"
                    : "\(name) must be \(range.upperBound) or less")
        }
        return value
    }

    private mutating func limit(_ name: String, _ text: String, _ length: ClosedRange<Int>) {
        let count = text.unicodeScalars.count
        if count > length.upperBound {
            refuse(name, "\(name) must be a maximum of \(length.upperBound) characters in length")
        } else if count < length.lowerBound {
            refuse(name, "\(name) must be at least \(length.lowerBound) characters in length")
        }
    }

    /// Ends the collection.
    ///
    /// - Throws: `RequestError.validation` when something was wrong.
    public func finish() throws(RequestError) {
        if !fields.isEmpty { throw .validation(fields) }
    }
}

extension String {
    /// The text without white space at both ends.
    public var trimmed: String {
        // Most texts have nothing to trim.
        if let first = utf8.first, let last = utf8.last, 0x21...0x7E ~= first, 0x21...0x7E ~= last {
            return self
        }
        let scalars = unicodeScalars
        guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
            let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
        else { return "" }
        return String(scalars[first...last])
    }

    /// The text in lower case if it is a UUID of 36 characters (`8-4-4-4-12` hexadecimal digits); nil when it is none.
    public var canonicalUUID: String? {
        guard utf8.count == 36 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(36)
        for (index, byte) in utf8.enumerated() {
            switch (index, byte) {
            case (8, 0x2D), (13, 0x2D), (18, 0x2D), (23, 0x2D): bytes.append(byte)
            case (8, _), (13, _), (18, _), (23, _): return nil
            case (_, 0x30...0x39), (_, 0x61...0x66): bytes.append(byte)
            case (_, 0x41...0x46): bytes.append(byte + 0x20)
            default: return nil
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A new random UUID (version 4), lower case.
    public static func makeUUID() -> String {
        let (high, low) = RandomHalves.shared.withLock { ($0.next(), $0.next()) }
        return makeUUID(high: high, low: low)
    }

    static func makeUUID(high: UInt64, low: UInt64) -> String {
        let high = high & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
        let low = low & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        return unsafe String(unsafeUninitializedCapacity: 36) { bytes in
            var count = 0
            for place in 0..<32 {
                if place == 8 || place == 12 || place == 16 || place == 20 {
                    unsafe bytes[count] = UInt8(ascii: "-")
                    count += 1
                }
                let half = place < 16 ? high : low
                let digit = UInt8(truncatingIfNeeded: half >> UInt64((15 - place % 16) * 4) & 0xF)
                unsafe bytes[count] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
                count += 1
            }
            return count
        }
    }
}

/// Random numbers of the system, as many as one call of it gives: each request takes two, and a call costs a microsecond.
private struct RandomHalves {
    static let shared = Mutex(RandomHalves())
    /// 256 bytes (getentropy(3)).
    private static let count = 32
    private var numbers: [UInt64] = []

    mutating func next() -> UInt64 {
        if let number = numbers.popLast() { return number }
        numbers = unsafe Array(unsafeUninitializedCapacity: Self.count) { buffer, count in
            let status = unsafe getentropy(buffer.baseAddress, Self.count * MemoryLayout<UInt64>.size)
            precondition(status == 0, "up to 256 random bytes are always to be had (getentropy(3))")
            count = Self.count
        }
        return numbers.removeLast()
    }
}
