/// Writes that the disk makes durable while whoever began them goes on, several at once, which end in any order.
/// One owner at a time.
public protocol DurableWrites: AnyObject {
    /// Readable once writes have ended that were not asked for; nil where nobody can wait for it (a simulation).
    var events: Int32? { get }

    /// Begins to write whole sectors, from memory that begins at a page, within a file that was opened to be written
    /// directly. They must stay as they are until the write with this number has ended.
    ///
    /// - Returns: nil; or how it was refused, with nothing begun.
    func begin(_ number: UInt64, _ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int)
        -> WriteRefusal?

    /// A write that has ended; nil if none has.
    ///
    /// - Parameter waits: whether one is waited for, of which there must be one under way.
    func takeEnded(waits: Bool) -> (number: UInt64, outcome: DurableWriteOutcome)?

    /// Waits for what is under way, and lets go of everything.
    func close()
}

/// Why a durable write has to be made another way, by a call that waits.
public enum WriteRefusal: Equatable, Sendable {
    /// It would have had to wait for something.
    case wouldWait
    /// The kernel or the file system does not do it.
    case unsupported
}

/// How a durable write ended.
public enum DurableWriteOutcome: Equatable, Sendable {
    /// All of it is on disk.
    case durable
    /// Some of it may be written, and it may be written again, another way.
    case refused(WriteRefusal)
    /// The disk failed: nothing is retried.
    case failed(FileError)
}
