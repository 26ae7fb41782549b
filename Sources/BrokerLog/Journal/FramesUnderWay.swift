/// Frames that the loop gave to the disk itself, oldest first, and their memory, which is the disk's until it has them. They
/// end in any order and are taken in the order of the journal. Owned by the loop.
///
/// Handing a batch to the committer's thread and being told of its end costs two wake-ups, which for a batch of a few messages
/// is as long as the disk takes (decision 0035).
final class FramesUnderWay {
    struct Frame {
        var chunks: [JournalChunk]
        /// What is written: the chunk, or the chunks put together.
        var memory: JournalChunk
        /// Where it begins, and behind it.
        var before: JournalPlace
        var after: JournalPlace
        /// Nil: it has not ended.
        var outcome: DurableWriteOutcome?
    }

    /// How many at once. With more of them each is smaller; and as many at the journal's end may be taken for never synced, should
    /// the first of them be damaged after a crash.
    static let depth = 4
    /// Bytes of records that may be on their way. Where there is more to write, fewer and larger frames are better, and a
    /// wake-up of the thread costs little for what it takes off the loop.
    static let limit = 8 << 10
    /// Nanoseconds since the oldest was submitted after which no more are begun: the disk may hang, and beginning, which some
    /// file systems take part of their own journal's time for, may hang with it. That is for the thread to find out.
    static let patience: UInt64 = 20_000_000

    private let writes: any DurableWrites
    private var frames: [Frame] = []
    /// Where chunks are put together, if it is not in use.
    private var spares: [JournalChunk] = []
    /// Number of the first of `frames`.
    private var firstNumber: UInt64 = 0
    /// The most records that were on their way or waited to be, less one for each frame since.
    private var crowd = 0
    private var isClosed = false

    init(_ writes: any DurableWrites) { self.writes = writes }

    deinit { close() }

    /// Waits for those under way, which are not asked for again.
    func close() {
        if !isClosed { writes.close() }
        isClosed = true
    }

    /// Readable when frames have ended.
    var events: Int32? { writes.events }
    /// Bytes of records on their way.
    var bytes: Int { frames.reduce(0) { $0 + $1.memory.recordBytes } }
    /// When the oldest was submitted.
    var submittedAt: UInt64? { frames.first?.chunks[0].submittedAt }
    var isEmpty: Bool { frames.isEmpty }
    var isFull: Bool { frames.count == Self.depth }
    var haveAllEnded: Bool { frames.allSatisfy { $0.outcome != nil } }

    /// Whether one more is worth its two requests at the disk, with their interrupts and wake-ups (decision 0040). While few
    /// publish, each message goes at once; where more do than there may be frames, one beside others waits for company.
    ///
    /// - Parameter waiting: records that it would have.
    func admits(_ waiting: Int) -> Bool {
        crowd = max(crowd, frames.reduce(waiting) { $0 + $1.memory.recordCount })
        return isEmpty || crowd <= Self.depth || waiting >= 2 * frames.count
    }

    /// Begins to write a batch, which fits into the writer's file. Nil, or how it was refused, with nothing begun.
    func begin(_ chunks: [JournalChunk], by writer: JournalWriter) -> WriteRefusal? {
        let before = writer.place
        let memory = chunks.count == 1 ? chunks[0] : spares.popLast() ?? JournalChunk()
        if chunks.count > 1 { memory.gather(chunks) }
        let refusal = writer.begin(memory, number: firstNumber + UInt64(frames.count), by: writes)
        if refusal == nil {
            frames.append(Frame(chunks: chunks, memory: memory, before: before, after: writer.place))
        } else if chunks.count > 1 {
            spares.append(memory)
        }
        return refusal
    }

    /// Notes which have ended.
    ///
    /// - Parameter waits: whether the end of one is waited for.
    func collect(waits: Bool = false) {
        var waits = waits && !haveAllEnded
        while !haveAllEnded, let ended = writes.takeEnded(waits: waits) {
            frames[Int(ended.number - firstNumber)].outcome = ended.outcome
            waits = false
        }
    }

    /// The oldest and how it ended, nil if it has not.
    var firstEnded: (frame: Frame, outcome: DurableWriteOutcome)? {
        guard let frame = frames.first, let outcome = frame.outcome else { return nil }
        return (frame, outcome)
    }

    /// Why one of them failed.
    var failure: FileError? {
        for case .failed(let error) in frames.compactMap(\.outcome) { return error }
        return nil
    }

    func removeFirst() -> Frame {
        firstNumber += 1
        crowd = max(0, crowd - 1)
        let frame = frames.removeFirst()
        if frame.chunks.count > 1 { spares.append(frame.memory) }
        return frame
    }
}
