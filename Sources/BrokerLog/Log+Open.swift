extension Log {
    /// Opens a log and recovers what is there.
    ///
    /// - Parameters:
    ///   - wake: called from the log's threads when `poll()` has news; also by `submit()` with memory storage.
    ///   - report: called on the loop, from methods of the log, with what an operator should know.
    /// - Throws: `LogError` with a sentence for the person who starts the broker.
    public static func open(
        _ configuration: LogConfiguration, clock: LogClock, wake: @escaping @Sendable () -> Void,
        report: @escaping (LogEvent) -> Void = { _ in }
    ) throws(LogError) -> Log {
        guard configuration.storage == .memory else {
            throw LogError(.invalidConfiguration, "file storage is not built yet: use -st memory")
        }
        return Log(configuration: configuration, clock: clock, wake: wake, report: report)
    }

    /// Keeps the engine's snapshot, taken now, which covers everything appended before this call.
    /// The rest happens in the background. Nothing to do with memory storage.
    public func checkpoint(state: [UInt8]) {}

    /// Submits and syncs what was appended, makes a last checkpoint, stops the log's threads and releases
    /// the directory. Blocks; call it once, at shutdown; nothing may be called after it.
    public func close(state: [UInt8]) { submit() }

    /// A block was sealed: with file storage it goes to its segment once it is durable.
    func blockSealed(_ entry: BlockEntry, of state: ChannelState) {}

    /// The front block of a channel is about to go.
    func frontDropped(_ state: ChannelState) {}

    /// Asks the reader for a block.
    func requestLoad(of position: Int, in state: ChannelState) {}
}
