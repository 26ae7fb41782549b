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
        Self.append(date.year > 0 ? date.year : 1 - date.year, width: 4, to: &bytes)
        for number in [date.month, date.day] {
            bytes.append(UInt8(ascii: "-"))
            Self.append(number, width: 2, to: &bytes)
        }
        bytes.append(UInt8(ascii: separator))
        Self.append(seconds / 3_600, width: 2, to: &bytes)
        for number in [seconds / 60 % 60, seconds % 60] {
            bytes.append(UInt8(ascii: ":"))
            Self.append(number, width: 2, to: &bytes)
        }
        if inDay % 1_000_000 > 0 {
            bytes.append(UInt8(ascii: "."))
            Self.append(inDay % 1_000_000, width: 6, to: &bytes)
            while bytes.last == UInt8(ascii: "0") { bytes.removeLast() }
        }
        bytes += suffix.utf8
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A number that is not negative, with leading zeros.
    private static func append(_ number: Int, width: Int, to bytes: inout [UInt8]) {
        var (power, rest) = (1, number)
        for _ in 1..<width { power *= 10 }
        while rest / power >= 10 { power *= 10 }
        while power > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(rest / power))
            rest %= power
            power /= 10
        }
    }
}

extension Timestamp: PostgresEncodable, PostgresDecodable {
    /// The text with an offset, which a column without time zone passes over: it is UTC on both sides.
    public var postgresParameter: PostgresParameter {
        .text(TimestampText.write(microseconds: microseconds))
    }

    /// Reads `timestamp` as UTC, and `timestamptz`.
    public init(postgresCell cell: PostgresCell) throws {
        guard let text = cell.text, let microseconds = TimestampText.microseconds(text) else {
            throw cell.mismatch("it is no point in time")
        }
        self.microseconds = microseconds
    }
}
