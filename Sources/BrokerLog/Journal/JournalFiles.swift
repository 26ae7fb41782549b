/// The journal's files: those in use, those ready to be used, those free to be recycled.
///
/// Files are made ready ahead by the background thread: one more than is needed soon stays behind as the
/// spare for control records (acknowledgements, deletions, limits), which a full disk must not stop. The
/// committer takes them, and makes one itself only when it is faster than the background.
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
    /// How files are opened that frames go to.
    private let mode: OpenMode
    private let monitor = Monitor()
    private var used: [Entry]
    private var ready: [Taken] = []
    private var free: [Entry]
    private var totalBytes: Int
    /// A file could not be recycled: the next one is made, so that one that never can be stops nobody.
    private var createsNext = false
    /// How many files are recycled at once: as many as a checkpoint sets free, because each change of the directory is a
    /// transaction of the file system, for which writes of the journal may have to wait; where one could not be, each by itself.
    private var recycledTogether = JournalFiles.freedTogether
    private static let freedTogether = 4
    /// A thread is making a file ready.
    private var isPreparing = false
    /// Numbers of files in which something that was synced is damaged: they are not recycled.
    private var damaged: Set<UInt64>

    /// - Parameters:
    ///   - writesDirect: whether frames go past the page cache: where each is synced at once.
    ///   - used: files that recovery may need, oldest first.
    ///   - free: other files of the journal, which may be recycled.
    ///   - lastNumber: the greatest number that the store is known to have used, of files that may be gone: a new file must not
    ///     pass for one of those.
    ///   - damaged: what is known to be damaged, of which files named here are kept: under the name with `.damaged`
    ///     behind it, when they would be recycled.
    init(
        fileSystem: any FileSystem, directory: String, journalSizeBytes: Int, writesDirect: Bool,
        used: [Entry], free: [Entry], lastNumber: UInt64, damaged: [Damage] = []
    ) {
        mode = writesDirect ? .writeDirect : .write
        self.damaged = Set(
            damaged.compactMap { damage in
                let parts = damage.file.split(separator: "/")
                return parts.first == "journal" ? JournalFileHeader.number(String(parts.last ?? "")) : nil
            })
        self.fileSystem = fileSystem
        self.directory = directory
        // A sixteenth: two checkpoints' worth of files (half), those being written, and those ready.
        fullSize = min(32 << 20, max(64 << 10, journalSizeBytes / 16 / 4096 * 4096))
        let known = (used + free).map(\.size).max() ?? 0
        // The first file is small, so that an idle data directory is.
        nextSize = min(fullSize, max(256 << 10, known / 4096 * 4096))
        nextNumber = (used + free).reduce(lastNumber) { max($0, $1.number) } + 1
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
        while true {
            let taken = monitor.locked { () -> Taken? in
                guard ready.count >= (forMessages ? 2 : 1) else { return nil }
                let taken = ready.removeFirst()
                used.append(Entry(number: taken.number, size: taken.size))
                return taken
            }
            if let taken { return taken }
            try prepareOne()
        }
    }

    /// Makes files ready up to `count` or some more; a step each call, true if there is more to do.
    func prepare(upTo count: Int) throws(FileError) -> Bool {
        guard needsMore(than: count) else { return false }
        try prepareOne()
        return needsMore(than: count)
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

    /// What was damaged was copied to another place: its files may be recycled.
    func forgetDamage() { monitor.locked { damaged = [] } }

    /// Closes what is open and not in use.
    func close() {
        monitor.locked {
            for file in ready { fileSystem.close(file.file) }
            ready = []
        }
    }

    // MARK: Making files ready

    /// What is done next so that more files are ready.
    private enum Step {
        /// A file that is smaller than the next one should be goes.
        case remove(Entry)
        /// A file that is damaged gets another name.
        case setAside(Entry)
        /// Files that are no longer needed get the next numbers, from the first on; their blocks were written before.
        case recycle([Entry], from: UInt64)
        case create(UInt64, size: Int)
    }

    /// Makes one file ready or several, or a step towards that, or waits until another thread did. Nothing of that is done
    /// under the lock: the loop and the committer ask for numbers meanwhile.
    private func prepareOne() throws(FileError) {
        guard var step = monitor.locked(nextStep) else { return }
        do throws(FileError) {
            let taken = try perform(&step)
            monitor.locked { finish(step, taken) }
        } catch {
            monitor.locked { giveUp(step) }
            throw error
        }
    }

    /// Nil when another thread was at work, and it is done.
    private func nextStep() -> Step? {
        if isPreparing {
            while isPreparing { monitor.wait() }
            return nil
        }
        isPreparing = true
        // The oldest first: that the journal does not reach back to the first record says that there was a checkpoint.
        if !free.isEmpty, !createsNext {
            let old = free[0]
            if damaged.contains(old.number) { return .setAside(free.removeFirst()) }
            if old.size < nextSize { return .remove(free.removeFirst()) }
            let count = free.prefix(recycledTogether)
                .prefix { !damaged.contains($0.number) && $0.size >= nextSize }.count
            defer {
                free.removeFirst(count)
                nextNumber += UInt64(count)
            }
            return .recycle(Array(free.prefix(count)), from: nextNumber)
        }
        createsNext = false
        nextNumber += 1
        return .create(nextNumber - 1, size: nextSize)
    }

    private func finish(_ step: Step, _ taken: [Taken]) {
        switch step {
        case .remove(let old), .setAside(let old): totalBytes -= old.size
        case .recycle(let old, _):
            recycledTogether = Self.freedTogether
            totalBytes -= old.reduce(0) { $0 + $1.size } - taken.reduce(0) { $0 + $1.size }
        case .create(_, let size):
            totalBytes += size
            nextSize = min(fullSize, nextSize * 4)
        }
        ready += taken
        isPreparing = false
        monitor.signal()
    }

    private func giveUp(_ step: Step) {
        switch step {
        // No other file waits for it: it takes its space until the next start finds it.
        case .remove, .setAside: break
        case .recycle(let old, _):
            free += old
            createsNext = true
            recycledTogether = 1
        case .create: break
        }
        isPreparing = false
        monitor.signal()
    }

    /// The files that are ready then. A file that is missing counts as gone.
    private func perform(_ step: inout Step) throws(FileError) -> [Taken] {
        switch step {
        case .remove(let old):
            try unlessMissing { () throws(FileError) in try fileSystem.remove(path(old.number)) }
            return []
        case .setAside(let old):
            try unlessMissing { () throws(FileError) in
                try fileSystem.rename(path(old.number), to: path(old.number) + ".damaged")
                try fileSystem.syncDirectory(directory)
            }
            return []
        case .recycle(var old, let first):
            // With the names that they have, should it not come to its end.
            defer { step = .recycle(old, from: first) }
            return try recycle(&old, from: first)
        case .create(let number, let size):
            return [Taken(number: number, file: try create(number, size), size: size)]
        }
    }

    /// Gives files new numbers, which they keep where it fails.
    private func recycle(_ files: inout [Entry], from first: UInt64) throws(FileError) -> [Taken] {
        for index in files.indices {
            let number = first + UInt64(index)
            try unlessMissing { () throws(FileError) in
                try fileSystem.rename(path(files[index].number), to: path(number))
                files[index].number = number
            }
        }
        try fileSystem.syncDirectory(directory)
        var taken: [Taken] = []
        do throws(FileError) {
            for entry in files where entry.number >= first {
                try unlessMissing { () throws(FileError) in
                    let file = try fileSystem.open(path(entry.number), mode)
                    // Recovery may have read it: over pages in memory nothing is written without waiting.
                    fileSystem.dropCache(file)
                    taken.append(Taken(number: entry.number, file: file, size: entry.size))
                }
            }
        } catch {
            for one in taken { fileSystem.close(one.file) }
            throw error
        }
        return taken
    }

    /// Passes over it that the file is missing.
    private func unlessMissing(_ body: () throws(FileError) -> Void) throws(FileError) {
        do throws(FileError) {
            try body()
        } catch {
            guard error.isMissing else { throw error }
        }
    }

    private func create(_ number: UInt64, _ size: Int) throws(FileError) -> OpenFile {
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
                // Not all with the sync below: syncs of the file in use would wait for as long as that takes.
                try fileSystem.beginWriteBack(file, at: offset, count: count)
                try fileSystem.awaitWriteBack(file, at: offset, count: count)
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
        guard mode == .writeDirect, let direct = try? fileSystem.open(path(number), mode) else { return file }
        // The zeros would stay in memory until frames are written over them, each of which would have to see to that.
        fileSystem.dropCache(file)
        fileSystem.close(file)
        return direct
    }

    /// Path of a file.
    func path(_ number: UInt64) -> String { directory + "/" + JournalFileHeader.name(number) }
}
