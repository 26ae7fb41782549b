/// Space kept back on the disk, so that a checkpoint, and with it deletion and retention, work when it is full: the file
/// `space` of the data directory, of zeros. It grows with the journal up to a segment's worth, so that an idle directory
/// stays small; it is given up when a job needs it that leads to a checkpoint or to files that go, and made again when
/// there is space. Owned by the background thread.
final class SpareSpace {
    private let fileSystem: any FileSystem
    private let path: String
    /// Bytes that the file has; nil before it was looked at.
    private var size: Int?

    init(fileSystem: any FileSystem, directory: String) {
        self.fileSystem = fileSystem
        path = directory + "/space"
    }

    /// Sees to it that there are `wanted` bytes, if the disk has them. Nothing depends on it: what cannot be had now is
    /// tried again after the next checkpoint. False: there are fewer.
    func keep(_ wanted: Int) -> Bool {
        if let size, size >= wanted { return true }
        do throws(FileError) {
            let file = try fileSystem.open(path, .writeOrCreate)
            defer { fileSystem.close(file) }
            var at = try fileSystem.size(file)
            size = at
            let zeros = [UInt8](repeating: 0, count: 256 << 10)
            while at < wanted {
                let count = min(zeros.count, wanted - at)
                try unsafe zeros.span.withUnsafeBytes { buffer throws(FileError) in
                    try unsafe fileSystem.write(
                        file, UnsafeRawBufferPointer(rebasing: buffer[0..<count]), at: at)
                }
                at += count
                size = at
            }
            return true
        } catch {
            // What it has so far stays, and the rest is not there to be had.
            return false
        }
    }

    /// Gives the space back; false when there was none.
    func release() -> Bool {
        do throws(FileError) {
            let file = try fileSystem.open(path, .write)
            defer { fileSystem.close(file) }
            guard try fileSystem.size(file) > 0 else { return false }
            try fileSystem.truncate(file, to: 0)
            size = 0
            return true
        } catch {
            return false
        }
    }
}
