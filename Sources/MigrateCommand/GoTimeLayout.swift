import Glibc

/// A time zone by its name in the system's database.
struct TimeZoneName {
    private let name: String

    /// `nil` when there is no such zone.
    init?(_ name: String) {
        self.name = name
        if ["", "UTC", "Local"].contains(name) { return }
        guard !name.hasPrefix("/"), !name.contains("\\"), !name.split(separator: "/").contains("..") else {
            return nil
        }
        let root = unsafe getenv("TZDIR").map { unsafe String(cString: $0) } ?? "/usr/share/zoneinfo"
        var status = stat()
        guard unsafe stat("\(root)/\(name)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return nil
        }
    }

    /// The parts of a time (seconds since 1970) in this zone.
    func time(_ seconds: Int) -> CivilTime {
        switch name {
        case "", "UTC": return .utc(seconds)
        case "Local": return .local(seconds)
        default:
            // The only thread that reads the zone is this one: `create` writes no log with a time before.
            unsafe setenv("TZ", ":\(name)", 1)
            tzset()
            defer {
                unsafe unsetenv("TZ")
                tzset()
            }
            return .local(seconds)
        }
    }
}

/// Writes a time by a layout of Go: the reference time `2006-01-02 15:04:05.000` shows the form.
enum GoTimeLayout {
    private static let elements: [(mark: String, text: @Sendable (CivilTime) -> String)] = [
        ("2006", { String($0.year) }),
        ("01", { CivilTime.two($0.month) }),
        ("02", { CivilTime.two($0.day) }),
        ("15", { CivilTime.two($0.hour) }),
        ("03", { CivilTime.two(($0.hour + 11) % 12 + 1) }),
        ("04", { CivilTime.two($0.minute) }),
        ("05", { CivilTime.two($0.second) }),
        ("06", { CivilTime.two($0.year % 100) }),
        ("1", { String($0.month) }),
        ("2", { String($0.day) }),
        ("3", { String(($0.hour + 11) % 12 + 1) }),
        ("4", { String($0.minute) }),
        ("5", { String($0.second) }),
    ]

    static func format(_ layout: String, _ time: CivilTime, nanoseconds: Int) -> String {
        var rest = Substring(layout)
        var result = ""
        while let first = rest.first {
            if let element = elements.first(where: { rest.hasPrefix($0.mark) }) {
                result += element.text(time)
                rest = rest.dropFirst(element.mark.count)
            } else if first == ".", case let zeros = rest.dropFirst().prefix(while: { $0 == "0" }),
                !zeros.isEmpty,
                zeros.count <= 9, !(rest.dropFirst(zeros.count + 1).first?.isNumber ?? false)
            {
                let digits = String(nanoseconds)
                let padded = String(repeating: "0", count: 9 - digits.count) + digits
                result += "." + padded.prefix(zeros.count)
                rest = rest.dropFirst(zeros.count + 1)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }
}
