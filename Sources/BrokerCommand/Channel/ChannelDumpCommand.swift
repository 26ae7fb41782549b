import ArgumentParser
import BrokerClient
import BrokerLog
import Flags

/// `broker channel dump`.
struct ChannelDumpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dump", abstract: "Print every stored message of a channel.",
        discussion: """
            Reads over the streaming protocol from the first message to the last one that is there, and changes nothing. It \
            fails when a message before that does not come within --wait. With --dir it reads a data directory that no broker \
            runs on; messages that are damaged or lost are left out, standard error says which, and it fails.
            Each line has sequence, time and body separated by tabs; line ends, tabs and backslashes in a body are escaped. \
            --raw prints bodies only, as they are, --json an object a line.
            Exit code: 0 done (also without messages), 1 failed, not all messages or no such channel, 2 not understood.
            """)

    @OptionGroup var streaming: StreamingOptionsGroup
    @Argument(help: "Channel.") var channel: String
    @Option(help: "Read this data directory in place of asking a server.") var dir: String?
    @Option(help: "Begin with this sequence.") var sequence: UInt64?
    @Option(help: "End after this many messages.") var count: Int?
    @Option(help: "Time to wait for a message that should be there.") var wait = DurationArgument(.seconds(2))
    @ArgumentParser.Flag(name: .shortAndLong, help: "Print the bodies only.") var raw = false
    @ArgumentParser.Flag(help: "Print one JSON object a line.") var json = false

    mutating func validate() throws {
        guard !raw || !json else { throw ValidationError("--raw and --json exclude each other") }
        guard count.map({ $0 >= 1 }) ?? true else { throw ValidationError("--count should be at least 1") }
    }

    mutating func run() async throws {
        if let dir { try dump(from: dir) { Terminal.out($0) } } else { try await dumpFromServer() }
    }

    /// Prints the messages of a data directory by `print`, a line each; throws when some of them are missing.
    func dump(from directory: String, print: ([UInt8]) -> Void) throws(CommandFailure) {
        var number = 0
        let first = sequence ?? 1
        var last = UInt64.max
        let losses: (damage: [Damage], lost: [LostRange])
        do throws(LogError) {
            let reader = try OfflineReader.open(directory: directory)
            unsafe try reader.forEachMessage(of: Array(channel.utf8), from: first) { message in
                number += 1
                let reply =
                    unsafe message.reply.isEmpty ? nil : String(decoding: message.reply, as: UTF8.self)
                unsafe print(
                    line(message.sequence, message.timestamp, reply: reply, payload: [UInt8](message.payload))
                )
                guard number == count else { return true }
                unsafe last = message.sequence
                return false
            }
            losses = reader.losses(of: Array(channel.utf8), in: first...max(first, last))
        } catch {
            throw CommandFailure(
                error.code == .noChannel ? "\(error.description) in \(directory)" : error.description)
        }
        if losses.damage.isEmpty, losses.lost.isEmpty { return }
        for damage in losses.damage { Terminal.err("Damage: \(damage.description.printable)\n") }
        for range in losses.lost { Terminal.err("Lost: \(range.description.printable)\n") }
        throw CommandFailure(
            losses.lost.isEmpty
                ? "messages of channel \"\(channel.printable)\" may be missing: see the damage above"
                : "messages of channel \"\(channel.printable)\" are missing: see above which are lost")
    }

    private func dumpFromServer() async throws {
        let client = try await streaming.connect()
        // A subscription would create it.
        guard try await client.hasChannel(channel) else {
            try await client.close()
            throw CommandFailure("there is no channel \"\(channel.printable)\"")
        }
        var options = ChannelSubscriptionOptions(start: .last)
        let newest = try await client.subscribe(channel, options)
        // The last message tells where to end.
        var lastIterator = PatientIterator(newest, patience: wait.duration)
        let last = try await lastIterator.next()?.sequence
        try await newest.unsubscribe()
        var failure: CommandFailure?
        if let last, (sequence ?? 0) <= last {
            options = ChannelSubscriptionOptions(start: sequence.map { .sequence($0) } ?? .first)
            let subscription = try await client.subscribe(channel, options)
            var iterator = PatientIterator(subscription, patience: wait.duration)
            failure = try await dump(
                upTo: last,
                next: {
                    guard let message = try await iterator.next() else { return nil }
                    let text = line(
                        message.sequence, message.timestampNanoseconds, reply: message.reply,
                        payload: message.payload)
                    return (sequence: message.sequence, line: text)
                }, print: { Terminal.out($0) })
            try await subscription.unsubscribe()
        } else if last == nil {
            // The protocol does not tell one from the other.
            Terminal.err(
                "no message came within \(wait.duration.flagText): the channel is empty, or --wait is too "
                    + "short\n")
        }
        try await client.close()
        if let failure { throw failure }
    }

    /// Prints messages by `print`, a line each, up to the one with sequence `last` or as many as are asked for.
    ///
    /// - Parameter next: gives a message's sequence and line; nil when none came in time.
    /// - Returns: what to fail with, when none came in time and it is not the end; nil at the end.
    func dump(
        upTo last: UInt64, next: () async throws -> (sequence: UInt64, line: [UInt8])?,
        print: ([UInt8]) -> Void
    ) async throws -> CommandFailure? {
        var number = 0
        while let message = try await next() {
            number += 1
            print(message.line)
            if message.sequence >= last || number == count { return nil }
        }
        return CommandFailure(
            "not all messages are printed: after \(number) none came within \(wait.duration.flagText), and the last one "
                + "has sequence \(last); give it more time with --wait")
    }

    private func line(_ sequence: UInt64, _ timestamp: Int64, reply: String?, payload: [UInt8]) -> [UInt8] {
        if raw { return payload + [UInt8(ascii: "\n")] }
        return DumpLine.text(
            sequence: sequence, timestampNanoseconds: timestamp, reply: reply, payload: payload, json: json)
    }
}

