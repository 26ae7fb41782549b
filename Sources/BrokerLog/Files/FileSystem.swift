/// An open file of a `FileSystem`.
public struct OpenFile: Hashable, Sendable {
    /// The file system's own number for it.
    public let descriptor: Int32

    /// Wraps a file system's number.
    public init(descriptor: Int32) { self.descriptor = descriptor }
}

/// How a file is opened.
public enum OpenMode: Sendable {
    /// For reading; it must exist.
    case read
    /// For reading and writing; it must exist.
    case write
    /// The same, and where file system and disk can, what is written goes to the disk without a copy in the page cache. Memory
    /// begins at a multiple of 4096, and offset and count are multiples of 512. It is synced like any other.
    case writeDirect
    /// For reading and writing; it is made empty, and created if absent.
    case create
    /// For reading and writing; created if absent, content kept.
    case writeOrCreate
}

/// What a directory lies on.
public enum VolumeKind: Equatable, Sendable {
    /// A disk.
    case disk
    /// Memory: gone with the machine.
    case memory
    /// A network file system, by name.
    case network(String)
}

/// The calls that the log makes on files, real or simulated. Each may be made from any thread. Paths are
/// as the operating system takes them. Offsets and counts are bytes.
public protocol FileSystem: AnyObject, Sendable {
    /// Opens a file.
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> OpenFile
    /// Closes a file; locks on it end.
    func close(_ file: OpenFile)
    /// Length of an open file.
    func size(_ file: OpenFile) throws(FileError) -> Int
    /// Whether no name leads to an open file any more.
    func isUnlinked(_ file: OpenFile) throws(FileError) -> Bool
    /// Reads as many bytes as `buffer` has, or to the end of the file; returns how many.
    func read(_ file: OpenFile, into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileError)
        -> Int
    /// Writes all bytes, or throws having written some.
    func write(_ file: OpenFile, _ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError)
    /// Cuts a file, or lengthens it by zeros that take no space.
    func truncate(_ file: OpenFile, to size: Int) throws(FileError)
    /// `fdatasync`: the content, and the length, are on disk when it returns.
    func sync(_ file: OpenFile) throws(FileError)
    /// `sync_file_range`: begins to hand `count` bytes at `offset` to the disk, so that a later sync has little left to do.
    /// Promises nothing: what has to survive a crash is synced.
    func beginWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError)
    /// `sync_file_range`: waits until the disk has what was begun of `count` bytes at `offset`. Promises nothing either.
    func awaitWriteBack(_ file: OpenFile, at offset: Int, count: Int) throws(FileError)
    /// Forgets pages of the file that are not waiting to be written, so that reads see the disk.
    func dropCache(_ file: OpenFile)
    /// Takes the exclusive lock of a file; false when another process has it.
    func lock(_ file: OpenFile) throws(FileError) -> Bool
    /// Renames within a directory, replacing what has the name.
    func rename(_ path: String, to target: String) throws(FileError)
    /// Removes a file.
    func remove(_ path: String) throws(FileError)
    /// Creates a directory; its parent exists.
    func makeDirectory(_ path: String) throws(FileError)
    /// Removes an empty directory.
    func removeDirectory(_ path: String) throws(FileError)
    /// Names in a directory, sorted.
    func list(_ path: String) throws(FileError) -> [String]
    /// Names created, renamed and removed in a directory are on disk when it returns.
    func syncDirectory(_ path: String) throws(FileError)
    /// `syncfs`: everything written to the file system of `path`, on which `file` lies, is on disk when it returns. Linux tells
    /// of a write that failed once by each open file, so this is one that was opened before: of a file that is opened for it
    /// another process may have had the news.
    func syncAll(_ path: String, by file: OpenFile) throws(FileError)
    /// Up to `depth` writes at once that are durable when they end; nil where there is no such thing.
    func makeDurableWrites(depth: Int) -> (any DurableWrites)?
    /// What `path` lies on.
    func volume(of path: String) -> VolumeKind
    /// 64 random bits, for identities.
    func randomIdentity() -> UInt64
}

/// A call of the file system that failed.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call, as in `fdatasync`.
    public let call: String
    /// The file or directory.
    public let path: String
    /// `errno`.
    public let code: Int32

    /// A failed call.
    public init(call: String, path: String, code: Int32) {
        self.call = call
        self.path = path
        self.code = code
    }
}
