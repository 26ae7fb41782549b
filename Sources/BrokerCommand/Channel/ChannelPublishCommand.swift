import ArgumentParser
import BrokerClient
import Synchronization

/// `broker channel pub`.
struct ChannelPublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pub",
        abstract: "Publish a message to a channel, or many, and wait until they are stored.",
        discussion: """
            Without a body it is read from standard input. In a body given as word {{Count}}, {{TimeStamp}}, {{Unix}}, \
            {{UnixNano}}, {{ID}} and {{Random 10}} stand for values of each message.
            Exit code: 0 every message was acknowledged, 1 one or more were not, 2 not understood.
            """)

    @OptionGroup var streaming: StreamingOptionsGroup
    @Argument(help: "Channel.") var channel: String
    @Argument(help: "Body; from standard input unless given.") var body: String?
    @Option(help: "Messages to publish.") var count = 1
    @Option(help: "Time between two messages.") var sleep: DurationArgument?
    @Option(help: "Reply subject for the subscribers.") var reply: String?
    @Flag(name: .shortAndLong, help: "Say nothing.") var quiet = false

    mutating func validate() throws {
        guard count >= 1 else { throw ValidationError("--count should be at least 1, got \(count)") }
    }

    mutating func run() async throws {
        let template = MessageTemplate(Array((body ?? "").utf8))
        let input = body == nil ? try Terminal.readInput() : nil
        let client = try await streaming.connect()
        var progress = ProgressBar(total: count, isShown: !quiet && count > 1 && Terminal.showsProgress)
        let failures = PublishFailures()
        var bytes = 0
        for number in 1...count {
            let payload = input ?? template.body(count: number)
            bytes = payload.count
            if count == 1 || sleep != nil {
                try await client.publish(channel, payload, reply: reply)
            } else {
                try await client.publish(channel, payload, reply: reply, acknowledged: failures.note)
            }
            progress.advance(to: number)
            if let sleep, number < count { try await Task.sleep(for: sleep.duration) }
        }
        try await client.flush()
        progress.finish()
        try await client.close()
        if let failure = failures.summary { throw CommandFailure(failure) }
        guard !quiet else { return }
        Terminal.say(
            count == 1
                ? "Published \(bytes) bytes to \"\(channel)\", acknowledged"
                : "Published \(Figures.grouped(count)) messages to \"\(channel)\", all acknowledged")
    }
}

/// Counts what was not acknowledged.
final class PublishFailures: Sendable {
    private let state = Mutex<(count: Int, first: StreamingError?)>((0, nil))

    /// Notes the outcome of one publish.
    func note(_ outcome: Result<Void, StreamingError>) {
        guard case .failure(let error) = outcome else { return }
        state.withLock { state in
            state.count += 1
            if state.first == nil { state.first = error }
        }
    }

    /// What went wrong; nil when nothing did.
    var summary: String? {
        state.withLock { state in
            state.first.map {
                "\(Figures.grouped(state.count)) publishes were not acknowledged; the first: \($0)"
            }
        }
    }
}
