import BrokerClient
import Glibc
import Testing

@testable import BrokerCommand
@testable import BrokerLog

@Suite("What the commands say of a data directory that is not whole", .timeLimit(.minutes(10)))
struct DamagedStoreTests {
    /// Flips a bit in the middle of a file.
    private func flip(_ path: String) throws {
        var bytes = OfflineStoreTests.bytes(path)
        bytes[bytes.count / 2] ^= 1
        let file = try #require(fopen(path, "w"))
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }

    private func files(_ root: String, _ suffix: String) -> [String] {
        OfflineStoreTests.content(root).keys.filter { $0.hasSuffix(suffix) }
    }

    @Test("a dump without all messages ends with exit code 1, before a repair and after")
    func dump() async throws {
        try await OfflineStoreTests().directory { root in
            #expect(await Tool.call(["channel", "dump", "a", "--dir", root]) == 0)
            // At a shutdown quiet channels go to the checkpoint's file of tails; `a` has most of it.
            try flip(try #require(files(root, ".tails").first))
            #expect(await Tool.call(["channel", "dump", "a", "--dir", root]) == 1)
            #expect(
                await Tool.call(["channel", "dump", "b", "--dir", root]) == 0, "nothing of it is damaged")
            let command = try ChannelDumpCommand.parse(["a", "--dir", root])
            let failure = #expect(throws: CommandFailure.self) { try command.dump(from: root) { _ in } }
            #expect(failure?.message.contains("are missing") == true)
            #expect(await Tool.call(["repair", root]) == 0)
            #expect(await Tool.call(["channel", "dump", "a", "--dir", root]) == 1)
            #expect(await Tool.call(["channel", "dump", "b", "--dir", root]) == 0)
        }
    }

    @Test("a dump from a server that ends before the last message fails, unless no more were asked for")
    func cutShort() async throws {
        /// Of five messages so many come in time.
        func dump(
            _ arguments: [String], coming: Int
        ) async throws -> (printed: Int, failure: CommandFailure?) {
            let command = try ChannelDumpCommand.parse(["a"] + arguments)
            var given = 0
            var printed = 0
            let failure = try await command.dump(
                upTo: 5,
                next: {
                    guard given < coming else { return nil }
                    given += 1
                    return (sequence: UInt64(given), line: [])
                }, print: { _ in printed += 1 })
            return (printed, failure)
        }
        let whole = try await dump([], coming: 5)
        #expect(whole.printed == 5 && whole.failure == nil)
        let counted = try await dump(["--count", "2"], coming: 5)
        #expect(counted.printed == 2 && counted.failure == nil)
        let cut = try await dump(["--wait", "7s"], coming: 3)
        #expect(cut.printed == 3 && cut.failure?.exitCode == 1)
        #expect(cut.failure?.message.contains("after 3 none came within 7s") == true)
        #expect(try await dump([], coming: 0).failure != nil)
        #expect(try await dump(["--count", "4"], coming: 3).failure != nil)
    }

    @Test("a store that was not read is not called sound, and check and dry run say that a repair refuses")
    func notRead() async throws {
        try await OfflineStoreTests().directory { root in
            for path in files(root, ".checkpoint") { try flip(path) }
            for path in files(root, ".wal") { unlink(path) }
            let before = OfflineStoreTests.content(root)
            let report = try CheckCommand.check(root)
            #expect(!report.isComplete)
            #expect(report.text.contains("Messages:    not read") && !report.text.contains("Whole:"))
            let plan = LogRepair.plan(for: report, directory: root)
            let refusal = try #require(LogRepair.refusal(for: report, directory: root))
            let steps = CheckCommand.text(plan, report, refusal)
            #expect(steps.contains("would refuse") && !steps.contains("keep a copy"))
            #expect(report.json(plan, refusal)["repair"]?.array?.count == 0)
            #expect(report.json(plan, refusal)["complete"] == .bool(false))
            var command = try CheckCommand.parse([root])
            do {
                try await command.run()
                Issue.record("it is taken for sound")
            } catch let failure as CommandFailure {
                #expect(failure.exitCode == 1 && !failure.message.contains("sound"), "\(failure.message)")
            }
            #expect(await Tool.call(["repair", root, "--dry-run"]) == 2)
            #expect(await Tool.call(["repair", root]) == 2)
            #expect(OfflineStoreTests.content(root) == before)
        }
    }

    @Test("of a torn tail it is said with which policy nothing of it was acknowledged")
    func tornTail() async throws {
        try await OfflineStoreTests().directory { root in
            var report = try CheckCommand.check(root)
            report.journal.tornTail = LogCheckReport.TornTail(file: "journal/1", offset: 4096, bytes: 512)
            #expect(report.text.contains("with --sync always none of it was acknowledged; the next start"))
        }
    }
}
