import Glibc
import Synchronization

/// Another file system's files, of which none can be changed: every file is opened for reading, and every call that would
/// change one fails. What looks into a data directory goes through it, so that looking cannot do harm.
final class ReadOnlyFileSystem: FileSystem {
    private let base: any FileSystem
    private let directory: String
    private let readsInUse: Bool
    private let foundInUse = Atomic<Bool>(false)
    /// Stands for a file that writing would have created, and for the lock where it is not held: it is empty.
    private static let absent = OpenFile(descriptor: .min)

    /// - Parameters:
    ///   - directory: the data directory that is looked into.
    ///   - readsInUse: whether a broker may run on it, or start meanwhile (`isInUse` says so then): its lock is looked at and
    ///     not held. Otherwise it is taken as a broker takes it.
    init(_ base: any FileSystem, _ directory: String, readsInUse: Bool) {
        self.base = base
        self.directory = directory
        self.readsInUse = readsInUse
    }

    /// Whether another process held the lock.
    var isInUse: Bool { foundInUse.load(ordering: .relaxed) }

    /// Looks whether a broker runs on the directory now: one may have started since it was looked at before.
    func lookForBroker() throws(FileError) {
        guard readsInUse else { return }
        let file: OpenFile
        do throws(FileError) {
            file = try base.open(directory + "/lock", .read)
        } catch {
            guard error.isMissing else { throw error }
            return
        }
        // The lock ends with the file: reading takes minutes, and a broker that is started meanwhile must get it.
        defer { base.close(file) }
        if try !base.lock(file) { foundInUse.store(true, ordering: .relaxed) }
    }

    /// Whether a directory is missing, also where `list` shows it as empty.
    func isMissing(_ path: String) throws(FileError) -> Bool {
        do throws(FileError) {
            _ = try base.list(path)
            return false
        } catch {
            guard error.isMissing else { throw error }
            return true
        }
    }

    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> OpenFile {
        if readsInUse, path == directory + "/lock" {
            try lookForBroker()
            return Self.absent
        }
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

    func isUnlinked(_ file: OpenFile) throws(FileError) -> Bool {
        file == Self.absent ? true : try base.isUnlinked(file)
    }

    func read(
        _ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FileError) -> Int {
        file == Self.absent ? 0 : try unsafe base.read(file, into: buffer, at: offset)
    }

    /// A broker that runs has the lock.
    func lock(_ file: OpenFile) throws(FileError) -> Bool {
        file == Self.absent ? true : try base.lock(file)
    }

    /// One of the store's directories that is missing counts as empty, so that the rest can be read.
    func list(_ path: String) throws(FileError) -> [String] {
        do throws(FileError) {
            return try base.list(path)
        } catch {
            guard error.isMissing, RepairPlan.directories.contains(where: { path == "\(directory)/\($0)" })
            else { throw error }
            return []
        }
    }

    func makeDurableWrites(depth: Int) -> (any DurableWrites)? { nil }
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
