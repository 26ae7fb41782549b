/// Files whose names are gone and whose space is given back a piece at a time.
///
/// A file system that tells its disk at once what is free (`discard`) keeps every sync of the journal waiting as long as that
/// takes: 10 ms for a segment on one disk, and a channel that is deleted has hundreds. An open file keeps its space when
/// its name goes, so no checkpoint and no start sees any of this; what a crash leaves is the file system's to free.
/// Before a file is shortened its name is gone for good: a crash must not bring it back shorter than a checkpoint says.
struct RemovedFiles {
    private let fileSystem: any FileSystem
    /// Bytes that go at once.
    private let pieceBytes: Int
    /// Without a name; the last one is being shortened.
    private var files: [(file: OpenFile, size: Int)] = []
    /// Directories that the names were in, as long as a crash may bring them back.
    private var unsynced: Set<String> = []
    /// A sync of a directory failed: what a later one says of the same names is not to be believed, so no file is shortened.
    private var hasFailed = false
    /// When the next piece may go, by the clock.
    private var nextPiece: UInt64 = 0
    /// How much longer than a piece takes the pause behind it is.
    private static let pauseFactor: UInt64 = 5
    /// Where more files than these wait, 4 GiB of full segments, pauses are as long as the pieces.
    private static let many = 64
    /// Nanoseconds of a pause.
    private static let pauses: ClosedRange<UInt64> = 1_000_000...1_000_000_000
    /// Descriptors that removal may take: 8 GiB of full segments. What is more goes at once.
    private static let mostOpen = 128

    init(fileSystem: any FileSystem, pieceBytes: Int) {
        self.fileSystem = fileSystem
        self.pieceBytes = pieceBytes
    }

    /// Whether all space is given back.
    var isEmpty: Bool { files.isEmpty }

    /// Removes a file's name, and its space where it is small, or no descriptor is to be had.
    ///
    /// - Throws: what `FileSystem.remove` does.
    mutating func remove(_ path: String) throws(FileError) {
        guard !hasFailed, files.count < Self.mostOpen, let file = try? fileSystem.open(path, .write) else {
            try fileSystem.remove(path)
            return
        }
        var isKept = false
        defer { if !isKept { fileSystem.close(file) } }
        // Without a size, or without knowing that no other name leads to it (a copy by hard links), it is none of ours.
        let size = (try? fileSystem.size(file)) ?? 0
        try fileSystem.remove(path)
        if size > pieceBytes, (try? fileSystem.isUnlinked(file)) == true {
            files.append((file, size))
            isKept = true
            unsynced.insert(Self.directory(of: path))
        }
    }

    /// Nanoseconds until the next piece may go; nil when there is none.
    func pause(now: UInt64) -> UInt64? {
        if files.isEmpty { return nil }
        return nextPiece > now ? nextPiece - now : 0
    }

    /// Gives back one piece, or sees to it that names stay away, which comes before; the disk is the others' then for a while.
    ///
    /// - Returns: the error of a sync, after which a crash may bring the names back.
    mutating func releasePiece(_ clock: LogClock) -> FileError? {
        let start = clock.now()
        var failure: FileError?
        if let directory = unsynced.first {
            failure = syncNames(directory)
        } else if let (file, size) = files.popLast() {
            // The end that is left lies at a whole piece, so in no block of the file system.
            let rest = (size - 1) / pieceBytes * pieceBytes
            // One that cannot be shortened goes as a whole.
            if rest > 0, (try? fileSystem.truncate(file, to: rest)) != nil {
                files.append((file, rest))
            } else {
                fileSystem.close(file)
            }
        }
        let end = clock.now()
        let pause = (end - start) * (files.count > Self.many ? 1 : Self.pauseFactor)
        nextPiece = end + min(max(pause, Self.pauses.lowerBound), Self.pauses.upperBound)
        return failure
    }

    /// Sees to it that names which went from a directory, or with it, stay away. Where that fails all files go as a whole: no
    /// promise is made of them.
    private mutating func syncNames(_ directory: String) -> FileError? {
        do throws(FileError) {
            do throws(FileError) {
                try fileSystem.syncDirectory(directory)
            } catch {
                guard error.isMissing else { throw error }
                try fileSystem.syncDirectory(Self.directory(of: directory))
            }
            unsynced.remove(directory)
            return nil
        } catch {
            hasFailed = !error.mayPass
            _ = releaseAll()
            return hasFailed ? error : nil
        }
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// Gives back everything; false when there was nothing.
    mutating func releaseAll() -> Bool {
        defer {
            files = []
            unsynced = []
        }
        for (file, _) in files { fileSystem.close(file) }
        return !files.isEmpty
    }
}
