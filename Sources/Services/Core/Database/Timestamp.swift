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
    public var rfc3339: String {
        let (date, time, fraction) = parts
        return "\(date)T\(time)\(fraction)Z"
    }

    /// As events have it (services.md 5.3): `2021-05-16 20:36:42.105449 +0000 UTC`, Go's default form.
    public var eventText: String {
        let (date, time, fraction) = parts
        return "\(date) \(time)\(fraction) +0000 UTC"
    }

    /// The text in Postgres's form cut apart: `2021-05-16 20:36:42.105449+00`.
    private var parts: (date: Substring, time: Substring, fraction: Substring) {
        let text = TimestampText.write(microseconds: microseconds)
        let words = text.split(separator: " ", maxSplits: 1)
        let clock = words[1].prefix { $0 != "+" }
        var fraction = clock.drop { $0 != "." }
        while fraction.utf8.last == UInt8(ascii: "0") { fraction.removeLast() }
        if fraction == "." { fraction = "" }
        return (words[0], clock.prefix { $0 != "." }, fraction)
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
