import Glibc
import Synchronization

/// Another file system's files, of which none can be changed: every file is opened for reading, and every call that would
/// change one fails. What looks into a data directory goes through it, so that looking cannot do harm.
final class ReadOnlyFileSystem: FileSystem {
    private let base: any FileSystem
    private let readsInUse: Bool
    private let foundInUse = Atomic<Bool>(false)
    /// Stands for a file that writing would have created: it is empty.
    private static let absent = OpenFile(descriptor: .min)

    /// - Parameter readsInUse: whether a lock that another process holds is passed over (`isInUse` says so then).
    init(_ base: any FileSystem, readsInUse: Bool) {
        self.base = base
        self.readsInUse = readsInUse
    }

    /// Whether another process held the lock.
    var isInUse: Bool { foundInUse.load(ordering: .relaxed) }

    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> OpenFile {
        do throws(FileError) {
            return try base.open(path, .read)
        } catch {
            // A copy of a data directory may have been made without the lock file.
            if mode == .writeOrCreate, error.isMissing { return Self.absent }
            throw error
        }
    }

    func close(_ file: OpenFile) {
        if file != Self.absent { base.close(file) }
    }

    func size(_ file: OpenFile) throws(FileError) -> Int {
        file == Self.absent ? 0 : try base.size(file)
    }

    func read(
        _ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FileError) -> Int {
        file == Self.absent ? 0 : try unsafe base.read(file, into: buffer, at: offset)
    }

    /// A broker that runs has the lock.
    func lock(_ file: OpenFile) throws(FileError) -> Bool {
        if file == Self.absent { return true }
        if try base.lock(file) { return true }
        foundInUse.store(true, ordering: .relaxed)
        return readsInUse
    }

    func list(_ path: String) throws(FileError) -> [String] { try base.list(path) }
    func volume(of path: String) -> VolumeKind { base.volume(of: path) }
    func randomIdentity() -> UInt64 { base.randomIdentity() }

    func dropCache(_ file: OpenFile) {
        if file != Self.absent { base.dropCache(file) }
    }

    // Nothing was written, so that nothing waits to be synced.
    func sync(_ file: OpenFile) throws(FileError) {}
    func beginWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError) {}
    func awaitWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError) {}
    func syncDirectory(_ path: String) throws(FileError) {}
    func syncAll(_ path: String, by file: OpenFile) throws(FileError) {}

    func write(_ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        throw refusal("pwrite", "")
    }
    func truncate(_ file: OpenFile, to size: Int) throws(FileError) { throw refusal("ftruncate", "") }
    func rename(_ path: String, to target: String) throws(FileError) { throw refusal("rename", path) }
    func remove(_ path: String) throws(FileError) { throw refusal("unlink", path) }
    func makeDirectory(_ path: String) throws(FileError) { throw refusal("mkdir", path) }
    func removeDirectory(_ path: String) throws(FileError) { throw refusal("rmdir", path) }

    private func refusal(_ call: String, _ path: String) -> FileError {
        FileError(call: call, path: path, code: EROFS)
    }
}
