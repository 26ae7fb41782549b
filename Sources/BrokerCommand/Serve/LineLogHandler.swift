import Glibc
import Logging

/// Prints log lines as NATS Streaming does: `[pid] YYYY/MM/DD hh:mm:ss.µµµµµµ [INF] text`, metadata behind as `key=value`
/// (nats-streaming.md 5.6).
///
/// The server and the streaming part have a handler each: their verbosity is chosen apart (`-SD` is not `-D`).
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level

    private let destination: LogDestination
    private let hasTime: Bool
    private let processID: Int32
    private let now: @Sendable () -> timespec

    init(
        _ verbosity: LogOptions.Verbosity, hasTime: Bool, to destination: LogDestination,
        processID: Int32 = getpid(),
        now: @escaping @Sendable () -> timespec = LineLogHandler.wallClock
    ) {
        self.hasTime = hasTime
        self.destination = destination
        self.processID = processID
        self.now = now
        logLevel = verbosity.level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let text = event.message.description
        destination.write(Array(line(event.level, text, metadata.merging(event.metadata ?? [:]) { $1 }).utf8))
    }

    /// The line with its end.
    func line(_ level: Logger.Level, _ text: String, _ metadata: Logger.Metadata) -> String {
        var line = "[\(processID)] "
        if hasTime { line += Self.timestamp(now()) + " " }
        let (label, colour) = Self.label(level)
        line += destination.isTerminal ? "[\u{1B}[\(colour)m\(label)\u{1B}[0m] " : "[\(label)] "
        line += Self.oneLine(text)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " \(key)=\(Self.value(key: key, "\(value)"))"
        }
        return line + "\n"
    }

    /// Values that are secrets are not shown; values with blanks are quoted.
    private static func value(key: String, _ value: String) -> String {
        let key = key.lowercased()
        if ["password", "pass", "token", "auth_token", "secret"].contains(key) { return "[REDACTED]" }
        let value = oneLine(value)
        return value.isEmpty || value.contains(" ") ? "\"\(value)\"" : value
    }

    /// A text that a client chose must not forge lines or send commands to a terminal.
    private static func oneLine(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return text }
        return text.unicodeScalars.map { scalar in
            switch scalar {
            case "\n": "\\n"
            case "\r": "\\r"
            case "\t": "\\t"
            default:
                scalar.value < 0x20 || scalar.value == 0x7F
                    ? "\\x" + (scalar.value < 0x10 ? "0" : "") + String(scalar.value, radix: 16)
                    : String(scalar)
            }
        }.joined()
    }

    private static func label(_ level: Logger.Level) -> (String, colour: Int) {
        switch level {
        case .trace: ("TRC", 33)
        case .debug: ("DBG", 36)
        case .info, .notice: ("INF", 32)
        case .warning: ("WRN", 33)
        case .error: ("ERR", 31)
        case .critical: ("FTL", 31)
        }
    }

    /// The wall clock.
    static let wallClock: @Sendable () -> timespec = {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return time
    }

    /// Local time as `YYYY/MM/DD hh:mm:ss.µµµµµµ`.
    private static func timestamp(_ time: timespec) -> String {
        var seconds = time.tv_sec
        var parts = unsafe tm()
        unsafe localtime_r(&seconds, &parts)
        func digits(_ value: Int, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        let date = unsafe [
            digits(Int(parts.tm_year) + 1900, 4), digits(Int(parts.tm_mon) + 1, 2),
            digits(Int(parts.tm_mday), 2),
        ].joined(separator: "/")
        let clock = unsafe [
            digits(Int(parts.tm_hour), 2), digits(Int(parts.tm_min), 2), digits(Int(parts.tm_sec), 2),
        ]
        .joined(separator: ":")
        return "\(date) \(clock).\(digits(time.tv_nsec / 1_000, 6))"
    }
}

extension LogOptions.Verbosity {
    fileprivate var level: Logger.Level {
        switch self {
        case .info: .info
        case .debug: .debug
        case .trace: .trace
        }
    }
}
