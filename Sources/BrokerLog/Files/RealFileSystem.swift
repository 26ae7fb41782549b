import CBroker
import Glibc

/// The file system of the operating system.
public final class RealFileSystem: FileSystem {
    /// The operating system's files.
    public init() {}

    public func open(_ path: String, _ mode: OpenMode) throws(FileError) -> OpenFile {
        let flags =
            switch mode {
            case .read: O_RDONLY
            case .write: O_RDWR
            case .writeDirect: O_RDWR | cbroker_o_direct
            case .create: O_RDWR | O_CREAT | O_TRUNC
            case .writeOrCreate: O_RDWR | O_CREAT
            }
        let descriptor = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o640)
        // A file system without direct I/O, or another reason, which is the same without.
        if descriptor < 0, mode == .writeDirect { return try open(path, .write) }
        if descriptor < 0 { throw FileError(call: "open", path: path, code: errno) }
        return OpenFile(descriptor: descriptor)
    }

    public func close(_ file: OpenFile) { _ = Glibc.close(file.descriptor) }

    public func size(_ file: OpenFile) throws(FileError) -> Int {
        var status = stat()
        if unsafe fstat(file.descriptor, &status) != 0 { throw error("fstat", file) }
        return Int(status.st_size)
    }

    public func isUnlinked(_ file: OpenFile) throws(FileError) -> Bool {
        var status = stat()
        if unsafe fstat(file.descriptor, &status) != 0 { throw error("fstat", file) }
        return status.st_nlink == 0
    }

    public func read(
        _ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
    ) throws(FileError) -> Int {
        var done = 0
        while done < buffer.count, let base = buffer.baseAddress {
            let count = unsafe pread(file.descriptor, base + done, buffer.count - done, off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw error("pread", file)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    public func write(_ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let count = unsafe pwrite(file.descriptor, base + done, bytes.count - done, off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EINVAL, leaveDirect(file) { continue }
                throw error("pwrite", file)
            }
            // A short count says that the disk filled up; the next call says which way.
            done += count
        }
    }

    /// Lets writes of a file go through the page cache, whose memory or place no direct write may have; false if they did.
    private func leaveDirect(_ file: OpenFile) -> Bool {
        let flags = fcntl(file.descriptor, F_GETFL)
        guard flags >= 0, flags & cbroker_o_direct != 0 else { return false }
        return fcntl(file.descriptor, F_SETFL, flags & ~cbroker_o_direct) == 0
    }

    public func truncate(_ file: OpenFile, to size: Int) throws(FileError) {
        if ftruncate(file.descriptor, off_t(size)) != 0 { throw error("ftruncate", file) }
    }

    public func sync(_ file: OpenFile) throws(FileError) {
        // Not repeated on EINTR or anything else: a failed sync is never retried.
        if fdatasync(file.descriptor) != 0 { throw error("fdatasync", file) }
    }

    public func beginWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError) {
        try checkWriteBack(cbroker_begin_write_back(file.descriptor, Int64(offset), Int64(count)), file)
    }

    public func awaitWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError) {
        try checkWriteBack(cbroker_await_write_back(file.descriptor, Int64(offset), Int64(count)), file)
    }

    private func checkWriteBack(_ result: Int32, _ file: OpenFile) throws(FileError) {
        if result == 0 { return }
        // A kernel that cannot do that writes when it syncs.
        if errno == ENOSYS { return }
        throw error("sync_file_range", file)
    }

    public func dropCache(_ file: OpenFile) {
        _ = posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
    }

    public func lock(_ file: OpenFile) throws(FileError) -> Bool {
        if flock(file.descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
        if errno == EWOULDBLOCK { return false }
        throw error("flock", file)
    }

    public func rename(_ path: String, to target: String) throws(FileError) {
        if unsafe Glibc.rename(path, target) != 0 { throw FileError(call: "rename", path: path, code: errno) }
    }

    public func remove(_ path: String) throws(FileError) {
        if unsafe unlink(path) != 0 { throw FileError(call: "unlink", path: path, code: errno) }
    }

    public func makeDirectory(_ path: String) throws(FileError) {
        if unsafe mkdir(path, 0o750) != 0 { throw FileError(call: "mkdir", path: path, code: errno) }
    }

    public func removeDirectory(_ path: String) throws(FileError) {
        if unsafe rmdir(path) != 0 { throw FileError(call: "rmdir", path: path, code: errno) }
    }

    public func list(_ path: String) throws(FileError) -> [String] {
        guard let directory = unsafe opendir(path) else {
            throw FileError(call: "opendir", path: path, code: errno)
        }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while true {
            // It tells the end from an error by this alone.
            errno = 0
            guard let entry = unsafe readdir(directory) else { break }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        if errno != 0 { throw FileError(call: "readdir", path: path, code: errno) }
        return names.sorted()
    }

    public func syncDirectory(_ path: String) throws(FileError) {
        let directory = try openDirectory(path)
        defer { _ = Glibc.close(directory) }
        if fsync(directory) != 0 { throw FileError(call: "fsync", path: path, code: errno) }
    }

    public func syncAll(_ path: String, by file: OpenFile) throws(FileError) {
        if cbroker_syncfs(file.descriptor) != 0 { throw FileError(call: "syncfs", path: path, code: errno) }
    }

    public func makeDurableWrites(depth: Int) -> (any DurableWrites)? { AsynchronousWrites(depth: depth) }

    public func volume(of path: String) -> VolumeKind {
        // Magic numbers of statfs(2).
        switch unsafe cbroker_volume_magic(path) {
        case 0x0102_1994, 0x8584_58F6: return .memory
        case 0x6969: return .network("NFS")
        case 0xFF53_4D42, 0xFE53_4D42, 0x517B: return .network("SMB")
        case 0x00C3_6400: return .network("Ceph")
        case 0x0102_1997: return .network("9P")
        default: return .disk
        }
    }

    public func randomIdentity() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }

    private func openDirectory(_ path: String) throws(FileError) -> Int32 {
        let directory = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory < 0 { throw FileError(call: "open", path: path, code: errno) }
        return directory
    }

    private func error(_ call: String, _ file: OpenFile) -> FileError {
        let code = errno
        return FileError(call: call, path: Self.path(of: file), code: code)
    }

    /// Where an open file is, for a person to read.
    static func path(of file: OpenFile) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = unsafe readlink("/proc/self/fd/\(file.descriptor)", &buffer, buffer.count - 1)
        return String(decoding: buffer.prefix(max(0, length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
