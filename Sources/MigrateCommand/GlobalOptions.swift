import Flags
import Glibc

/// The flags before the command.
struct GlobalOptions {
    private let source: Flag<String>
    private let path: Flag<String>
    private let databaseFlag: Flag<String>
    private let databaseFile: Flag<String>
    private let prefetchFlag: Flag<UInt>
    private let lockTimeoutFlag: Flag<UInt>
    private let openLockTimeoutFlag: Flag<UInt>
    private let verbose: Flag<Bool>
    private let version: Flag<Bool>
    private let help: Flag<Bool>
    private let wait: Flag<Duration>
    private let transactional: Flag<Bool>
    private let exitCodeOnStopFlag: Flag<UInt>
    private let flags: FlagSet
    private let parsed: ParsedFlags

    init(_ arguments: [String]) throws(UsageFailure) {
        var flags = FlagSet()
        source = flags.define("source", default: "", "Location of the migrations (file://directory)")
        path = flags.define("path", default: "", "Shorthand for -source=file://path")
        databaseFlag = flags.define(
            "database", default: "",
            "Run migrations against this database (postgres://user:password@host:port/name?query), or env:NAME"
        )
        databaseFile = flags.define("database-file", default: "", "Read the database URL from this file")
        prefetchFlag = flags.define(
            "prefetch", default: 10, placeholder: "N", "Number of migrations to read ahead")
        lockTimeoutFlag = flags.define(
            "lock-timeout", default: 15, placeholder: "N", "Allow N seconds to acquire the database lock")
        openLockTimeoutFlag = flags.define(
            "open-lock-timeout", default: 0, placeholder: "N",
            "Allow N seconds for another run to end when opening (0: no limit)")
        verbose = flags.define("verbose", default: false, "Print verbose logging")
        version = flags.define("version", default: false, "Print version")
        help = flags.define("help", "h", default: false, "Print usage")
        wait = flags.define("wait", default: .zero, "Try for so long while the database is not up (30s)")
        transactional = flags.define(
            "tx", default: false, "Run each migration and its record in one transaction")
        exitCodeOnStopFlag = flags.define(
            "exit-code-on-stop", default: 0, placeholder: "N", "Exit code after a stop by a signal")
        self.flags = flags
        do {
            parsed = try flags.parse(arguments)
        } catch {
            throw UsageFailure(line: "\(error)", usage: Usage.text(flags))
        }
    }

    var usage: String { Usage.text(flags) }

    var arguments: [String] { parsed.arguments }
    var isVerbose: Bool { parsed[verbose] }
    var wantsVersion: Bool { parsed[version] }
    var wantsHelp: Bool { parsed[help] }
    var isTransactional: Bool { parsed[transactional] }
    var prefetch: Int { Int(clamping: parsed[prefetchFlag]) }
    var lockTimeout: Duration { .seconds(Int(clamping: min(parsed[lockTimeoutFlag], 1 << 40))) }
    var openLockTimeout: Duration? {
        let seconds = parsed[openLockTimeoutFlag]
        return seconds == 0 ? nil : .seconds(Int(clamping: min(seconds, 1 << 40)))
    }
    var waiting: Duration? { parsed[wait] > .zero ? parsed[wait] : nil }
    var exitCodeOnStop: Int32 { Int32(clamping: min(parsed[exitCodeOnStopFlag], 255)) }

    /// The source URL, and whether it was made from `-path`.
    var sourceURL: (text: String, isFromPath: Bool) {
        if !parsed[source].isEmpty { return (parsed[source], false) }
        return parsed[path].isEmpty ? ("", false) : ("file://" + parsed[path], true)
    }

    /// The text of the database URL, from wherever it is kept.
    ///
    /// - Throws: `CommandFailure` when the file or the variable is not there.
    func databaseText() throws(CommandFailure) -> String {
        let file = parsed[databaseFile]
        if !file.isEmpty {
            guard parsed[databaseFlag].isEmpty else {
                throw CommandFailure("-database and -database-file cannot be used together")
            }
            guard let stream = unsafe fopen(file, "re") else {
                throw CommandFailure(
                    "failed to open database: -database-file: open \(file): \(unsafe String(cString: strerror(errno)))"
                )
            }
            defer { unsafe fclose(stream) }
            // A URL of more than 64 KiB is none.
            var bytes = [UInt8](repeating: 0, count: 1 << 16)
            let count = unsafe fread(&bytes, 1, bytes.count, stream)
            return String(decoding: bytes[..<count], as: UTF8.self)
        }
        let text = parsed[databaseFlag]
        guard text.hasPrefix("env:") else { return text }
        let name = String(text.dropFirst(4))
        guard let value = unsafe getenv(name) else {
            throw CommandFailure("failed to open database: the environment variable \(name) is not set")
        }
        return unsafe String(cString: value)
    }
}

/// A command line that cannot be understood: exit code 2.
struct UsageFailure: Error {
    /// What is wrong; `nil` where the usage text says it all.
    var line: String?
    let usage: String
}

/// A command that ended with a message of its own: exit code 1.
struct CommandFailure: Error {
    let message: String
    /// Whether the line begins with `error: `.
    let hasPrefix: Bool

    init(_ message: String, hasPrefix: Bool = true) {
        self.message = message
        self.hasPrefix = hasPrefix
    }
}
