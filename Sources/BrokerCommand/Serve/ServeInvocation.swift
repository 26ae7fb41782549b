import Broker
import BrokerLog
import Flags

/// What a command line of `serve` asks for.
enum ServeInvocation: Sendable {
    /// To run a broker.
    case run(ServeConfiguration)
    /// To print a text on standard output and exit 0.
    case print(String)
    /// Nothing that can be done: a line for standard error, perhaps the usage for standard output, and the exit code.
    case refused(message: String, printsUsage: Bool, exitCode: Int32)
}

/// Everything that a command line says about a broker that runs.
struct ServeConfiguration: Sendable {
    /// The broker itself.
    var options = BrokerOptions()
    /// How it logs.
    var log = LogOptions()
    /// Warnings about the command line for the start of the log, one line each.
    var warnings: [String] = []
    /// The memory limit was given and is not to be found out.
    var hasMemoryLimit = false
}

/// How the broker logs.
struct LogOptions: Sendable, Hashable {
    /// The log file; nil for standard error.
    var file: String?
    /// Whether lines carry the time.
    var hasTime = true
    /// What the server part logs.
    var server = Verbosity.info
    /// What the streaming part logs.
    var streaming = Verbosity.info

    /// How much is logged. Each includes the one before.
    enum Verbosity: Comparable, Sendable {
        case info, debug, trace

        init(debug: Bool, trace: Bool) {
            self = trace ? .trace : debug ? .debug : .info
        }
    }
}

extension ServeInvocation {
    /// Reads the command line of `serve`, without the program's name and the word `serve`. Pure: it looks at nothing else.
    static func parse(_ arguments: [String]) -> ServeInvocation {
        let flags = ServeFlags()
        let parsed: ParsedFlags
        do throws(FlagError) {
            parsed = try flags.set.parse(arguments)
        } catch .notASize(let name, let text) {
            // The original finds this out late, and says no more than this.
            return .refused(
                message: "\(FlagError.notASize(name: name, text: text))", printsUsage: false, exitCode: 1)
        } catch {
            return .refused(message: "\(error)", printsUsage: true, exitCode: 2)
        }
        if parsed[flags.help] { return .print(usage(flags)) }
        if parsed[flags.version] { return .print(Version.line + "\n") }
        if let word = parsed.arguments.first {
            switch word.lowercased() {
            case "help": return .print(usage(flags))
            case "version": return .print(Version.line + "\n")
            default:
                return .refused(message: "unrecognized command: \"\(word)\"", printsUsage: false, exitCode: 1)
            }
        }
        do throws(Refusal) {
            return .run(try ServeConfiguration(parsed, flags))
        } catch {
            return .refused(message: error.message, printsUsage: false, exitCode: 1)
        }
    }

    /// The text of `broker --help`.
    static var usage: String { usage(ServeFlags()) }

    private static func usage(_ flags: ServeFlags) -> String {
        """
        Usage: broker [serve] [options]

        Runs the broker. A call without a command, or whose first word is an option, means `serve`.
        Other commands: pub, sub, request, reply, channel, bench, check, repair; `broker <command> --help` explains each.
        Options take one dash or two, and their value as the next word or behind `=`; a switch takes one only behind `=`.

        \(flags.set.usage)
        """
    }
}

/// A command line that is well-formed and cannot be obeyed.
struct Refusal: Error {
    let message: String
}

extension ServeConfiguration {
    init(_ parsed: ParsedFlags, _ flags: ServeFlags) throws(Refusal) {
        try Self.refuseWhatIsNotBuilt(parsed, flags)
        try readStore(parsed, flags)
        try readStreaming(parsed, flags)
        try readNetwork(parsed, flags)
        readLogging(parsed, flags)
        if let warning = Self.tuningWarning(parsed, flags) { warnings.append(warning) }
    }

    // MARK: What is not taken

    private static func refuseWhatIsNotBuilt(_ parsed: ParsedFlags, _ flags: ServeFlags) throws(Refusal) {
        for (name, flag) in flags.notBuilt {
            // A switch that is off, or an empty text, asks for nothing.
            switch flag {
            case .text(let flag) where !parsed[flag].isEmpty: break
            case .isSwitch(let flag) where parsed[flag]: break
            default: continue
            }
            let what = ServeFlags.notBuilt[name] ?? ServeFlags.notBuiltSwitches[name] ?? "this"
            throw Refusal(message: "-\(name) is not supported yet: \(what) is not built. Start without it.")
        }
        if parsed[flags.testsConfiguration] {
            throw Refusal(message: "must specify [-c, --config] option to check configuration file syntax")
        }
    }

