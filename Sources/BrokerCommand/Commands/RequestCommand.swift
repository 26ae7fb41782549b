import ArgumentParser
import BrokerClient

/// `broker request`.
struct RequestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "request", abstract: "Send a request and print the answer.",
        discussion: "Exit code: 0 answered, 1 no responders, no answer in time, or failed, 2 not understood.",
        aliases: ["req"])

    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "Subject of the request.") var subject: String
    @Argument(help: "Body; from standard input unless given.") var body: String?
    @Option(name: [.customShort("H"), .long], help: "Header as Key:Value; may be repeated.")
    var header: [HeaderArgument] = []
    @Option(help: "Requests to send, one after the other.") var count = 1
    @Option(help: "Answers to wait for; 0 takes all that come within --reply-timeout of the last one.")
    var replies = 1
    @Option(help: "With --replies other than 1: time to wait for another answer.")
    var replyTimeout = DurationArgument(.milliseconds(300))
    @Flag(name: .shortAndLong, help: "Print the bodies only.") var raw = false

    mutating func validate() throws {
        guard count >= 1 else { throw ValidationError("--count should be at least 1, got \(count)") }
        guard replies >= 0 else { throw ValidationError("--replies should not be negative, got \(replies)") }
    }

    mutating func run() async throws {
        let template = MessageTemplate(Array((body ?? "").utf8))
        let input = body == nil ? try Terminal.readInput() : nil
        let client = try await connection.connect()
        for number in 1...count {
            let payload = input ?? template.body(count: number)
            if !raw { Terminal.say("Sending request on \"\(subject)\"") }
            if replies == 1 {
                let start = ContinuousClock.now
                let answer = try await client.request(
                    subject, payload, headers: Headers(header), timeout: connection.timeoutDuration)
                show(answer, after: ContinuousClock.now - start)
            } else {
                try await gather(client, payload)
            }
        }
        await client.close()
    }

    /// Sends one request and prints several answers.
    private func gather(_ client: Client, _ payload: [UInt8]) async throws {
        let inbox = "_INBOX." + UniqueName.make()
        let answers = try await client.subscribe(inbox)
        let start = ContinuousClock.now
        try await client.publish(subject, payload, reply: inbox, headers: Headers(header))
        var received = 0
        while replies == 0 || received < replies {
            let patience = received == 0 ? connection.timeoutDuration : replyTimeout.duration
            guard let answer = try await Self.next(answers, within: patience) else { break }
            if answer.headers.status == 503, answer.payload.isEmpty { throw ClientError.noResponders }
            received += 1
            show(answer, after: ContinuousClock.now - start)
        }
        if received == 0 { throw ClientError.timeout }
    }

    /// The next message; nil when none comes in time.
    private static func next(_ subscription: Subscription, within time: Duration) async throws -> Message? {
        try await withThrowingTaskGroup(of: Message?.self) { group in
            group.addTask {
                var iterator = subscription.makeAsyncIterator()
                return try await iterator.next()
            }
            group.addTask {
                // Cancelled when a message came: then nobody takes its nil.
                try? await Task.sleep(for: time)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    private func show(_ message: Message, after time: Duration) {
        if raw {
            Terminal.out(message.payload + [UInt8(ascii: "\n")])
            return
        }
        let (seconds, attoseconds) = time.components
        let nanoseconds = UInt64(clamping: seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
        Terminal.out(
            MessagePrinter.block(
                "\(WallClock.timeOfDay()) Received with rtt \(Figures.duration(nanoseconds: nanoseconds))",
                headers: message.headers, payload: message.payload))
    }
}

/// `broker reply`.
struct ReplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reply", abstract: "Answer requests.",
        discussion: "Exit code: 0 when --count requests were answered, 1 failed, 2 not understood.")

    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "Subject of the requests.") var subject: String
    @Argument(help: "Body of the answers; {{Count}} and the others of `pub` work here too.") var body: String?
    @Flag(help: "Answer with the request's body and headers.") var echo = false
    @Option(name: .shortAndLong, help: "Queue group: each request goes to one of its members.")
    var queue = "NATS-RPLY-22"
    @Option(name: [.customShort("H"), .long], help: "Header as Key:Value; may be repeated.")
    var header: [HeaderArgument] = []
    @Option(help: "End after this many requests.") var count: Int?
    @Flag(help: "Say nothing.") var quiet = false

    mutating func validate() throws {
        guard echo != (body != nil) else { throw ValidationError("give a body or --echo") }
        guard count.map({ $0 >= 1 }) ?? true else { throw ValidationError("--count should be at least 1") }
    }

    mutating func run() async throws {
        let template = MessageTemplate(Array((body ?? "").utf8))
        let client = try await connection.connect()
        let requests = try await client.subscribe(subject, queueGroup: queue)
        try await client.flush(timeout: connection.timeoutDuration)
        if !quiet { Terminal.say("Listening on \"\(subject)\" in group \"\(queue)\"") }
        var number = 0
        for try await request in requests {
            if !quiet {
                Terminal.out(
                    MessagePrinter.block(
                        "\(WallClock.timeOfDay()) [#\(number)] Received on subject \"\(request.subject)\":",
                        headers: request.headers, payload: request.payload))
            }
            number += 1
            if request.reply != nil {
                var headers = echo ? request.headers : Headers()
                for field in header { headers.append(field.name, field.value) }
                try await client.reply(
                    to: request, echo ? request.payload : template.body(count: number), headers: headers)
            }
            if number == count { break }
        }
        try await client.flush(timeout: connection.timeoutDuration)
        await client.close()
    }
}
