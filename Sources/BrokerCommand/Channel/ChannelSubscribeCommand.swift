import ArgumentParser
import BrokerClient
import Glibc

/// `broker channel sub`.
struct ChannelSubscribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sub", abstract: "Print the messages of a channel.",
        discussion: """
            Begins with new messages unless told otherwise; a durable that exists goes on where it was. A message is \
            acknowledged when it was printed; with --manual-ack it is not, and comes again after --ack-wait.
            Ctrl-C closes the subscription; the server keeps a durable's position.
            Exit code: 0 when --count messages came or it was interrupted, 1 failed, 2 not understood.
            """)

    @OptionGroup var streaming: StreamingOptionsGroup
    @Argument(help: "Channel.") var channel: String
    @Option(help: "Durable name: the server keeps the position under it (with --client-id).") var durable:
        String?
    @Option(help: "Queue group: each message goes to one of its members.") var queue: String?
    @Flag(help: "Begin with the first message.") var all = false
    @Flag(help: "Begin with the last message.") var last = false
    @Option(help: "Begin with messages no older than this, for instance 10m.") var since: DurationArgument?
    @Option(help: "Begin with this sequence.") var sequence: UInt64?
    @Option(help: "Time after which a message that is not acknowledged comes again.")
    var ackWait = DurationArgument(.seconds(30))
    @Option(help: "Messages that may be unacknowledged at a time.") var maxInflight = 1024
    @Flag(help: "Do not acknowledge.") var manualAck = false
    @Option(help: "End after this many messages.") var count: Int?
    @Flag(name: .shortAndLong, help: "Print the bodies only.") var raw = false
    @Flag(help: "On ending, remove a durable in place of keeping its position.") var unsubscribe = false

    /// They end the subscription in order.
    static let signals = [SIGINT, SIGTERM]

    mutating func validate() throws {
        let starts = [all, last, since != nil, sequence != nil].filter { $0 }.count
        guard starts <= 1 else {
            throw ValidationError("--all, --last, --since and --sequence exclude each other")
        }
        guard maxInflight >= 1 else { throw ValidationError("--max-inflight should be at least 1") }
        guard ackWait.duration >= .seconds(1) else {
            throw ValidationError("--ack-wait should be at least 1s")
        }
        guard count.map({ $0 >= 1 }) ?? true else { throw ValidationError("--count should be at least 1") }
        guard
            durable == nil || queue != nil || streaming.clientID != nil
                || Environment["STAN_CLIENT_ID"] != nil
        else {
            throw ValidationError(
                "--durable needs --client-id: the server keeps the position under both names")
        }
    }

    /// What the command line asks for.
    var subscriptionOptions: ChannelSubscriptionOptions {
        var options = ChannelSubscriptionOptions(start: start, durableName: durable, queueGroup: queue)
        options.ackWait = ackWait.duration
        options.maxInFlight = maxInflight
        options.manualAck = manualAck
        return options
    }

    private var start: ChannelSubscriptionOptions.Start {
        if all { return .first }
        if last { return .last }
        if let since { return .since(since.duration) }
        if let sequence { return .sequence(sequence) }
        return .newOnly
    }

    mutating func run() async throws {
        let interrupts = SignalStream(Self.signals)
        let client = try await streaming.connect()
        let subscription = try await client.subscribe(channel, subscriptionOptions)
        if !raw { Terminal.say("Subscribing on \(channel)") }
        let (raw, count, removes, manualAck) = (raw, count, unsubscribe, manualAck)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var number = 0
                for try await message in subscription {
                    number += 1
                    Terminal.out(raw ? message.payload + [UInt8(ascii: "\n")] : Self.block(message, number))
                    if number == count {
                        // Leaving the loop does not acknowledge; this one is printed.
                        if !manualAck { message.acknowledge() }
                        return
                    }
                }
            }
            group.addTask {
                for await _ in interrupts.signals { return }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
        if removes { try await subscription.unsubscribe() } else { try await subscription.close() }
        try await client.close()
    }

    /// A message as it is printed.
    static func block(_ message: ChannelMessage, _ number: Int) -> [UInt8] {
        var title =
            "[#\(number)] Received on \"\(message.channel)\" sequence \(message.sequence) of "
            + WallClock.dateAndTime(message.timestampNanoseconds)
        if message.isRedelivered { title += " (redelivered, \(message.redeliveryCount))" }
        if let reply = message.reply { title += " with reply \"\(reply)\"" }
        return MessagePrinter.block(title, headers: Headers(), payload: message.payload)
    }
}
