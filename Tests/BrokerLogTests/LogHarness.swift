import Testing

@testable import BrokerLog

/// Bytes of a string.
func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// The file `store` of these bytes, with the checksum that belongs to them.
func sealed(_ store: [UInt8]) -> [UInt8] {
    var bytes = Array(store.dropLast(4))
    let sum = checksum(bytes)
    for byte in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: sum >> (8 * UInt32(byte)))) }
    return bytes
}

/// Text that lz4 cannot shrink.
func noise(_ count: Int, seed: UInt64) -> String {
    var random = SeededGenerator(seed: seed)
    return String(decoding: (0..<count).map { _ in UInt8(48 + random.next() % 64) }, as: UTF8.self)
}

extension Log {
    /// Appends with a payload and, where given, a reply and headers.
    @discardableResult
    func append(
        _ payload: String, to channel: ChannelID, at time: Int64 = 1_000, reply: String = "",
        headers: String = ""
    ) throws -> Appended {
        try bytes(payload).withUnsafeBytes { payload in
            try bytes(reply).withUnsafeBytes { reply in
                try bytes(headers).withUnsafeBytes { headers in
                    try append(to: channel, wallClock: time, reply: reply, headers: headers, payload: payload)
                }
            }
        }
    }

    /// Payloads of every message from `first` on, stepping the reader as needed; a gap shows as "-".
    func payloads(of channel: ChannelID, from first: UInt64 = 1) -> [String] {
        var found: [String] = []
        var next = first
        while true {
            switch read(channel, at: next) {
            case .messages(let batch):
                for index in 0..<batch.count {
                    let message = batch.message(at: index)
                    precondition(message.sequence == next, "a batch is consecutive")
                    found.append(String(decoding: message.payload, as: UTF8.self))
                    next += 1
                }
            case .missing(let after):
                found.append("-")
                next = after
            case .loading:
                while stepReader() {}
                _ = poll()
            case .end: return found
            }
        }
    }
}

/// A log in memory.
func memoryLog(seed: UInt64? = nil) throws -> Log {
    var configuration = LogConfiguration(storage: .memory)
    configuration.lateAnswerSeed = seed
    return try Log.open(configuration, clock: LogClock { 0 }, wake: {})
}

/// A log with file storage on a simulated disk, stepped by hand.
final class FileLog {
    let disk: SimulatedFileSystem
    var configuration: LogConfiguration
    var log: Log
    var events: [LogEvent] = []

    init(seed: UInt64 = 1, configure: (inout LogConfiguration) -> Void = { _ in }) throws {
        disk = SimulatedFileSystem(seed: seed)
        configuration = LogConfiguration(storage: .file(directory: "/data"))
        configuration.execution = .manual
        configuration.journalSizeBytes = 1 << 20
        configuration.clusterID = "test"
        configure(&configuration)
        log = try Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {})
    }

    /// The process or the machine dies, and the store is opened again.
    func reopen(after crash: SimulatedFileSystem.Crash) throws {
        disk.crash(crash)
        events = []
        let report: (LogEvent) -> Void = { [self] event in events.append(event) }
        log = try Log.open(configuration, fileSystem: disk, clock: LogClock { 0 }, wake: {}, report: report)
    }

    /// Submits and lets everything be done that can be; returns what `poll` said last.
    @discardableResult
    func settle() -> LogNews {
        log.submit()
        while log.stepCommit() {}
        var news = log.poll()
        while log.stepBackground() {}
        let later = log.poll()
        news.checkpointWanted = later.checkpointWanted
        news.closed = news.closed ?? later.closed
        return news
    }

    /// Submits and makes durable; the background does nothing.
    func settleJournal() {
        log.submit()
        while log.stepCommit() {}
        _ = log.poll()
    }

    /// Makes a checkpoint with this snapshot.
    func checkpoint(_ snapshot: String = "snapshot") {
        log.checkpoint(state: bytes(snapshot))
        settle()
        settle()
    }

    /// A store after a power cut, whose journal does not reach back to its first record any more.
    static func withLateJournal() throws -> FileLog {
        let file = try FileLog()
        let channel = try file.log.createChannel(named: bytes("a"), limits: ChannelLimits(maxMessages: 50))
        for index in 0..<2_000 {
            try file.log.append(noise(2_000, seed: UInt64(index)), to: channel)
            if index % 8 == 7, file.settle().checkpointWanted { file.checkpoint() }
        }
        file.disk.crash(.dropAll)
        return file
    }

    /// Paths of the journal's files.
    var journal: [String] { disk.everything().keys.filter { $0.hasPrefix("/data/journal/") }.sorted() }
}
