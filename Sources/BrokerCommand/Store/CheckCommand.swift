import ArgumentParser
import BrokerClient
import BrokerLog

/// `broker check`.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Verify the checksums of a data directory.",
        discussion: """
            Reads the newest checkpoint, the journal behind it, and every message of every channel with its checksum. Changes \
            nothing; no broker may run on the directory.
            Exit code: 0 sound, 1 damaged or it cannot be read, 2 not understood.
            """)

    @Argument(help: "Data directory.") var directory: String
    @Flag(help: "Print the result as JSON.") var json = false

    mutating func run() async throws {
        let report = try Self.check(directory)
        Terminal.out(json ? report.json.text + "\n" : report.text)
        if !report.damage.isEmpty {
            throw CommandFailure(
                "\(directory) is damaged in \(report.damage.count) places; what is not named above is sound")
        }
    }

    /// What a check found.
    struct Report {
        var clusterID = ""
        var channels = 0
        var messages = 0
        var payloadBytes = 0
        var cutTail: String?
        var damage: [String] = []

        var text: String {
            var text = """
                Cluster id: \(clusterID)
                Channels:   \(Figures.grouped(channels))
                Messages:   \(Figures.grouped(messages)) (\(Figures.bytes(Double(payloadBytes))) of payload), read and verified

                """
            if let cutTail { text += "Never synced, will be cut at the next start: \(cutTail.printable)\n" }
            for damage in damage { text += "Damage: \(damage.printable)\n" }
            if damage.isEmpty { text += "Sound\n" }
            return text
        }

        var json: JSON {
            var members: [String: JSON] = [
                "cluster_id": .string(clusterID), "channels": .integer(Int64(channels)),
                "messages": .integer(Int64(messages)), "payload_bytes": .integer(Int64(payloadBytes)),
                "damage": .array(damage.map { .string($0) }), "sound": .bool(damage.isEmpty),
            ]
            if let cutTail { members["cut_tail"] = .string(cutTail) }
            return .object(members)
        }
    }

    /// Reads a whole directory.
    static func check(_ directory: String) throws -> Report {
        let store = try OfflineStore(directory)
        var report = Report()
        report.clusterID = store.clusterID
        report.cutTail = store.log.recovery.cutTail
        for channel in store.log.channels {
            report.channels += 1
            var found = 0
            unsafe try store.forEachMessage(of: channel) { message in
                found += 1
                unsafe report.payloadBytes += message.payload.count
                return true
            }
            report.messages += found
        }
        // Reading has found what recovery did not look at.
        let damage = store.log.statistics.damage
        report.damage = damage.map(\.description)
        // What an earlier start has set aside is remembered by the channel.
        for channel in store.log.channels {
            let name = String(decoding: store.log.name(of: channel) ?? [], as: UTF8.self)
            for range in store.log.info(of: channel)?.damage ?? [] {
                let isNamed = damage.contains {
                    $0.lost.contains { $0.channel == channel && $0.sequences == range }
                }
                if isNamed { continue }
                report.damage.append(
                    "channel \"\(name)\", sequences \(range.lowerBound) to \(range.upperBound) are lost")
            }
        }
        return report
    }
}
