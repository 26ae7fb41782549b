import BrokerLog
import Glibc
import Synchronization

/// The operating system's files, of which none can be changed: every file is opened for reading, and every call that would
/// change one fails. What looks into a data directory goes through it, so that looking cannot do harm.
final class ReadOnlyFileSystem: FileSystem {
    private let real = RealFileSystem()
    private let locked = Mutex<[OpenFile]>([])

    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> OpenFile { try real.open(path, .read) }
    func close(_ file: OpenFile) {
        // A number that is closed may be another file's soon.
        locked.withLock { $0.removeAll { $0 == file } }
        real.close(file)
    }

    func size(_ file: OpenFile) throws(FileError) -> Int { try real.size(file) }

    func read(
        _ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FileError) -> Int {
        try unsafe real.read(file, into: buffer, at: offset)
    }

    /// A broker that runs has the lock.
    func lock(_ file: OpenFile) throws(FileError) -> Bool {
        guard try real.lock(file) else { return false }
        locked.withLock { $0.append(file) }
        return true
    }

    /// Gives the lock back.
    func release() {
        let files = locked.withLock { files in
            defer { files = [] }
            return files
        }
        for file in files { real.close(file) }
    }

    func list(_ path: String) throws(FileError) -> [String] { try real.list(path) }
    func volume(of path: String) -> VolumeKind { real.volume(of: path) }
    func randomIdentity() -> UInt64 { real.randomIdentity() }
    func dropCache(_ file: OpenFile) { real.dropCache(file) }

    // Nothing was written, so that nothing waits to be synced.
    func sync(_ file: OpenFile) throws(FileError) {}
    func syncDirectory(_ path: String) throws(FileError) {}
    func syncAll(_ path: String) throws(FileError) {}

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
