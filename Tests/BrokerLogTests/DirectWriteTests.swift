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

    /// Writes pieces of the memory to a file of 16 KiB of zeros, each synced, and looks whether they are there. The file is written
    /// directly until the file system refuses to: which pieces it does refuse, each has its own mind about.
    private func write(_ pieces: [(from: Int, count: Int, offset: Int)]) throws {
        defer { unsafe memory.deallocate() }
        var template = Array("/tmp/direct-write-XXXXXX".utf8CString)
        let made = unsafe try #require(mkdtemp(&template))
        let directory = unsafe String(cString: made)
        defer { rmdir(directory) }
        let (path, probePath) = (directory + "/file", directory + "/probe")
        var expected = [UInt8](repeating: 0, count: 16_384)
        for path in [path, probePath] {
            let new = try files.open(path, .create)
            try unsafe expected.withUnsafeBytes { try unsafe files.write(new, $0, at: 0) }
            try files.sync(new)
            files.close(new)
        }
        defer {
            unlink(path)
            unlink(probePath)
        }

        let (file, probe) = (try files.open(path, .writeDirect), try files.open(probePath, .writeDirect))
        for (from, count, offset) in pieces {
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: memory[from..<from + count])
            let wasDirect = isDirect(file)
            let isRefused = unsafe pwrite(probe.descriptor, bytes.baseAddress, count, off_t(offset)) < 0
            try unsafe files.write(file, bytes, at: offset)
            try files.sync(file)
            #expect(isDirect(file) == (wasDirect && !isRefused))
            let missing = offset + count - expected.count
            if missing > 0 { expected += [UInt8](repeating: 0, count: missing) }
            unsafe expected.replaceSubrange(offset..<offset + count, with: bytes)
        }
        #expect(try files.size(file) == expected.count)
        files.close(file)
        files.close(probe)
        var found = [UInt8](repeating: 1, count: expected.count)
        let reader = try files.open(path, .read)
        let count = try unsafe found.withUnsafeMutableBytes { try unsafe files.read(reader, into: $0, at: 0) }
        files.close(reader)
        #expect(count == expected.count && found == expected)
    }

    @Test("whole sectors, behind the end of the file too")
    func sectors() throws {
        try write([(0, 4_096, 512), (4_096, 512, 8_192), (0, 4_096, 16_384)])
    }

    @Test("what lies askew goes through the page cache where it is refused, with all that follows")
    func askew() throws {
        try write([(0, 4_096, 512), (1, 1_000, 6_003), (0, 512, 8_192)])
    }

    @Test(
        "among writes through the page cache, with a reader that has the pages: what was written last is read"
    )
    func mixed() throws {
        defer { unsafe memory.deallocate() }
        var template = Array("/tmp/direct-write-XXXXXX".utf8CString)
        let made = unsafe try #require(mkdtemp(&template))
        let path = unsafe String(cString: made) + "/file"
        defer {
            unlink(path)
            unsafe rmdir(made)
        }
        let file = try files.open(path, .create)
        let (direct, reader) = (try files.open(path, .writeDirect), try files.open(path, .read))
        var expected: [UInt8] = []
        // As segments grow: behind what is there, also within a page.
        for (index, count) in [512, 7_168, 8_192, 512, 3_072, 8_192, 4_608, 100].enumerated() {
            let bytes = unsafe UnsafeRawBufferPointer(rebasing: memory[0..<count])
            try unsafe files.write(index % 3 == 2 ? direct : file, bytes, at: expected.count)
            unsafe expected.append(contentsOf: bytes)
            var found = [UInt8](repeating: 1, count: expected.count)
            let length = try unsafe found.withUnsafeMutableBytes {
                try unsafe files.read(reader, into: $0, at: 0)
            }
            #expect(length == expected.count && found == expected, "after write \(index)")
        }
        for open in [file, direct, reader] { files.close(open) }
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
