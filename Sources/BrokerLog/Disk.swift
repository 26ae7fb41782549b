/// The parts of a log with file storage, and what the loop knows of them. Owned by the log's loop.
final class Disk {
    /// Something for the background thread that waits until a position is durable.
    enum Pending {
        case block(ChannelID, BlockStorage, BlockSummary)
        case checkpoint(CheckpointRequest)

        /// The position.
        var needs: UInt64 {
            switch self {
            case .block(_, _, let summary): summary.lastPosition
            case .checkpoint(let request): request.position
            }
        }
    }

    let fileSystem: any FileSystem
    let directory: StoreDirectory
    let files: JournalFiles
    let committer: Committer
    let background: Background
    let readers: ReaderQueue
    var threads: [WorkerThread] = []

    /// Bytes submitted and not durable yet.
    var bytesInFlight = 0
    /// Behind the last frame that the loop knows durable, and what is known synced.
    var place: JournalPlace
    var synced: UInt64

    /// Sealed blocks and checkpoints on their way to the background thread, in order. Nothing goes
    /// before this opening wrote to the journal, so that opening alone changes no byte.
    var pending: [Pending] = []
    var hasWritten = false
    /// Removals of files, each with the position that must be synced first.
    var drops: [(needs: UInt64, job: Background.Job)] = []
    /// Channels as the checkpoint that recovery began from lists them, until this opening wrote.
    var recoveredSegments: [CheckpointChannel] = []
    /// Bytes of sealed blocks that no segment has yet.
    var unwrittenBytes = 0

    /// Bytes of blocks in memory that a segment has, and those blocks in the order of their arrival.
    var cachedBytes = 0
    var cached: [(channel: ChannelID, first: UInt64)] = []
    var cachedHead = 0
    /// So many of them are looked through for blocks that are gone.
    var cachedSweep = 1024

    /// The search for channels at rest: id of the one looked at last, looks since a block was sealed, and when those
    /// had gone round all channels: bytes of open blocks then (the least since), and the time.
    var sweep = (channel: 0, misses: 0, bytes: 0, ended: UInt64(0))

    var checkpointRuns = false
    /// Journal bytes that recovery read; with those written since: now, and when the last checkpoint began.
    var recoveredBytes: UInt64 = 0
    var journalBytes: UInt64 = 0
    var checkpointBytes: UInt64 = 0
    /// The position that the newest checkpoint covers.
    var checkpointPosition: UInt64
    var checkpointedAt: UInt64
    /// Not before this time (monotonic nanoseconds), after a failure for want of space.
    var checkpointNotBefore: UInt64 = 0
    /// Why segments cannot be written, while the disk is full.
    var fullReason: String?

    init(
        fileSystem: any FileSystem, directory: StoreDirectory, files: JournalFiles, committer: Committer,
        background: Background, readers: ReaderQueue, place: JournalPlace, synced: UInt64,
        checkpointPosition: UInt64,
        now: UInt64
    ) {
        self.fileSystem = fileSystem
        self.directory = directory
        self.files = files
        self.committer = committer
        self.background = background
        self.readers = readers
        self.place = place
        self.synced = synced
        self.checkpointPosition = checkpointPosition
        checkpointedAt = now
    }
}
