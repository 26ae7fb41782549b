/// The bytes of a file or of a part of it, in memory of their own.
@safe
final class FileBytes {
    let base: UnsafeMutableRawPointer
    /// Bytes that were read.
    private(set) var count: Int
    /// Offset of the first page that the disk could not read; there are zeros in its place.
    private(set) var unreadable: Int?

    /// Reads `length` bytes from `offset`, or to the end of the file.
    ///
    /// - Parameter skipsUnreadable: where the disk cannot read a page there are zeros in its place, as long as it can
    ///   read any.
    init(
        _ file: OpenFile, at offset: Int = 0, length: Int, fileSystem: any FileSystem,
        skipsUnreadable: Bool = false
    ) throws(FileError) {
        unsafe base = .allocate(byteCount: max(1, length), alignment: 16)
        count = 0
        do throws(FileError) {
            count = try unsafe fileSystem.read(
                file, into: UnsafeMutableRawBufferPointer(start: base, count: length), at: offset)
        } catch {
            guard skipsUnreadable, error.isUnreadable else { throw error }
            try readPages(file, at: offset, length: length, fileSystem)
        }
    }

    private func readPages(
        _ file: OpenFile, at offset: Int, length: Int, _ fileSystem: any FileSystem
    ) throws(FileError) {
        let end = min(offset + length, try fileSystem.size(file))
        var at = offset
        var isReadable = length <= Self.page
        while at < end {
            let next = min(end, (at / Self.page + 1) * Self.page)
            let buffer = unsafe UnsafeMutableRawBufferPointer(start: base + (at - offset), count: next - at)
            do throws(FileError) {
                _ = try unsafe fileSystem.read(file, into: buffer, at: at)
                isReadable = true
            } catch {
                // Where nothing can be read the disk itself is broken: not a place to go on.
                guard error.isUnreadable, isReadable || next < end else { throw error }
                unreadable = unreadable ?? at
                unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0)
            }
            at = next
        }
        count = max(0, end - offset)
    }

    /// What the disk reads, or cannot read, at once.
    static let page = 4096

    deinit { unsafe base.deallocate() }

    /// A copy of a range that lies within.
    func array(_ range: Range<Int>) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "callers check against count")
        return unsafe Array(UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
    }
}
