/// A channel of a data directory that is read offline.
public struct StoredChannel: Equatable, Sendable {
    /// Number of the channel in the store.
    public var id: ChannelID
    /// Its name, bytes as they were published to.
    public var name: [UInt8]
    /// Sequence of the oldest message kept; `lastSequence + 1` when there is none.
    public var firstSequence: UInt64
    /// Sequence of the newest message ever made durable, kept or not.
    public var lastSequence: UInt64
    /// Messages that are there.
    public var messages: Int
    /// Bytes of them, as `ChannelInfo.bytes` counts.
    public var bytes: Int
}

/// What the file `store` of a data directory says, or the journal in its place.
struct StoreIdentity: Equatable {
    var storeID: UInt64
    /// Nil when the file is damaged or missing.
    var clusterID: String?
    var version: UInt32
    /// What is wrong with the file.
    var damage: Damage?

    /// Reads it, and tells what is no data directory by a sentence.
    init(_ path: String, _ fileSystem: any FileSystem) throws(LogError) {
        let names: [String]
        do {
            names = try fileSystem.list(path)
        } catch {
            throw LogError(.noStore, "the data directory \(path) cannot be read (\(error))")
        }
        guard let found = try StoreDirectory.identity(path, names, fileSystem) else {
            if names.contains("server.dat") {
                throw LogError(
                    .foreignStore,
                    "\(path) holds a store of NATS Streaming (server.dat), which cannot be read")
            }
            throw LogError(
                .noStore, "\(path) is no data directory of the broker: it has no file \"store\"")
        }
        (storeID, clusterID, damage) = found
        // A version above is refused, and there is none below.
        version = StoreDirectory.version
    }
}

/// The messages of a data directory that no broker runs on. Opening recovers in memory what is there, by the code that
/// starts a broker on it; nothing in the directory is changed. While a reader lives that `open` gave no broker can start on it.
public final class OfflineReader {
    /// The log, which works only when it is asked to.
    let log: Log
    /// The cluster id that the directory belongs to; nil when the file that says it is damaged or missing.
    public let clusterID: String?

    /// Opens a data directory for reading.
    ///
    /// - Throws: `LogError`: `.noStore`, `.foreignStore`, `.newerVersion`, `.inUse`, `.damaged` when nothing can be read of it.
    public static func open(
        directory: String, fileSystem: any FileSystem = RealFileSystem()
    ) throws(LogError) -> OfflineReader {
        let files = ReadOnlyFileSystem(fileSystem, directory, readsInUse: false)
        let identity = try StoreIdentity(directory, files)
        do throws(LogError) {
            return try OfflineReader(directory, identity, files)
        } catch {
            guard error.code == .inUse else { throw error }
            throw LogError(
                .inUse,
                "a broker runs on the data directory \(directory); stop it first, or ask it for the messages")
        }
    }

    init(_ directory: String, _ identity: StoreIdentity, _ fileSystem: ReadOnlyFileSystem) throws(LogError) {
        var configuration = LogConfiguration(storage: .file(directory: directory))
        configuration.execution = .manual
        configuration.clusterID = identity.clusterID ?? ""
        clusterID = identity.clusterID
        log = try Log.open(configuration, fileSystem: fileSystem, wake: {})
    }

    // The log is not closed, which would write.
    deinit { log.abandon() }

    /// Every channel, oldest first.
    public var channels: [StoredChannel] {
        log.channels.compactMap { id in
            guard let name = log.name(of: id), let info = log.info(of: id) else { return nil }
            return StoredChannel(
                id: id, name: name, firstSequence: info.firstSequence, lastSequence: info.lastSequence,
                messages: info.messages, bytes: info.bytes)
        }
    }

    /// Reads the messages of a channel in the order of their sequences, from `sequence` on, until `body` returns false.
    /// Messages that are damaged are left out.
    ///
    /// - Parameter body: gets each message, whose bytes are valid until it returns.
    /// - Throws: `LogError`: `.noChannel`; `.fileSystem` when files cannot be opened.
    public func forEachMessage(
        of channel: [UInt8], from sequence: UInt64 = 1, _ body: (StoredMessage) -> Bool
    ) throws(LogError) {
        guard let id = log.channel(named: channel) else {
            throw LogError(.noChannel, "there is no channel \"\(String(decoding: channel, as: UTF8.self))\"")
        }
        unsafe try log.forEachMessage(of: id, from: sequence, body)
    }

    /// What damage took, or may have taken, of a channel's messages: all of it for those that were read before.
    ///
    /// - Parameter sequences: the messages that are asked about.
    /// - Returns: the damage that concerns them, also where nobody can say what it took; and those that are lost, to damage that
    ///   was repaired too.
    public func losses(
        of channel: [UInt8], in sequences: ClosedRange<UInt64>
    ) -> (damage: [Damage], lost: [LostRange]) {
        guard let id = log.channel(named: channel) else { return ([], []) }
        let segments = "channels/\(id.rawValue)/"
        let damage = log.statistics.damage.filter { damage in
            // What a damaged frame of the journal names need not be all that was in it.
            damage.file.hasPrefix("journal") || damage.lost.isEmpty && damage.file.hasPrefix(segments)
                || damage.lost.contains { $0.channel == id && $0.sequences.overlaps(sequences) }
        }
        let lost = (log.info(of: id)?.damage ?? []).filter { $0.overlaps(sequences) }
        return (damage, lost.map { LostRange(channel: id, name: channel, sequences: $0) })
    }
}

extension Log {
    /// Reads the messages of a channel in order, from `sequence` on, until `body` returns false. For
    /// `LogExecution.manual`.
    func forEachMessage(
        of channel: ChannelID, from sequence: UInt64 = 1, _ body: (StoredMessage) -> Bool
    ) throws(LogError) {
        var sequence = sequence
        var fruitless = 0
        while true {
            switch read(channel, at: sequence) {
            case .messages(let batch):
                fruitless = 0
                for index in 0..<batch.count {
                    guard unsafe body(batch.message(at: index)) else { return }
                }
                sequence = batch.lastSequence + 1
            case .loading:
                while stepReader() {}
                _ = poll()
                fruitless += 1
                if fruitless > 1_000 { throw unreadable(sequence) }
            case .missing(let next):
                // A message that is gone is followed by one above it; anything else would go round for ever.
                guard next > sequence else { throw unreadable(sequence) }
                sequence = next
            case .end: return
            }
        }
    }

    private func unreadable(_ sequence: UInt64) -> LogError {
        LogError(.fileSystem, "sequence \(sequence) cannot be read: its file cannot be opened")
    }
}