    /// One line that names the flags that change nothing here.
    private static func tuningWarning(_ parsed: ParsedFlags, _ flags: ServeFlags) -> String? {
        let names = flags.tuning.filter { _, flag in
            switch flag {
            case .text(let flag): parsed.isGiven(flag)
            case .number(let flag): parsed.isGiven(flag)
            case .size(let flag): parsed.isGiven(flag)
            case .duration(let flag): parsed.isGiven(flag)
            case .isSwitch(let flag): parsed.isGiven(flag)
            }
        }.map { "-\($0.name)" }
        guard !names.isEmpty else { return nil }
        return
            "These flags tune files and threads of the original that this broker does not have; they change nothing: "
            + names.joined(separator: ", ")
    }

    // MARK: What is

    private mutating func readStore(_ parsed: ParsedFlags, _ flags: ServeFlags) throws(Refusal) {
        let store = parsed[flags.store]
        switch store.lowercased() {
        case "file": options.store = .file
        case "memory": options.store = .memory
        case "sql":
            throw Refusal(message: "-st sql is not supported yet: the SQL store is not built. Use -st file.")
        default: throw Refusal(message: "unsupported store type: \(store)")
        }
        guard !parsed[flags.directory].isEmpty else {
            throw Refusal(message: "for FILE stores, root directory must be specified")
        }
        options.directory = parsed[flags.directory]
        options.sync = try Self.syncMode(parsed[flags.sync])
        if !parsed[flags.fileSync] {
            guard !parsed.isGiven(flags.sync) || options.sync == .never else {
                throw Refusal(
                    message:
                        "-file_sync=false means --sync never, but --sync \(parsed[flags.sync]) was given too")
            }
            options.sync = .never
        }
        let journalSize = parsed[flags.journalSize].bytes
        guard journalSize >= 16 << 20 else {
            throw Refusal(message: "--journal-size should be at least 16MB, got \(journalSize) bytes")
        }
        options.journalSizeBytes = journalSize
        guard parsed.isGiven(flags.memoryLimit) else { return }
        let memoryLimit = parsed[flags.memoryLimit].bytes
        guard memoryLimit >= MemoryLimit.least else {
            throw Refusal(message: "--memory-limit should be at least 16MB, got \(memoryLimit) bytes")
        }
        options.memoryLimitBytes = memoryLimit
        hasMemoryLimit = true
    }

    /// Reads `always`, `interval=<duration>`, `never`.
    static func syncMode(_ text: String) throws(Refusal) -> SyncMode {
        switch text {
        case "always": return .always
        case "never": return .never
        default:
            if text.hasPrefix("interval="),
                let nanoseconds = GoDuration.nanoseconds(String(text.dropFirst(9))),
                nanoseconds > 0
            {
                return .interval(nanoseconds: UInt64(nanoseconds))
            }
            throw Refusal(
                message:
                    "--sync should be always, interval=<duration> (like interval=100ms) or never, got '\(text)'"
            )
        }
    }

    private mutating func readStreaming(_ parsed: ParsedFlags, _ flags: ServeFlags) throws(Refusal) {
        let clusterID = parsed[flags.clusterID]
        guard LogConfiguration.isClusterID(clusterID) else {
            throw Refusal(
                message:
                    "-cid should be a name that can be part of a subject (no blanks, no * and >), got '\(clusterID)'"
            )
        }
        options.clusterID = clusterID
        options.maxChannels = try Self.limit(parsed[flags.maxChannels], "max channels")
        options.maxSubscriptionsPerChannel = try Self.limit(
            parsed[flags.maxSubscriptions], "max subscriptions")
        options.maxMessages = try Self.limit(parsed[flags.maxMessages], "max messages")
        options.maxBytes = try Self.limit(parsed[flags.maxBytes].bytes, "max bytes")
        options.maxAgeNanoseconds = try Self.limit(parsed[flags.maxAge], "max age")
        options.maxInactivityNanoseconds = try Self.limit(parsed[flags.maxInactivity], "max inactivity")
        options.heartbeatIntervalNanoseconds = try Self.positive(parsed[flags.heartbeatInterval], "-hbi")
        options.heartbeatTimeoutNanoseconds = try Self.positive(parsed[flags.heartbeatTimeout], "-hbt")
        guard parsed[flags.heartbeatFailures] >= 0 else {
            throw Refusal(message: "-hbf should not be negative, got \(parsed[flags.heartbeatFailures])")
        }
        options.maxFailedHeartbeats = parsed[flags.heartbeatFailures]
        options.replaceDurable = parsed[flags.replaceDurable]
    }

