import Postgres

extension Timestamp {
    /// Reads a time string of an event (services.md 5.3): Go's default form with any offset and zone name
    /// (`2021-05-16 20:36:42.105449 +0000 UTC`, `… +0000 +0000`), and RFC 3339. Digits past the microsecond are dropped.
    /// Nil when it is neither.
    public init?(eventText text: String) {
        var scanner = TimeScanner(text)
        guard let year = scanner.digits(4), scanner.skip("-"), let month = scanner.digits(2),
            scanner.skip("-"),
            let day = scanner.digits(2), let isGo = scanner.separator(), let hour = scanner.digits(2),
            scanner.skip(":"), let minute = scanner.digits(2), scanner.skip(":"),
            let second = scanner.digits(2),
            let fraction = scanner.fraction(), let offset = isGo ? scanner.goZone() : scanner.zone(),
            scanner.isAtEnd, (1...12).contains(month), day >= 1, hour < 24, minute < 60, second < 60
        else { return nil }
        let days = CivilDate.days(year: year, month: month, day: day)
        // A day that the month does not have comes back as another date.
        let date = CivilDate(days: days)
        guard date.month == month, date.day == day else { return nil }
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset
        self.init(microseconds: Int64(seconds) * 1_000_000 + Int64(fraction))
    }
}

/// Reads the parts of a time string off its front.
private struct TimeScanner {
    private var rest: ArraySlice<UInt8>

    init(_ text: String) { rest = Array(text.utf8)[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func skip(_ mark: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: mark) else { return false }
        rest = rest.dropFirst()
        return true
    }

    mutating func digits(_ count: Int) -> Int? {
        let digits = rest.prefix(count)
        guard digits.count == count, digits.allSatisfy(Self.isDigit) else { return nil }
        rest = rest.dropFirst(count)
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    /// What stands between day and hour: a blank in Go's form, a `T` in RFC 3339.
    mutating func separator() -> Bool? {
        if skip(" ") { return true }
        return skip("T") || skip("t") ? false : nil
    }

    /// One to nine digits behind a point, as microseconds; 0 when there is none.
    mutating func fraction() -> Int? {
        guard skip(".") else { return 0 }
        let digits = rest.prefix(while: Self.isDigit)
        guard (1...9).contains(digits.count) else { return nil }
        rest = rest.dropFirst(digits.count)
        let micro = digits.prefix(6)
        return (micro.count..<6).reduce(micro.reduce(0) { $0 * 10 + Int($1 - 0x30) }) { value, _ in value * 10
        }
    }

    /// ` ±hhmm ZONE` as seconds; the name of the zone says nothing that the offset does not.
    mutating func goZone() -> Int? {
        guard skip(" "), let offset = offset(colon: false), skip(" ") else { return nil }
        let name = rest.prefix { $0 > 0x20 && $0 < 0x7F }
        guard (1...16).contains(name.count) else { return nil }
        rest = rest.dropFirst(name.count)
        return offset
    }

    /// `Z` or `±hh:mm` as seconds.
    mutating func zone() -> Int? {
        if skip("Z") || skip("z") { return 0 }
        return offset(colon: true)
    }

    private mutating func offset(colon: Bool) -> Int? {
        let sign = skip("+") ? 1 : skip("-") ? -1 : 0
        guard sign != 0, let hours = digits(2), !colon || skip(":"), let minutes = digits(2), hours < 24,
            minutes < 60
        else { return nil }
        return sign * (hours * 3_600 + minutes * 60)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
}
