import ArgumentParser
import BrokerClient

/// `broker pub`.
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pub", abstract: "Publish a message, or many.",
        discussion: """
            Without a body it is read from standard input. In a body given as word {{Count}}, {{TimeStamp}}, {{Unix}}, \
            {{UnixNano}}, {{ID}} and {{Random 10}} stand for values of each message.
            Exit code: 0 published and processed by the server, 1 failed, 2 not understood.
            """)

    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "Subject to publish to.") var subject: String
    @Argument(help: "Body; from standard input unless given.") var body: String?
    @Option(help: "Subject that answers are to go to.") var reply: String?
    @Option(name: [.customShort("H"), .long], help: "Header as Key:Value; may be repeated.")
    var header: [HeaderArgument] = []
    @Option(help: "Messages to publish.") var count = 1
    @Option(help: "Time between two messages.") var sleep: DurationArgument?
    @Flag(name: .shortAndLong, help: "Say nothing.") var quiet = false

    mutating func validate() throws {
        guard count >= 1 else { throw ValidationError("--count should be at least 1, got \(count)") }
    }

    mutating func run() async throws {
        let template = MessageTemplate(Array((body ?? "").utf8))
        let input = body == nil ? try Terminal.readInput() : nil
        let client = try await connection.connect()
        let headers = Headers(header)
        var progress = ProgressBar(total: count, isShown: !quiet && count > 1 && Terminal.showsProgress)
        var bytes = 0
        for number in 1...count {
            let payload = input ?? template.body(count: number)
            bytes = payload.count
            try await client.publish(subject, payload, reply: reply, headers: headers)
            progress.advance(to: number)
            if let sleep, number < count { try await Task.sleep(for: sleep.duration) }
        }
        try await client.flush(timeout: connection.timeoutDuration)
        progress.finish()
        await client.close()
        guard !quiet else { return }
        Terminal.say(
            count == 1
                ? "Published \(bytes) bytes to \"\(subject)\""
                : "Published \(Figures.grouped(count)) messages to \"\(subject)\"")
    }
}
