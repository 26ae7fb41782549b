import Logging
import Synchronization

/// Log lines that a test reads, as `level: text`.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] {
        get { lines.withLock { $0 } }
        set { lines.withLock { $0 = newValue } }
    }

    func append(_ line: String) { lines.withLock { $0.append(line) } }

    func count(containing text: String) -> Int { all.count { $0.contains(text) } }

    /// A logger that writes here.
    func logger(_ level: Logger.Level = .info) -> Logger {
        Logger(label: "test") { _ in LineHandler(lines: self, logLevel: level) }
    }
}

/// Keeps lines of its level and above.
struct LineHandler: LogHandler {
    let lines: LogLines
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: Logging.LogEvent) { lines.append("\(event.level): \(event.message)") }
}
