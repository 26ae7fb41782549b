import Flags
import Glibc

/// `create`: makes a pair of empty migration files (`specs/migrate.md` 1.5).
struct CreateCommand {
    private static let defaultFormat = "20060102150405"

    static func run(_ arguments: [String], _ output: Output) throws {
        var flags = CommandFlags("create")
        let ext = flags.set.define("ext", default: "", "File extension")
        let dir = flags.set.define(
            "dir", default: "", "Directory to place file in (default: current working directory)")
        let seq = flags.set.define("seq", default: false, "Use sequential numbers instead of timestamps")
        let digits = flags.set.define("digits", default: 6, "The number of digits to use in sequences")
        let format = flags.set.define(
            "format", default: defaultFormat, "The Go time format string to use, or unix, or unixNano")
        let zone = flags.set.define("tz", default: "UTC", "The timezone of the time format")
        guard case .flags(let given) = try flags.parse(arguments, output) else { return }
        guard let name = given.arguments.first else { throw CommandFailure("please specify name") }
        guard !given[ext].isEmpty else { throw CommandFailure("-ext flag must be specified") }
        guard let timeZone = TimeZoneName(given[zone]) else {
            throw CommandFailure("unknown time zone \(given[zone])", hasPrefix: false)
        }
        guard !given[seq] || given[format] == defaultFormat else {
            throw CommandFailure("the seq and format options are mutually exclusive")
        }
        let directory = cleaned(given[dir])
        let suffix = given[ext].hasPrefix(".") ? given[ext] : ".\(given[ext])"
        let existing = try names(directory).filter { $0.hasSuffix(suffix) }
        let version =
            given[seq]
            ? try nextNumber(existing, directory, digits: given[digits], output)
            : try timeStamp(given[format], timeZone)
        guard !existing.contains(where: { $0.hasPrefix("\(version)_") }) else {
            throw CommandFailure("duplicate migration version: \(version)")
        }
        try makeDirectories(directory)
        for direction in ["up", "down"] {
            let path = joined(directory, "\(version)_\(name).\(direction)\(suffix)")
            let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            guard descriptor >= 0 else { throw CommandFailure("open \(path): \(systemError())") }
            close(descriptor)
            output.line(absolute(path))
        }
    }

    private static func timeStamp(_ format: String, _ zone: TimeZoneName) throws -> String {
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        switch format {
        case "": throw CommandFailure("time format may not be empty")
        case "unix": return String(now.tv_sec)
        case "unixNano": return String(now.tv_sec * 1_000_000_000 + now.tv_nsec)
        default: return GoTimeLayout.format(format, zone.time(now.tv_sec), nanoseconds: now.tv_nsec)
        }
    }

    /// One more than the number of the file that is last in the order of bytes: not the highest number, as in the
    /// original.
    private static func nextNumber(
        _ existing: [String], _ directory: String, digits: Int, _ output: Output
    ) throws -> String {
        guard digits > 0 else { throw CommandFailure("digits must be positive") }
        var next: UInt64 = 1
        if let last = existing.last {
            guard let mark = last.firstIndex(of: "_"), mark != last.startIndex else {
                throw CommandFailure("malformed migration filename: \(joined(directory, last))")
            }
            let prefix = String(last[..<mark])
            next = try Arguments.unsigned(prefix) + 1
            let highest = existing.compactMap { UInt64($0.prefix { $0.isASCII && $0.isNumber }) }.max() ?? 0
            if highest >= next {
                output.hints([
                    "There is a higher version, \(highest): \(last) is only the last name by its letters."
                ])
            }
        }
        let text = String(next)
        guard text.utf8.count <= digits else {
            throw CommandFailure(
                "next sequence number \(text) too large, at most \(digits) digits are allowed")
        }
        return String(repeating: "0", count: digits - text.utf8.count) + text
    }

    // MARK: Paths

    /// Without `.`, double slashes, and `..` where it can be taken out; empty is `.`.
    private static func cleaned(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == "..", let last = parts.last, last != ".." {
                parts.removeLast()
            } else if part != ".." || !path.hasPrefix("/") {
                parts.append(part)
            }
        }
        let joined = parts.joined(separator: "/")
        return path.hasPrefix("/") ? "/\(joined)" : joined.isEmpty ? "." : joined
    }

    private static func joined(_ directory: String, _ name: String) -> String {
        directory == "." ? name : directory == "/" ? "/\(name)" : "\(directory)/\(name)"
    }

    private static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let text = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(text) }
        return cleaned("\(unsafe String(cString: text))/\(path)")
    }

    /// The names in a directory in the order of their bytes; none when there is no directory.
    private static func names(_ directory: String) throws -> [String] {
        guard let stream = unsafe opendir(directory) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            names.append(
                unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                    unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
                        unsafe String(cString: $0)
                    }
                })
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private static func makeDirectories(_ path: String) throws {
        var made = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            made += "\(part)/"
            guard unsafe mkdir(made, 0o777) == 0 || errno == EEXIST else {
                throw CommandFailure("mkdir \(made.dropLast()): \(systemError())")
            }
        }
    }

    private static func systemError() -> String {
        let text = unsafe String(cString: strerror(errno))
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}
