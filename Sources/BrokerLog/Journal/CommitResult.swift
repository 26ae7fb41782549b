/// What became durable by one step of the committer.
struct CommitResult {
    /// The chunks of its frame, whose touches say which channels.
    var chunks: [JournalChunk]
    /// Behind the frame.
    var place: JournalPlace
    var synced: UInt64
    /// Bytes that the journal was given since it was opened.
    var journalBytes: UInt64
    /// Nanoseconds from `submit` to durable.
    var latency: UInt64
}
