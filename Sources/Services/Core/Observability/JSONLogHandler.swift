import BrokerProtocol
import Glibc
import Logging

/// Writes a log line as one JSON object: time, level, message, then the metadata by name.
///
/// Metadata whose name is that of a secret is not shown, whatever its value.
public struct JSONLogHandler: LogHandler {
    /// What every line carries.
    public var metadata: Logger.Metadata = [:]
    /// Lines below it are not written.
    public var logLevel: Logger.Level
    private let now: @Sendable () -> Timestamp
    private let write: @Sendable ([UInt8]) -> Void

    /// A handler that writes to standard error.
    public init(
        level: Logger.Level, now: @escaping @Sendable () -> Timestamp = ServiceClock.system.now,
        write: @escaping @Sendable ([UInt8]) -> Void = JSONLogHandler.standardError
    ) {
        logLevel = level
        self.now = now
        self.write = write
    }

    /// A value that every line carries.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes a line.
    public func log(event: LogEvent) {
        var json = JSONWriter()
        json.beginObject()
        json.field("time", now())
        json.field("level", event.level.rawValue)
        json.field("message", event.message.description)
        for (key, value) in metadata.merging(event.metadata ?? [:], uniquingKeysWith: { $1 })
            .sorted(by: { $0.key < $1.key })
        {
            if Self.isSecret(key) {
                json.field(key, "[REDACTED]")
            } else if case .stringConvertible(let number) = value {
                switch number {
                case let number as Int: json.field(key, number)
                case let number as UInt64: json.field(key, number)
                case let number as Double: json.field(key, number)
                default: json.field(key, number.description)
                }
            } else {
                json.field(key, "\(value)")
            }
        }
        json.endObject()
        write(json.bytes + [UInt8(ascii: "\n")])
    }

    private static func isSecret(_ key: String) -> Bool {
        let key = key.lowercased()
        return ["password", "secret", "token", "authorization", "api_key", "apikey"].contains {
            key.contains($0)
        }
    }

    /// One `write` a line, so that lines of several threads do not mix.
    @Sendable public static func standardError(_ bytes: [UInt8]) {
        // A log that cannot be written has nowhere to say so.
        _ = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
