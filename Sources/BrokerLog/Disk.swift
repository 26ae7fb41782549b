/// The parts of a log with file storage: the directory, the journal's committer, and their threads.
final class Disk {
    let fileSystem: any FileSystem
    let directory: StoreDirectory
    let files: JournalFiles
    let committer: Committer
    var threads: [WorkerThread] = []
    /// Bytes submitted and not durable yet.
    var bytesInFlight = 0
    /// Behind the last frame that the loop knows durable, and what is known synced.
    var place: JournalPlace
    var synced: UInt64
    /// Journal bytes when the last checkpoint was begun.
    var isRefusing = false

    init(
        fileSystem: any FileSystem, directory: StoreDirectory, files: JournalFiles, committer: Committer,
        place: JournalPlace, synced: UInt64
    ) {
        self.fileSystem = fileSystem
        self.directory = directory
        self.files = files
        self.committer = committer
        self.place = place
        self.synced = synced
    }
}
