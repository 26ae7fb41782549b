/// The bytes of a file or of a part of it, in memory of their own.
@safe
final class FileBytes {
    let base: UnsafeMutableRawPointer
    /// Bytes that were read.
    private(set) var count: Int

    /// Reads `length` bytes from `offset`, or to the end of the file.
    init(_ file: OpenFile, at offset: Int = 0, length: Int, fileSystem: any FileSystem) throws(FileError) {
        unsafe base = .allocate(byteCount: max(1, length), alignment: 16)
        count = 0
        count = try unsafe fileSystem.read(
            file, into: UnsafeMutableRawBufferPointer(start: base, count: length), at: offset)
    }

    deinit { unsafe base.deallocate() }

    /// A copy of a range that lies within.
    func array(_ range: Range<Int>) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "callers check against count")
        return unsafe Array(UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
    }
}
