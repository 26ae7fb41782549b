import Postgres

/// A point in time to the microsecond, in UTC: what a column `TIMESTAMP WITHOUT TIME ZONE` of the services holds.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Microseconds since 1970.
    public var microseconds: Int64

    /// A point in time.
    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// The earlier one comes first.
    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.microseconds < right.microseconds
    }

    /// A point so much later.
    public static func + (left: Timestamp, right: Duration) -> Timestamp {
        let (seconds, attoseconds) = right.components
        return Timestamp(
            microseconds: left.microseconds &+ seconds &* 1_000_000 &+ attoseconds / 1_000_000_000_000)
    }

    /// As HTTP bodies have it: `2021-05-16T20:36:42.105449Z`, the fraction without trailing zeros.
    public var rfc3339: String { text(separator: "T", suffix: "Z") }

    /// As events have it (services.md 5.3): `2021-05-16 20:36:42.105449 +0000 UTC`, Go's default form.
    public var eventText: String { text(separator: " ", suffix: " +0000 UTC") }

    /// Date, separator, time, fraction without trailing zeros, suffix. Put together in one array of bytes, because every
    /// row of an answer has two of these.
    private func text(separator: Unicode.Scalar, suffix: String) -> String {
        let dayLength: Int64 = 86_400_000_000
        let rest = microseconds % dayLength
        let inDay = Int(rest < 0 ? rest + dayLength : rest)
        let date = CivilDate(days: Int((microseconds - Int64(inDay)) / dayLength))
        let seconds = inDay / 1_000_000
        var bytes: [UInt8] = []
        bytes.reserveCapacity(40)
        // The year before 1 is 1 BC, as PostgreSQL has it; no service has such times.
        let year = date.year > 0 ? date.year : 1 - date.year
        if year > 9_999 { bytes += String(year / 10_000).utf8 }
        Self.append(year / 100 % 100, to: &bytes)
        Self.append(year % 100, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.append(date.month, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.append(date.day, to: &bytes)
        bytes.append(UInt8(ascii: separator))
        Self.append(seconds / 3_600, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.append(seconds / 60 % 60, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.append(seconds % 60, to: &bytes)
        let fraction = inDay % 1_000_000
        if fraction > 0 {
            bytes.append(UInt8(ascii: "."))
            Self.append(fraction / 10_000, to: &bytes)
            Self.append(fraction / 100 % 100, to: &bytes)
            Self.append(fraction % 100, to: &bytes)
            while bytes.last == UInt8(ascii: "0") { bytes.removeLast() }
        }
        bytes += suffix.utf8
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Two digits.
    private static func append(_ number: Int, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "0") + UInt8(number / 10))
        bytes.append(UInt8(ascii: "0") + UInt8(number % 10))
    }
}

extension Timestamp: PostgresEncodable, PostgresDecodable {
    /// The text with an offset, which a column without time zone passes over: it is UTC on both sides.
    public var postgresParameter: PostgresParameter {
        .text(TimestampText.write(microseconds: microseconds))
    }

    /// Reads `timestamp` as UTC, and `timestamptz`.
    public init(postgresCell cell: PostgresCell) throws {
        let common = unsafe cell.withBytes { unsafe Self.microseconds(ofCommon: $0) }
        if let common, let common {
            microseconds = common
            return
        }
        guard let text = cell.text, let microseconds = TimestampText.microseconds(text) else {
            throw cell.mismatch("it is no point in time")
        }
        self.microseconds = microseconds
    }

    /// The form that all rows of the services have, `2021-05-16 20:36:42.105449` with a fraction or none; nil for others.
    /// Read in place, because every row of an answer has two of these.
    private static func microseconds(ofCommon text: UnsafeRawBufferPointer) -> Int64? {
        guard text.count >= 19, text.count <= 26 else { return nil }
        /// The number of two digits at a place; negative for anything else.
        func pair(_ place: Int) -> Int {
            let (tens, ones) = unsafe (Int(text[place]) - 0x30, Int(text[place + 1]) - 0x30)
            return (0...9).contains(tens) && (0...9).contains(ones) ? tens * 10 + ones : -1
        }
        func has(_ mark: Unicode.Scalar, at place: Int) -> Bool { unsafe text[place] == UInt8(ascii: mark) }
        guard has("-", at: 4), has("-", at: 7), has(" ", at: 10), has(":", at: 13), has(":", at: 16) else {
            return nil
        }
        let (century, year, month, day) = (pair(0), pair(2), pair(5), pair(8))
        let (hour, minute, second) = (pair(11), pair(14), pair(17))
        guard century >= 0, year >= 0, (1...12).contains(month), (1...31).contains(day), hour >= 0,
            minute >= 0,
            second >= 0
        else { return nil }
        var fraction = 0
        if text.count > 19 {
            guard has(".", at: 19), text.count > 20 else { return nil }
            for place in 20..<26 {
                let digit = unsafe place < text.count ? Int(text[place]) - 0x30 : 0
                guard (0...9).contains(digit) else { return nil }
                fraction = fraction * 10 + digit
            }
        }
        let days = CivilDate.days(year: century * 100 + year, month: month, day: day)
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second
        return Int64(seconds) * 1_000_000 + Int64(fraction)
    }
}
