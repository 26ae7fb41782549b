import ArgumentParser
import BrokerClient
import BrokerLog

/// `broker check`.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Verify the checksums of a data directory.",
        discussion: """
            Reads checkpoints, journal, and every message of every channel with its checksum, and prints what is there and \
            what is damaged: file, offset, channels and sequences, and what `broker repair` would do about it. Changes nothing. A \
            broker may run on the directory, or be started meanwhile; what it writes then may look damaged.
            Exit code: 0 sound, 1 damaged, 2 it cannot be read.
            """)

    @Argument(help: "Data directory.") var directory: String
    @Flag(help: "Print the result as JSON.") var json = false

    mutating func run() async throws {
        let report = try Self.check(directory)
        let plan = LogRepair.plan(for: report, directory: directory)
        let refusal = LogRepair.refusal(for: report, directory: directory)
        Terminal.out(
            json
                ? report.json(plan, refusal).text + "\n" : report.text + Self.text(plan, report, refusal))
        if !report.damage.isEmpty {
            let places = report.damage.count == 1 ? "one place" : "\(report.damage.count) places"
            let rest = report.isComplete ? "what is not named above is sound" : "not all of it could be read"
            throw CommandFailure("\(directory) is damaged in \(places); \(rest)")
        }
    }

    /// What a repair would do, for a person.
    static func text(_ plan: RepairPlan, _ report: LogCheckReport, _ refusal: LogError? = nil) -> String {
        if let refusal { return "`broker repair` would refuse: \(refusal.description.printable)\n" }
        guard !plan.steps.isEmpty else { return "" }
        var text = "`broker repair` would:\n"
        for step in plan.steps { text += "  - \(step.description.printable)\n" }
        if report.isInUse { text += "Stop the broker first.\n" }
        return text
    }

    /// Checks a whole directory.
    static func check(_ directory: String) throws(CommandFailure) -> LogCheckReport {
        do throws(LogError) {
            return try LogCheck.run(directory: directory)
        } catch {
            throw CommandFailure(error.description, exitCode: 2)
        }
    }
}

extension LogCheckReport {
    /// The report for a person.
    var text: String {
        var table = Table([
            ("Channel", .left), ("Id", .right), ("First", .right), ("Last", .right), ("Messages", .right),
            ("Bytes", .right),
        ])
        for channel in channels {
            table.append([
                channel.printableName, "\(channel.id.rawValue)", "\(channel.firstSequence)",
                "\(channel.lastSequence)",
                Figures.grouped(channel.messages), Figures.bytes(Double(channel.bytes)),
            ])
        }
        var text = """
            Store:       \(storeName), format version \(formatVersion)
            Cluster id:  \(clusterID.map(\.printable) ?? "not known: the file store is damaged or missing")
            Channels:    \(ifRead(Figures.grouped(channels.count)))
            Messages:    \(ifRead(messagesText))
            Checkpoints: \(checkpoints)
            Segments:    \(ifRead(Figures.grouped(segments)))
            Journal:     \(ifRead(journalText))

            """
        if !channels.isEmpty { text += "\n" + table.text + "\n" }
        if let tail = journal.tornTail {
            text += """
                Torn tail: \(tail.file) at offset \(tail.offset), \(tail.bytes) bytes: never synced, so with --sync always \
                none of it was acknowledged; the next start cuts it

                """
        }
        for damage in damage { text += "Damage: \(damage.description.printable)\n" }
        for range in lostBefore { text += "Lost before, repaired: \(range.description.printable)\n" }
        if !damage.isEmpty, isComplete {
            // What is remembered of earlier damage may say anything.
            let gone = Set(damage.flatMap(\.lost)).reduce(0) { sum, range in
                let (total, overflow) = sum.addingReportingOverflow(range.sequences.count)
                return overflow ? Int.max : total
            }
            text += "Whole: \(Figures.grouped(messages)) messages; lost: \(Figures.grouped(gone))\n"
        }
        if isInUse { text += "A broker runs on the directory: what it wrote meanwhile may look damaged\n" }
        return damage.isEmpty ? text + "Sound\n" : text
    }

    private var messagesText: String {
        "\(Figures.grouped(messages)) (\(Figures.bytes(Double(payloadBytes))) of payload)"
    }

    private var journalText: String {
        "\(journal.files) files, \(Figures.grouped(journal.frames)) frames "
            + "(\(Figures.bytes(Double(journal.bytes))))"
    }

    /// A figure, unless nobody looked.
    private func ifRead(_ figure: String) -> String {
        isComplete ? figure : "not read: no checkpoint says what there is"
    }

    /// The report for a program, with what a repair would do.
    func json(_ plan: RepairPlan, _ refusal: LogError? = nil) -> JSON {
        let steps = refusal == nil ? plan.steps : []
        var members: [String: JSON] = [
            "store_id": .string(storeName), "cluster_id": clusterID.map { .string($0) } ?? .null,
            "format_version": .integer(Int64(formatVersion)), "in_use": .bool(isInUse),
            "messages": .integer(Int64(messages)), "payload_bytes": .integer(Int64(payloadBytes)),
            "checkpoints": .integer(Int64(checkpoints)), "segments": .integer(Int64(segments)),
            "journal": .object([
                "files": .integer(Int64(journal.files)), "frames": .integer(Int64(journal.frames)),
                "bytes": .integer(Int64(clamping: journal.bytes)),
            ]),
            "channels": .array(channels.map(\.json)), "damage": .array(damage.map(\.json)),
            "sound": .bool(damage.isEmpty), "complete": .bool(isComplete),
            "lost_before": .array(lostBefore.map(\.json)),
            "repair": .array(steps.map { .string($0.description) }),
        ]
        if let refusal { members["repair_refused"] = .string(refusal.description) }
        if let tail = journal.tornTail {
            members["torn_tail"] = .object([
                "file": .string(tail.file), "offset": .integer(Int64(clamping: tail.offset)),
                "bytes": .integer(Int64(clamping: tail.bytes)),
            ])
        }
        return .object(members)
    }

    private var storeName: String {
        let digits = String(storeID, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension StoredChannel {
    fileprivate var printableName: String { String(decoding: name, as: UTF8.self).printable }

    fileprivate var json: JSON {
        .object([
            "id": .integer(Int64(id.rawValue)), "name": .string(String(decoding: name, as: UTF8.self)),
            "first_sequence": .integer(Int64(clamping: firstSequence)),
            "last_sequence": .integer(Int64(clamping: lastSequence)),
            "messages": .integer(Int64(messages)), "bytes": .integer(Int64(bytes)),
        ])
    }
}

extension Damage {
    fileprivate var json: JSON {
        .object([
            "file": .string(file), "offset": .integer(Int64(clamping: offset)), "reason": .string(reason),
            "lost": .array(lost.map(\.json)),
        ])
    }
}

extension LostRange {
    fileprivate var json: JSON {
        .object([
            "channel": .string(String(decoding: name, as: UTF8.self)),
            "id": .integer(Int64(channel.rawValue)),
            "first_sequence": .integer(Int64(clamping: sequences.lowerBound)),
            "last_sequence": .integer(Int64(clamping: sequences.upperBound)),
        ])
    }
}
