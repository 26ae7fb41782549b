import BrokerLog
import CBroker
import Glibc
import Testing

@Suite("Writing past the page cache of a real file system")
struct DirectWriteTests {
    private let files = RealFileSystem()
    private let memory: UnsafeMutableRawBufferPointer

    init() {
        memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8_192, alignment: 4_096)
        for index in memory.indices {
            unsafe memory[index] = UInt8(truncatingIfNeeded: index &* 7 &+ index / 256)
        }
    }

    private func isDirect(_ file: OpenFile) -> Bool {
        fcntl(file.descriptor, F_GETFL) & cbroker_o_direct != 0
    }

    /// Writes pieces of the memory to a file of 16 KiB of zeros, each synced, and looks whether they are there. Says for each
    /// whether the file was written directly before and after it; false always where the file system of /tmp cannot do that.
    private func write(_ pieces: [(from: Int, count: Int, offset: Int)]) throws -> [Bool] {
        defer { unsafe memory.deallocate() }
        var template = Array("/tmp/direct-write-XXXXXX".utf8CString)
        let made = unsafe try #require(mkdtemp(&template))
        let directory = unsafe String(cString: made)
        defer { rmdir(directory) }
        let path = directory + "/file"
        let new = try files.open(path, .create)
        defer { unlink(path) }
        var expected = [UInt8](repeating: 0, count: 16_384)
        try unsafe expected.withUnsafeBytes { try unsafe files.write(new, $0, at: 0) }
        try files.sync(new)
        files.close(new)

        let file = try files.open(path, .writeDirect)
        var direct = [isDirect(file)]
        for (from, count, offset) in pieces {
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: memory[from..<from + count])
            try unsafe files.write(file, bytes, at: offset)
            try files.sync(file)
            direct.append(isDirect(file))
            let missing = offset + count - expected.count
            if missing > 0 { expected += [UInt8](repeating: 0, count: missing) }
            unsafe expected.replaceSubrange(offset..<offset + count, with: bytes)
        }
        #expect(try files.size(file) == expected.count)
        files.close(file)
        var found = [UInt8](repeating: 1, count: expected.count)
        let reader = try files.open(path, .read)
        let count = try unsafe found.withUnsafeMutableBytes { try unsafe files.read(reader, into: $0, at: 0) }
        files.close(reader)
        #expect(count == expected.count && found == expected)
        return direct
    }

    @Test("whole sectors go to the disk directly, behind the end of the file too")
    func sectors() throws {
        let direct = try write([(0, 4_096, 512), (4_096, 512, 8_192), (0, 4_096, 16_384)])
        #expect(Set(direct).count == 1, "a file that is written directly stays so: \(direct)")
    }

    @Test("what lies askew goes through the page cache, with all that follows")
    func askew() throws {
        let direct = try write([(0, 4_096, 512), (1, 1_000, 6_003), (0, 512, 8_192)])
        #expect(Array(direct.suffix(2)) == [false, false])
    }

    @Test("a file that is not there is not made")
    func missing() {
        defer { unsafe memory.deallocate() }
        let error = #expect(throws: FileError.self) {
            try files.open("/tmp/no-such-directory/file", .writeDirect)
        }
        #expect(error?.isMissing == true)
    }
}
