/// Rows of text in columns that line up.
struct Table {
    /// Which side of its column a text keeps to.
    enum Alignment { case left, right }

    private let columns: [(title: String, alignment: Alignment)]
    private var rows: [[String]] = []

    init(_ columns: [(String, Alignment)]) {
        self.columns = columns.map { (title: $0.0, alignment: $0.1) }
    }

    /// Adds a row with a text for each column.
    mutating func append(_ row: [String]) {
        precondition(row.count == columns.count, "a row has a text for each column")
        rows.append(row)
    }

    /// The table with its head, two blanks between columns.
    var text: String {
        let titles = columns.map(\.title)
        let widths = columns.indices.map { column in ([titles] + rows).map { $0[column].count }.max() ?? 0 }
        func line(_ row: [String]) -> String {
            var cells: [String] = []
            for (column, cell) in row.enumerated() {
                let padding = String(repeating: " ", count: widths[column] - cell.count)
                cells.append(columns[column].alignment == .left ? cell + padding : padding + cell)
            }
            var text = cells.joined(separator: "  ")
            while text.last == " " { text.removeLast() }
            return text + "\n"
        }
        let rule = widths.map { String(repeating: "-", count: $0) }
        return line(titles) + line(rule) + rows.map(line).joined()
    }
}

/// Numbers for people.
enum Figures {
    /// `1,234,567`.
    static func grouped(_ value: Int) -> String {
        var digits = String(value.magnitude)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits.removeLast(3)
        }
        return (value < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
    }

    /// `12 B`, `1.00 KB`, `2.86 MB`: powers of 1024 with two decimals, as the original prints them.
    static func bytes(_ value: Double) -> String {
        var value = value
        var unit = "B"
        for next in ["KB", "MB", "GB", "TB"] where value >= 1024 {
            value /= 1024
            unit = next
        }
        return unit == "B" ? "\(Int(value)) B" : "\(decimals(value, 2)) \(unit)"
    }

    /// `1.23ms`: nanoseconds with a fitting unit.
    static func duration(nanoseconds: UInt64) -> String {
        switch nanoseconds {
        case ..<1_000: "\(nanoseconds)ns"
        case ..<1_000_000: decimals(Double(nanoseconds) / 1e3, 2) + "µs"
        case ..<1_000_000_000: decimals(Double(nanoseconds) / 1e6, 2) + "ms"
        default: decimals(Double(nanoseconds) / 1e9, 2) + "s"
        }
    }

    /// A number with a fixed count of decimals.
    static func decimals(_ value: Double, _ count: Int) -> String {
        var scale = 1.0
        for _ in 0..<count { scale *= 10 }
        let scaled = (value * scale).rounded()
        guard scaled.magnitude < 1e18 else { return String(value) }
        let whole = Int(scaled) / Int(scale)
        let fraction = String((Int(scaled) % Int(scale)).magnitude)
        let sign = scaled < 0 && whole == 0 ? "-" : ""
        if count == 0 { return String(whole) }
        return "\(sign)\(whole)." + String(repeating: "0", count: count - fraction.utf8.count) + fraction
    }
}
