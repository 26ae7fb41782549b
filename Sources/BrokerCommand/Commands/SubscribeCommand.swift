import ArgumentParser
import BrokerClient

/// `broker sub`.
struct SubscribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sub", abstract: "Print the messages of subjects.",
        discussion: "Exit code: 0 when --count messages came, 1 failed, 2 not understood.")

    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "Subjects; * stands for one token, > for the rest.") var subjects: [String]
    @Option(help: "Queue group: each message goes to one of its members.") var queue: String?
    @Option(help: "End after this many messages.") var count: Int?
    @Flag(name: .shortAndLong, help: "Print the bodies only.") var raw = false
    @Flag(help: "Print subjects only.") var subjectsOnly = false
    @Flag(help: "Print subjects and headers only.") var headersOnly = false
    @Flag(name: [.customShort("t"), .long], help: "Print the time of arrival.") var timestamp = false

    mutating func validate() throws {
        guard !subjects.isEmpty else { throw ValidationError("a subject is missing") }
        guard count.map({ $0 >= 1 }) ?? true else { throw ValidationError("--count should be at least 1") }
    }

    mutating func run() async throws {
        let client = try await connection.connect()
        let (messages, sink) = AsyncThrowingStream.makeStream(of: Message.self, bufferingPolicy: .unbounded)
        var subscriptions: [Subscription] = []
        for subject in subjects {
            subscriptions.append(try await client.subscribe(subject, queueGroup: queue))
        }
        // Who reads this line may publish: the server has the subscriptions by then.
        try await client.flush(timeout: connection.timeoutDuration)
        if !raw { Terminal.say("Subscribing on \(subjects.joined(separator: ", "))") }
        if subscriptions.count == 1, let only = subscriptions.first {
            // One subject needs no merging: a slow terminal then slows the reading down.
            var number = 0
            for try await message in only {
                number += 1
                show(message, number)
                if number == count { break }
            }
        } else {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for subscription in subscriptions {
                    group.addTask {
                        for try await message in subscription { sink.yield(message) }
                    }
                }
                var number = 0
                for try await message in messages {
                    number += 1
                    show(message, number)
                    if number == count { break }
                }
                group.cancelAll()
            }
        }
        await client.close()
    }

    private func show(_ message: Message, _ number: Int) {
        if raw {
            Terminal.out(message.payload + [UInt8(ascii: "\n")])
            return
        }
        if subjectsOnly {
            Terminal.out(message.subject + "\n")
            return
        }
        var title = "[#\(number)] Received on \"\(message.subject)\""
        if timestamp {
            title =
                "[#\(number)] \(WallClock.dateAndTime(WallClock.now())) Received on \"\(message.subject)\""
        }
        if let reply = message.reply { title += " with reply \"\(reply)\"" }
        Terminal.out(
            MessagePrinter.block(title, headers: message.headers, payload: headersOnly ? [] : message.payload)
        )
    }
}
