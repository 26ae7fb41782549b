import Broker
import BrokerClient
import BrokerLog
import Glibc
import Logging
import Testing

@testable import BrokerCommand

@Suite("A data directory that no broker runs on", .timeLimit(.minutes(10)))
struct OfflineStoreTests {
    /// A directory with what a broker has left in it: 100 messages in `a`, one in `b`.
    func directory(_ body: (String) async throws -> Void) async throws {
        var template = Array("/tmp/broker-offline-tests-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer {
            mkdtemp($0.baseAddress!).map { String(cString: $0) }
        }
        let root = try #require(made)
        var options = BrokerOptions()
        options.host = "127.0.0.1"
        options.port = -1
        options.directory = root
        options.clusterID = "vc"
        options.journalSizeBytes = 32 << 20
        let silence = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let server = try await BrokerServer.start(
            options: options, version: "test", logger: silence, streamingLogger: silence)
        let client = try await StreamingClient.patient(port: server.port, clusterID: "vc")
        for number in 1...100 { try await client.publish("a", Array("\(number)".utf8), reply: "r") }
        try await client.publish("b", [])
        let running = try CheckCommand.check(root)
        #expect(
            running.isInUse && running.clusterID == "vc"
                && running.text.contains("A broker runs on the directory"))
        #expect(await Tool.call(["channel", "dump", "a", "--dir", root]) == 1, "a broker runs on it")
        try await client.close()
        try await server.shutdown()
        try await body(root)
        Self.removeTree(root)
    }

    static func entries(_ path: String) -> [String] {
        guard let entries = opendir(path) else { return [] }
        defer { closedir(entries) }
        var names: [String] = []
        while let entry = readdir(entries) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(path + "/" + name) }
        }
        return names.sorted()
    }

    static func removeTree(_ path: String) {
        for entry in entries(path) where unlink(entry) != 0 { removeTree(entry) }
        rmdir(path)
    }

    static func bytes(_ path: String) -> [UInt8] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
        return bytes
    }

    /// Every file with its content.
    static func content(_ path: String) -> [String: [UInt8]] {
        var content: [String: [UInt8]] = [:]
        for entry in entries(path) {
            let below = Self.content(entry)
            if below.isEmpty { content[entry] = bytes(entry) } else { content.merge(below) { $1 } }
        }
        return content
    }

    @Test("is read as a whole, from any sequence, and not changed by a byte")
    func reading() async throws {
        try await directory { root in
            let before = Self.content(root)
            let report = try CheckCommand.check(root)
            #expect(report.clusterID == "vc")
            #expect(report.channels.map(\.messages) == [100, 1] && !report.isInUse)
            #expect(report.messages == 101)
            #expect(report.damage.isEmpty)
            let plan = LogRepair.plan(for: report, directory: root)
            #expect(report.json(plan)["sound"] == .bool(true))
            #expect(report.text.hasSuffix("Sound\n"))
            #expect(await Tool.call(["check", root]) == 0)
            let reader = try OfflineReader.open(directory: root)
            var texts: [String] = []
            try reader.forEachMessage(of: Array("a".utf8), from: 98) { message in
                texts.append("\(message.sequence) " + String(decoding: message.payload, as: UTF8.self))
                return true
            }
            #expect(texts == ["98 98", "99 99", "100 100"])
            #expect(Self.content(root) == before)
        }
    }

    @Test("is dumped: the messages of one channel, from a sequence, as many as asked for")
    func dump() async throws {
        try await directory { root in
            func lines(_ arguments: [String]) throws -> [String] {
                let command = try ChannelDumpCommand.parse(arguments + ["--dir", root])
                var lines: [String] = []
                try command.dump(from: root) { lines.append(String(decoding: $0, as: UTF8.self)) }
                return lines
            }
            #expect(try lines(["a", "--raw"]) == (1...100).map { "\($0)\n" })
            #expect(try lines(["a", "--raw", "--sequence", "99"]) == ["99\n", "100\n"])
            #expect(try lines(["a", "--raw", "--count", "2"]) == ["1\n", "2\n"])
            let json = try #require(try lines(["a", "--json", "--count", "1"]).first)
            #expect(json.contains("\"sequence\":1") && json.contains("\"reply\":\"r\""))
            let failure = #expect(throws: CommandFailure.self) { try lines(["none"]) }
            #expect(failure?.message == "there is no channel \"none\" in \(root)")
        }
    }

    @Test("is named where it is damaged")
    func damage() async throws {
        try await directory { root in
            // At a shutdown quiet channels go to the checkpoint's file of tails.
            let tails = try #require(Self.content(root).keys.first { $0.hasSuffix(".tails") })
            var bytes = Self.bytes(tails)
            bytes[bytes.count / 2] ^= 1
            let file = try #require(fopen(tails, "w"))
            fwrite(bytes, 1, bytes.count, file)
            fclose(file)
            let report = try CheckCommand.check(root)
            #expect(!report.damage.isEmpty)
            #expect(report.messages < 101)
            #expect(report.text.contains("Damage: checkpoints/") && !report.text.contains("Sound"))
            #expect(
                report.text.contains("Whole: \(report.messages) messages; lost: \(101 - report.messages)\n"))
            let plan = LogRepair.plan(for: report, directory: root)
            let steps = CheckCommand.text(plan, report)
            #expect(steps.contains("  - keep a copy of checkpoints/") && steps.contains("two checkpoints"))
            #expect(report.json(plan)["repair"]?.array?.count == plan.steps.count)
            #expect(await Tool.call(["check", root]) == 1)
            let before = Self.content(root)
            #expect(await Tool.call(["repair", root, "--dry-run"]) == 1)
            #expect(Self.content(root) == before)
            #expect(await Tool.call(["repair", root]) == 0)
            #expect(await Tool.call(["check", root]) == 0)
            #expect(await Tool.call(["repair", root]) == 0)
            let copy = try #require(Self.content(root).first { $0.key.contains("/damaged/1/checkpoints/") })
            #expect(copy.value == bytes)
            #expect(try CheckCommand.check(root).messages == report.messages)
            #expect(try CheckCommand.check(root).text.contains("Lost before, repaired: channel"))
        }
    }

    @Test("is told from any other directory")
    func others() async throws {
        #expect(await Tool.call(["check", "/nonexistent"]) == 2)
        #expect(await Tool.call(["repair", "/nonexistent"]) == 2)
        #expect(await Tool.call(["channel", "dump", "a", "--dir", "/nonexistent"]) == 1)
        #expect(throws: CommandFailure.self) { try CheckCommand.check("/tmp") }
    }
}