    private mutating func readNetwork(_ parsed: ParsedFlags, _ flags: ServeFlags) throws(Refusal) {
        let port = try Self.port(parsed[flags.port], "-p")
        // As in the original, 0 is the default port.
        options.port = port == 0 ? 4222 : port
        let monitoring = try Self.port(parsed[flags.monitoringPort], "-m")
        options.monitoringPort = monitoring == 0 ? nil : monitoring
        guard monitoring <= 0 || monitoring != options.port else {
            throw Refusal(message: "-p and -m are the same port, \(monitoring)")
        }
        options.host = parsed[flags.host]
        let loops = parsed[flags.loops]
        guard (1...256).contains(loops) else {
            throw Refusal(message: "--loops should be between 1 and 256, got \(loops)")
        }
        options.loops = loops
        if parsed.isGiven(flags.cpuLatency) {
            options.cpuLatencyMicroseconds = try Self.microseconds(parsed[flags.cpuLatency], "--cpu-latency")
        }
        func text(_ flag: Flag<String>) -> String? { parsed[flag].isEmpty ? nil : parsed[flag] }
        options.serverName = text(flags.serverName)
        guard options.serverName?.utf8.contains(where: { $0 <= 0x20 }) != true else {
            throw Refusal(message: "server name cannot contain spaces")
        }
        if let address = text(flags.clientAdvertise) {
            (options.advertisedHost, options.advertisedPort) = try Self.hostAndPort(address)
        }
        options.pidFile = text(flags.pidFile)
        options.portsFileDirectory = text(flags.portsFileDirectory)
        options.user = text(flags.user)
        options.password = text(flags.password)
        options.token = text(flags.token)
        options.administratorToken = text(flags.administratorToken)
        if options.token != nil, options.user != nil {
            throw Refusal(
                message:
                    "--auth and --user exclude each other: clients present a token, or a user and password")
        }
        if options.user == nil, options.password != nil {
            throw Refusal(
                message: "--pass needs --user: a password without a user name would let everybody in")
        }
    }

    /// Reads `host`, `host:port`, `[::1]`, `[::1]:port` or a bare `::1`.
    private static func hostAndPort(_ text: String) throws(Refusal) -> (host: String, port: Int?) {
        let refusal = Refusal(
            message:
                "--client_advertise should be host or host:port, like broker.example.org:4222, got '\(text)'")
        func port(_ digits: Substring) throws(Refusal) -> Int {
            guard digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let port = Int(digits),
                (1...65_535).contains(port)
            else { throw refusal }
            return port
        }
        guard !text.utf8.contains(where: { $0 <= 0x20 }) else { throw refusal }
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw refusal }
            let (host, rest) = (
                text[text.index(after: text.startIndex)..<end], text[text.index(after: end)...]
            )
            guard !host.isEmpty, rest.isEmpty || rest.hasPrefix(":") else { throw refusal }
            return (String(host), rest.isEmpty ? nil : try port(rest.dropFirst()))
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return (text, nil) }
        guard !parts[0].isEmpty else { throw refusal }
        return (String(parts[0]), try port(parts[1]))
    }

    private mutating func readLogging(_ parsed: ParsedFlags, _ flags: ServeFlags) {
        log.file = parsed[flags.logFile].isEmpty ? nil : parsed[flags.logFile]
        log.hasTime = parsed[flags.logTime]
        options.maxTracedMessageBytes = max(parsed[flags.maxTracedMessageBytes], 0)
        let both = parsed[flags.debugAndTrace] || parsed[flags.debugAndVerboseTrace]
        log.server = .init(
            debug: parsed[flags.debug] || both,
            trace: parsed[flags.trace] || parsed[flags.verboseTrace] || both)
        let streamingBoth = parsed[flags.streamingDebugAndTrace]
        log.streaming = .init(
            debug: parsed[flags.streamingDebug] || streamingBoth,
            trace: parsed[flags.streamingTrace] || streamingBoth)
    }

    private static func limit(_ value: Int, _ name: String) throws(Refusal) -> Int {
        guard value >= 0 else { throw Refusal(message: "\(name) limit cannot be negative (\(value))") }
        return value
    }

    private static func limit(_ value: Duration, _ name: String) throws(Refusal) -> UInt64 {
        guard value >= .zero else {
            throw Refusal(message: "\(name) limit cannot be negative (\(value.flagText))")
        }
        return nanoseconds(value)
    }

    private static func positive(_ value: Duration, _ name: String) throws(Refusal) -> UInt64 {
        guard value > .zero else {
            throw Refusal(message: "\(name) should be more than 0s, got \(value.flagText)")
        }
        return nanoseconds(value)
    }

    /// A wake-up time as the kernel takes it.
    private static func microseconds(_ value: Duration, _ name: String) throws(Refusal) -> Int32 {
        let count = value / .microseconds(1)
        guard (0...1_000_000).contains(count), count == count.rounded() else {
            throw Refusal(
                message: "\(name) should be whole microseconds between 0s and 1s, got \(value.flagText)")
        }
        return Int32(count)
    }

    private static func port(_ value: Int, _ name: String) throws(Refusal) -> Int {
        guard (-1...65_535).contains(value) else {
            throw Refusal(
                message: "\(name) should be a port between 1 and 65535, or -1 for a random one, got \(value)")
        }
        return value
    }

    /// Flags are read from 64 bits of nanoseconds, so that they fit.
    private static func nanoseconds(_ value: Duration) -> UInt64 {
        let (seconds, attoseconds) = value.components
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}