/// One line of a dump.
enum DumpLine {
    static func text(
        sequence: UInt64, timestampNanoseconds: Int64, reply: String?, payload: [UInt8], json: Bool
    ) -> [UInt8] {
        if json {
            var members: [String: JSON] = [
                "sequence": .integer(Int64(clamping: sequence)), "timestamp": .integer(timestampNanoseconds),
                "data": .string(String(decoding: payload, as: UTF8.self)),
            ]
            if let reply { members["reply"] = .string(reply) }
            return Array((JSON.object(members).text + "\n").utf8)
        }
        var line = Array("\(sequence)\t\(WallClock.dateAndTime(timestampNanoseconds))\t".utf8)
        for byte in payload {
            switch byte {
            case UInt8(ascii: "\n"): line += "\\n".utf8
            case UInt8(ascii: "\r"): line += "\\r".utf8
            case UInt8(ascii: "\t"): line += "\\t".utf8
            case UInt8(ascii: "\\"): line += "\\\\".utf8
            case ..<0x20, 0x7F: line += ("\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)).utf8
            default: line.append(byte)
            }
        }
        return line + [UInt8(ascii: "\n")]
    }
}

/// The messages of a subscription until none comes in time.
struct PatientIterator {
    private let subscription: ChannelSubscription
    private let patience: Duration

    init(_ subscription: ChannelSubscription, patience: Duration) {
        self.subscription = subscription
        self.patience = patience
    }

    /// The next message; the one before is acknowledged. Nil at the end, and when none comes in time.
    mutating func next() async throws -> ChannelMessage? {
        let (subscription, patience) = (subscription, patience)
        let message = try await withThrowingTaskGroup(of: ChannelMessage?.self) { group in
            group.addTask {
                // An iterator for each message: none of them acknowledges, that is done below.
                var iterator = subscription.makeAsyncIterator()
                return try await iterator.next()
            }
            group.addTask {
                // Cancelled when a message came: then nobody takes its nil.
                try? await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        message?.acknowledge()
        return message
    }
}
