/// The ISO text of points in time as PostgreSQL writes and reads it with `DateStyle = ISO`.
///
/// `2026-11-24 07:00:00.123456+05:30`; years beyond 9999 have more digits, years before 1 end in ` BC`.
package enum TimestampText {
    /// Microseconds since 1970 in UTC; `nil` when the text is no such time (`infinity` among them).
    package static func microseconds(_ text: String) -> Int64? {
        var scanner = DigitScanner(Array(text.utf8)[...])
        guard let year = scanner.number(), scanner.skip("-"), let month = scanner.number(),
            scanner.skip("-"), let day = scanner.number(), scanner.skip(" "),
            let hour = scanner.number(), scanner.skip(":"), let minute = scanner.number(),
            scanner.skip(":"), let second = scanner.number(), (1...12).contains(month),
            (1...31).contains(day), year < 1_000_000
        else { return nil }
        var fraction = 0
        if scanner.skip(".") {
            guard let micro = scanner.fraction() else { return nil }
            fraction = micro
        }
        var offset = 0
        let sign = scanner.skip("+") ? 1 : scanner.skip("-") ? -1 : 0
        if sign != 0 {
            guard let hours = scanner.number() else { return nil }
            offset = hours * 3600
            if scanner.skip(":") {
                guard let minutes = scanner.number() else { return nil }
                offset += minutes * 60
                if scanner.skip(":") {
                    guard let seconds = scanner.number() else { return nil }
                    offset += seconds
                }
            }
            offset *= sign
        }
        var astronomicalYear = year
        if scanner.skip(" "), scanner.skip("B"), scanner.skip("C") { astronomicalYear = 1 - year }
        guard scanner.isAtEnd else { return nil }
        let days = CivilDate.days(year: astronomicalYear, month: month, day: day)
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset
        return Int64(seconds) * 1_000_000 + Int64(fraction)
    }

    /// The text of microseconds since 1970.
    package static func write(microseconds: Int64) -> String {
        let (days, rest) = microseconds.flooredDivision(by: 86_400_000_000)
        let date = CivilDate(days: Int(days))
        let seconds = Int(rest / 1_000_000)
        let year = date.year > 0 ? date.year : 1 - date.year
        return "\(padded(year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2)) "
            + "\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
            + ".\(padded(Int(rest % 1_000_000), 6))+00" + (date.year > 0 ? "" : " BC")
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

/// A day of the proleptic Gregorian calendar; years are astronomical (0 is 1 BC).
package struct CivilDate {
    package var year: Int
    package var month: Int
    package var day: Int

    /// The date that many days after 1970-01-01.
    package init(days: Int) {
        // Years are counted from March, so that the leap day is the last of its year, in eras of 400 years.
        let shifted = days + 719_468
        let era = shifted.flooredDivision(by: 146_097).quotient
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970-01-01.
    package static func days(year: Int, month: Int, day: Int) -> Int {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = shiftedYear.flooredDivision(by: 400).quotient
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}

extension BinaryInteger {
    /// Division that rounds down, so that the remainder has the divisor's sign.
    fileprivate func flooredDivision(by divisor: Self) -> (quotient: Self, remainder: Self) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

/// Reads digits and single marks off the front of some bytes.
private struct DigitScanner {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }

    /// Up to nine digits.
    mutating func number() -> Int? {
        let digits = rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        guard !digits.isEmpty, digits.count <= 9 else { return nil }
        rest = rest.dropFirst(digits.count)
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    /// Up to six digits behind a point, as millionths.
    mutating func fraction() -> Int? {
        let count = rest.count
        guard let digits = number() else { return nil }
        let width = count - rest.count
        guard width <= 6 else { return nil }
        return (width..<6).reduce(digits) { value, _ in value * 10 }
    }

    mutating func skip(_ mark: Unicode.Scalar) -> Bool {
        guard let first = rest.first, first == UInt8(ascii: mark) else { return false }
        rest = rest.dropFirst()
        return true
    }
}
