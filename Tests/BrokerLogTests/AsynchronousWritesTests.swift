import CBroker
import Glibc
import Testing

@testable import BrokerLog

/// The kernel's asynchronous writes on a real file. A kernel or a directory without them has nothing to test.
@Suite("Asynchronous writes of the operating system")
final class AsynchronousWritesTests {
    private let files = RealFileSystem()
    private let directory: String
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 4_096)

    init() throws {
        var template = Array("/tmp/asynchronous-writes-XXXXXX".utf8CString)
        let made = unsafe try #require(mkdtemp(&template))
        directory = unsafe String(cString: made)
        for index in memory.indices {
            unsafe memory[index] = UInt8(truncatingIfNeeded: index &* 7 &+ index / 256)
        }
    }

    deinit {
        unsafe memory.deallocate()
        for name in (try? files.list(directory)) ?? [] { unlink(directory + "/" + name) }
        rmdir(directory)
    }

    /// A file of 64 KiB of zeros, as a journal file that is ready.
    private func makeFile(_ mode: OpenMode) throws -> OpenFile {
        let path = directory + "/file"
        let new = try files.open(path, .create)
        try [UInt8](repeating: 0, count: 65_536).withUnsafeBytes { try files.write(new, $0, at: 0) }
        try files.sync(new)
        files.close(new)
        return try files.open(path, mode)
    }

    private func piece(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: memory[range])
    }

    @Test("several at once end as durable, their descriptor is readable then, and the bytes are there")
    func several() throws {
        guard let writes = AsynchronousWrites(depth: 4) else { return }
        let file = try makeFile(.writeDirect)
        defer { files.close(file) }
        var expected = [UInt8](repeating: 0, count: 65_536)
        var begun: Set<UInt64> = []
        for number in 0..<4 {
            // Sectors that begin within a page, next to each other's.
            let (from, count, offset) = (
                number * 4_096, 512 * (number + 1), 4_096 + 512 * number * (number + 1) / 2
            )
            let bytes = unsafe piece(from..<from + count)
            switch unsafe writes.begin(UInt64(number), file, bytes, at: offset) {
            case nil: begun.insert(UInt64(number))
            case .wouldWait, .unsupported: try files.write(file, bytes, at: offset)
            }
            unsafe expected.replaceSubrange(offset..<offset + count, with: bytes)
        }
        // Of ext4 it is known that it can.
        #expect(unsafe !begun.isEmpty || cbroker_volume_magic(directory) != 0xEF53)
        if !begun.isEmpty {
            var readable = pollfd(fd: try #require(writes.events), events: Int16(POLLIN), revents: 0)
            #expect(unsafe poll(&readable, 1, 60_000) == 1)
        }
        while !begun.isEmpty {
            let ended = try #require(writes.takeEnded(waits: true))
            #expect(begun.remove(ended.number) != nil)
            if case .refused = ended.outcome {
                let number = Int(ended.number)
                let bytes = unsafe piece(number * 4_096..<number * 4_096 + 512 * (number + 1))
                try files.write(file, bytes, at: 4_096 + 512 * number * (number + 1) / 2)
            } else {
                #expect(ended.outcome == .durable)
            }
        }
        #expect(writes.takeEnded(waits: false) == nil && writes.takeEnded(waits: true) == nil)
        writes.close()
        var found = [UInt8](repeating: 1, count: expected.count)
        let reader = try files.open(directory + "/file", .read)
        defer { files.close(reader) }
        _ = try found.withUnsafeMutableBytes { try files.read(reader, into: $0, at: 0) }
        #expect(found == expected)
    }

    @Test("a file that goes through the page cache is refused for good")
    func cached() throws {
        guard let writes = AsynchronousWrites(depth: 1) else { return }
        let file = try makeFile(.write)
        defer { files.close(file) }
        #expect(writes.begin(0, file, piece(0..<512), at: 0) == .unsupported)
        #expect(writes.takeEnded(waits: true) == nil)
        writes.close()
    }

    @Test("a descriptor that cannot be written fails, or is refused, and counts as nothing on disk")
    func unwritable() throws {
        guard let writes = AsynchronousWrites(depth: 1) else { return }
        files.close(try makeFile(.write))
        let descriptor = open(directory + "/file", O_RDONLY | cbroker_o_direct)
        guard descriptor >= 0 else { return }
        let file = OpenFile(descriptor: descriptor)
        defer { files.close(file) }
        if writes.begin(0, file, piece(0..<512), at: 0) == nil {
            let ended = try #require(writes.takeEnded(waits: true))
            #expect(ended.outcome != .durable)
        }
        writes.close()
    }

    @Test("memory that no direct write may have is refused, not written askew")
    func askew() throws {
        guard let writes = AsynchronousWrites(depth: 1) else { return }
        let file = try makeFile(.writeDirect)
        defer { files.close(file) }
        if writes.begin(0, file, piece(1..<1_001), at: 3) == nil {
            let outcome = try #require(writes.takeEnded(waits: true)).outcome
            #expect([.refused(.wouldWait), .refused(.unsupported)].contains(outcome))
        }
        writes.close()
    }

    @Test("a log whose owner watches the descriptor keeps what it said was durable", .timeLimit(.minutes(5)))
    func log() throws {
        var configuration = LogConfiguration(storage: .file(directory: directory + "/data"))
        configuration.clusterID = "test"
        configuration.journalSizeBytes = 1 << 20
        configuration.writesOnLoop = true
        defer { removeStore() }
        // Written to by the log's threads, read here beside the log's own descriptor.
        let woken = cbroker_eventfd()
        defer { close(woken) }
        let wake: @Sendable () -> Void = {
            var one: UInt64 = 1
            _ = unsafe write(woken, &one, 8)
        }
        /// Waits until one of them says something, and reads it.
        func wait(for descriptors: [Int32]) {
            var readable = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = unsafe poll(&readable, UInt(readable.count), 60_000)
            var count: UInt64 = 0
            for descriptor in descriptors { _ = unsafe read(descriptor, &count, 8) }
        }
        let log = try Log.open(configuration, wake: wake)
        let channel = try log.createChannel(named: bytes("a"), limits: ChannelLimits())
        var texts: [String] = []
        // What small publishers make, with a large batch among them; over several files of the journal.
        for index in 0..<1_500 {
            texts.append("\(index) " + String(repeating: "z", count: index % 50 == 0 ? 20_000 : 40))
            let appended = try log.append(texts[index], to: channel)
            log.submit()
            let waits = index % 3 == 0
            while waits, log.durable < appended.position {
                wait(for: [woken, log.events].compactMap { $0 })
                if log.poll().checkpointWanted { log.checkpoint(state: []) }
                try #require(log.closedReason == nil)
            }
        }
        log.close(state: bytes("state"))
        let again = try Log.open(configuration, wake: wake)
        var found: [String] = []
        while found.count < texts.count {
            switch again.read(channel, at: UInt64(found.count + 1)) {
            case .messages(let batch):
                for index in 0..<batch.count {
                    found.append(unsafe String(decoding: batch.message(at: index).payload, as: UTF8.self))
                }
            case .loading:
                wait(for: [woken])
                _ = again.poll()
            case .missing, .end:
                Issue.record("only \(found.count) messages")
                return
            }
        }
        #expect(found == texts && again.recovery.damage.isEmpty)
        again.close(state: bytes("state"))
    }

    private func removeStore() {
        func remove(_ path: String) {
            for name in (try? files.list(path)) ?? [] { remove(path + "/" + name) }
            if unlink(path) != 0 { rmdir(path) }
        }
        remove(directory + "/data")
    }
}
