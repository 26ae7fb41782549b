/// A stored message, seen in place: its bytes are valid while the batch that gave it is alive.
@unsafe
public struct StoredMessage {
    /// Sequence in its channel.
    public let sequence: UInt64
    /// Nanoseconds since 1970; never below that of the message before it in the channel.
    public let timestamp: Int64
    /// Its place among all records of the store.
    public let position: LogPosition
    /// The reply subject, often empty.
    public let reply: UnsafeRawBufferPointer
    /// The header block as published, often empty.
    public let headers: UnsafeRawBufferPointer
    /// The payload.
    public let payload: UnsafeRawBufferPointer
}

/// Consecutive durable messages of one channel, seen in one block of memory, which stays as long as
/// the batch does: keep a batch to serve many consumers, let go of it soon.
public struct MessageBatch {
    private let storage: BlockStorage
    private let firstIndex: Int
    /// Sequence of `message(at: 0)`.
    public let firstSequence: UInt64
    /// Messages, at least 1; sequences are consecutive.
    public let count: Int

    init(storage: BlockStorage, firstIndex: Int, firstSequence: UInt64, count: Int) {
        self.storage = storage
        self.firstIndex = firstIndex
        self.firstSequence = firstSequence
        self.count = count
    }

    /// Sequence of the last message.
    public var lastSequence: UInt64 { firstSequence &+ UInt64(truncatingIfNeeded: count &- 1) }

    /// Message `index` of the batch, from 0. Its buffers are valid while this batch is.
    @inlinable
    public func message(at index: Int) -> StoredMessage { unsafe decode(index) }

    @usableFromInline
    func decode(_ index: Int) -> StoredMessage {
        precondition(index >= 0 && index < count, "a batch has no message beyond its count")
        let record = unsafe storage.record(firstIndex &+ index)
        let length = unsafe Record.length(record)
        let reply = unsafe Record.replyLength(record)
        let headers = unsafe Record.headersLength(record)
        let body = unsafe record + Record.headerSize
        return unsafe StoredMessage(
            sequence: Record.sequence(record), timestamp: Record.timestamp(record),
            position: LogPosition(rawValue: Record.position(record)),
            reply: UnsafeRawBufferPointer(start: body, count: reply),
            headers: UnsafeRawBufferPointer(start: body + reply, count: headers),
            payload: UnsafeRawBufferPointer(
                start: body + reply + headers, count: length - Record.headerSize - reply - headers))
    }
}
