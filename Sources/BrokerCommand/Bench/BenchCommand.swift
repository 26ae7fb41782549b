import ArgumentParser
import BrokerClient

/// `broker bench`.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure a server: of this broker, NATS, or NATS Streaming.",
        discussion: """
            All connections run on one thread that writes blocks of frames made beforehand and compares what comes in place: \
            the generator does a fraction of the server's work. On a machine of few cores they still share them.
            """,
        subcommands: [CoreBenchCommand.self, ChannelBenchCommand.self])
}

/// What both benchmarks are told.
struct BenchOptions: ParsableArguments {
    @OptionGroup var connection: ConnectionOptions
    @Option(name: [.customLong("pub"), .customLong("publishers")], help: "Publishers.") var publishers = 1
    @Option(
        name: [.customLong("sub"), .customLong("subscribers")], help: "Subscribers; each gets every message.")
    var subscribers = 0
    @Option(help: "Size of a message's payload.") var size = SizeArgument(128)
    @Flag(help: "Print the result as JSON.") var json = false
    @Flag(inversion: .prefixedNo, help: "Draw a progress bar (on a terminal).") var progress = true

    func validate() throws {
        guard (0...10_000).contains(publishers), (0...10_000).contains(subscribers),
            publishers + subscribers > 0
        else {
            throw ValidationError("--pub and --sub should be between 0 and 10000, not both 0")
        }
        guard size.bytes <= 64 << 20 else { throw ValidationError("--size should be at most 64MB") }
    }

    var showsProgress: Bool { progress && !json && Terminal.showsProgress }

    func show(_ report: BenchReport) throws {
        Terminal.out(json ? report.json.text + "\n" : report.text)
        if report.errors > 0 {
            let first = report.settings["first_error"]?.string ?? "unknown"
            throw CommandFailure("\(Figures.grouped(report.errors)) messages failed; the first: \(first)")
        }
    }
}

/// `broker bench core`.
struct CoreBenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "core", abstract: "Publish and deliver, or request and reply, over NATS core.",
        discussion: """
            Publishers stay at most 16 MiB ahead of the slowest subscriber. The latency is that of messages under this load, \
            taken from one message in every eighth block; for latencies of an idle server use --request.
            Exit code: 0 done, 1 failed, 2 not understood.
            """)

    @OptionGroup var options: BenchOptions
    @Argument(help: "Subject.") var subject = "bench"
    @Option(name: [.long, .customLong("msgs")], help: "Messages of all publishers together.") var count =
        1_000_000
    @Flag(
        help:
            "Request and reply: --pub requesters, one request at a time each, --sub responders (at least one)."
    )
    var request = false

    mutating func validate() throws {
        guard count >= 1 else { throw ValidationError("--count should be at least 1") }
        guard options.publishers >= 1 else { throw ValidationError("--pub should be at least 1") }
    }

    mutating func run() async throws {
        var plan = CoreBenchPlan()
        plan.subject = subject
        plan.publishers = min(options.publishers, count)
        plan.subscribers = request ? max(1, options.subscribers) : options.subscribers
        plan.size = options.size.bytes
        plan.count = count
        plan.client = try options.connection.clientOptions()
        let final = plan
        let report =
            request
            ? try await BenchRun.perform(
                progress: options.showsProgress, total: count, { RequestBench(final, loop: $0) },
                done: { $0.done },
                report: { $0.report })
            : try await BenchRun.perform(
                progress: options.showsProgress, total: count, { CoreBench(final, loop: $0) },
                done: { $0.done },
                report: { $0.report })
        try options.show(report)
    }
}

/// `broker bench channel`.
struct ChannelBenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "channel",
        abstract: "Publish to a channel of NATS Streaming and wait for the acknowledgements.",
        discussion: """
            The time of an acknowledgement runs from the write of the publish until it came. Subscribers begin with new \
            messages and acknowledge each.
            Exit code: 0 every message was acknowledged, 1 failed, 2 not understood.
            """)

    @OptionGroup var options: BenchOptions
    @Argument(help: "Channel.") var channel = "bench"
    @Option(help: "Cluster id of the server (environment: STAN_CLUSTER_ID).") var clusterID: String?
    @Option(name: [.long, .customLong("msgs")], help: "Messages of all publishers together.") var count =
        100_000
    @Option(help: "Publishes of one publisher without an acknowledgement.") var inFlight = 1024

    mutating func validate() throws {
        guard count >= 1 else { throw ValidationError("--count should be at least 1") }
        guard options.publishers >= 1 else { throw ValidationError("--pub should be at least 1") }
        guard (1...1_000_000).contains(inFlight) else {
            throw ValidationError("--in-flight should be between 1 and 1000000")
        }
    }

    mutating func run() async throws {
        var plan = ChannelBenchPlan()
        plan.clusterID = clusterID ?? Environment["STAN_CLUSTER_ID"] ?? "test-cluster"
        plan.channel = channel
        plan.publishers = min(options.publishers, count)
        plan.subscribers = options.subscribers
        plan.size = options.size.bytes
        plan.count = count
        plan.inFlight = inFlight
        plan.client = try options.connection.clientOptions()
        let final = plan
        let report = try await BenchRun.perform(
            progress: options.showsProgress, total: count, { ChannelBench(final, loop: $0) },
            done: { $0.done },
            report: { $0.report })
        try options.show(report)
    }
}
