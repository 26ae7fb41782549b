/// Reads a whole store and says what is there and what is damaged; changes nothing.
public struct LogCheck: Equatable, Sendable {
    /// Every channel: its name and what it holds.
    public private(set) var channels: [(name: [UInt8], info: ChannelInfo)] = []
    /// Everything that is not what was written.
    public private(set) var damage: [Damage] = []
    /// The unsynced tail that the next start will cut, nil if there is none.
    public private(set) var cutTail: String?

    /// Reads the store in `directory`, every block of every channel.
    ///
    /// - Throws: `LogError`: `.inUse` while a broker has it open, `.damaged` when there is no store.
    public init(directory: String, fileSystem: any FileSystem = RealFileSystem()) throws(LogError) {
        let (_, cluster) = try StoreDirectory.readStore(directory, fileSystem)
        var configuration = LogConfiguration(storage: .file(directory: directory))
        configuration.execution = .manual
        configuration.clusterID = cluster
        let log = try Log.open(configuration, fileSystem: fileSystem, wake: {})
        for id in log.channels {
            log.readThrough(id)
            if let name = log.name(of: id), let info = log.info(of: id) { channels.append((name, info)) }
        }
        damage = log.statistics.damage
        cutTail = log.recovery.cutTail
        log.close(state: [])
    }

    /// Compares every part.
    public static func == (left: LogCheck, right: LogCheck) -> Bool {
        left.damage == right.damage && left.cutTail == right.cutTail
            && left.channels.elementsEqual(right.channels) { $0.name == $1.name && $0.info == $1.info }
    }
}

extension Log {
    /// Reads every message of a channel, which finds damaged blocks. For `LogExecution.manual`.
    func readThrough(_ channel: ChannelID) {
        var next: UInt64 = 1
        while true {
            switch read(channel, at: next) {
            case .messages(let batch): next = batch.lastSequence + 1
            case .missing(let after): next = after
            case .loading:
                while stepReader() {}
                _ = poll()
            case .end: return
            }
        }
    }
}
