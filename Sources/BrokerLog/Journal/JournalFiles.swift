/// The journal's files: those in use, those ready to be used, those free to be recycled.
///
/// Files are made ready ahead by the background thread: one more than is needed soon stays behind as the
/// spare for control records (acknowledgements, deletions, limits), which a full disk must not stop. The
/// committer takes them, and makes one itself only when it is faster than the background. Either works
/// under the lock.
final class JournalFiles: @unchecked Sendable {
    // Sendable: everything mutable is touched under `monitor`.

    struct Entry: Equatable {
        var number: UInt64
        var size: Int
    }

    /// A file taken for use.
    struct Taken {
        var number: UInt64
        var file: OpenFile
        var size: Int
    }

    private let fileSystem: any FileSystem
    private let directory: String
    /// Size of a file in the long run, and of the next to be made.
    private let fullSize: Int
    private var nextSize: Int
    private var nextNumber: UInt64
    private let monitor = Monitor()
    private var used: [Entry]
    private var ready: [Taken] = []
    private var free: [Entry]
    private var totalBytes: Int

    /// - Parameters:
    ///   - used: files that recovery may need, oldest first.
    ///   - free: other files of the journal, which may be recycled.
    init(
        fileSystem: any FileSystem, directory: String, journalSizeBytes: Int, used: [Entry], free: [Entry]
    ) {
        self.fileSystem = fileSystem
        self.directory = directory
        // A sixteenth: two checkpoints' worth of files (half), those being written, and two ready.
        fullSize = min(32 << 20, max(64 << 10, journalSizeBytes / 16 / 4096 * 4096))
        let known = (used + free).map(\.size).max() ?? 0
        // The first file is small, so that an idle data directory is.
        nextSize = min(fullSize, max(256 << 10, known / 4096 * 4096))
        nextNumber = ((used + free).map(\.number).max() ?? 0) + 1
        self.used = used
        self.free = free
        totalBytes = (used + free).reduce(0) { $0 + $1.size }
    }

    /// Bytes of the next file that is made.
    var nextBytes: Int { monitor.locked { nextSize } }

    /// Bytes that all files take.
    var bytes: Int { monitor.locked { totalBytes } }

    /// A file to write the next frames to. For control records alone the spare may be taken.
    ///
    /// - Throws: the error that kept a file from being made.
    func take(forMessages: Bool) throws(FileError) -> Taken {
        try monitor.locked { () throws(FileError) in
            let needed = forMessages ? 2 : 1
            while ready.count < needed { try prepareOne() }
            let taken = ready.removeFirst()
            used.append(Entry(number: taken.number, size: taken.size))
            return taken
        }
    }

    /// Makes files ready up to `count`; one each call, true if there is more to do.
    func prepare(upTo count: Int) throws(FileError) -> Bool {
        try monitor.locked { () throws(FileError) in
            guard ready.count < count else { return false }
            try prepareOne()
            return ready.count < count
        }
    }

    /// Whether fewer than `count` files are ready.
    func needsMore(than count: Int) -> Bool { monitor.locked { ready.count < count } }

    /// Everything below file `number` is no longer needed: two checkpoints lie above it.
    func release(below number: UInt64) {
        monitor.locked {
            free += used.filter { $0.number < number }
            used.removeAll { $0.number < number }
        }
    }

    /// Closes what is open and not in use.
    func close() {
        monitor.locked {
            for file in ready { fileSystem.close(file.file) }
            ready = []
        }
    }

    private func prepareOne() throws(FileError) {
        while let old = free.popLast() {
            if old.size >= nextSize {
                try recycle(old)
                return
            }
            try fileSystem.remove(path(old.number))
            totalBytes -= old.size
        }
        try create()
    }

    /// Gives a file that is no longer needed the next number; its blocks were written before.
    private func recycle(_ old: Entry) throws(FileError) {
        let number = nextNumber
        do throws(FileError) {
            try fileSystem.rename(path(old.number), to: path(number))
        } catch {
            free.append(old)
            throw error
        }
        nextNumber += 1
        do throws(FileError) {
            try fileSystem.syncDirectory(directory)
            ready.append(
                Taken(number: number, file: try fileSystem.open(path(number), .write), size: old.size))
        } catch {
            free.append(Entry(number: number, size: old.size))
            throw error
        }
    }

    private func create() throws(FileError) {
        let size = nextSize
        let number = nextNumber
        nextNumber += 1
        let file = try fileSystem.open(path(number), .create)
        do throws(FileError) {
            let step = min(size, 1 << 20)
            let zeros = [UInt8](repeating: 0, count: step)
            var offset = 0
            while offset < size {
                let count = min(step, size - offset)
                try unsafe zeros.span.withUnsafeBytes { buffer throws(FileError) in
                    try unsafe fileSystem.write(
                        file, UnsafeRawBufferPointer(rebasing: buffer[0..<count]), at: offset)
                }
                offset += count
            }
            try fileSystem.sync(file)
            try fileSystem.syncDirectory(directory)
        } catch {
            fileSystem.close(file)
            do throws(FileError) {
                try fileSystem.remove(path(number))
            } catch {
                // It stays behind empty or half made, which recovery takes for a file never used.
            }
            throw error
        }
        totalBytes += size
        nextSize = min(fullSize, nextSize * 4)
        ready.append(Taken(number: number, file: file, size: size))
    }

    /// Path of a file.
    func path(_ number: UInt64) -> String { directory + "/" + JournalFileHeader.name(number) }
}
