import BrokerClient
import Testing

@testable import BrokerCommand

@Suite("The pieces of the commands")
struct ToolTests {
    @Test("a template's names become values, everything else stays")
    func templates() {
        func body(_ text: String) -> String {
            String(
                decoding: MessageTemplate(Array(text.utf8)).body(count: 7, now: 1_500_000_000_000_000_001),
                as: UTF8.self)
        }
        #expect(body("plain") == "plain")
        #expect(body("") == "")
        #expect(body("n {{Count}}{{Count}}!") == "n 77!")
        #expect(body("{{Unix}} {{UnixNano}}") == "1500000000 1500000000000000001")
        #expect(body("{{Nothing}} {{ {{Count") == "{{Nothing}} {{ {{Count")
        #expect(body("{{Random 5}}").count == 5)
        #expect(body("{{Random 99999999999}}") == "{{Random 99999999999}}")
        #expect(body("{{ID}}").count == 22)
    }

    @Test("tables line up")
    func tables() {
        var table = Table([("Channel", .left), ("Messages", .right)])
        table.append(["a", "1,000"])
        table.append(["längere.namen", "5"])
        #expect(
            table.text == """
                Channel        Messages
                -------------  --------
                a                 1,000
                längere.namen         5

                """)
    }

    @Test("figures for people")
    func figures() {
        #expect(Figures.grouped(0) == "0")
        #expect(Figures.grouped(1_234_567) == "1,234,567")
        #expect(Figures.grouped(-1000) == "-1,000")
        #expect(Figures.bytes(12) == "12 B")
        #expect(Figures.bytes(1024) == "1.00 KB")
        #expect(Figures.bytes(1_024_000_000) == "976.56 MB")
        #expect(Figures.duration(nanoseconds: 999) == "999ns")
        #expect(Figures.duration(nanoseconds: 1_234_000) == "1.23ms")
        #expect(Figures.decimals(1.005, 1) == "1.0")
        #expect(Figures.decimals(0.05, 2) == "0.05")
    }

    @Test("percentiles are those of a sorted list, within the width of a bucket")
    func percentiles() {
        var generator = SystemRandomNumberGenerator()
        var histogram = LatencyHistogram()
        var values: [UInt64] = []
        for _ in 0..<10_000 {
            let value =
                UInt64.random(in: 0...UInt64.max, using: &generator)
                >> UInt64.random(in: 10...63, using: &generator)
            values.append(value)
            histogram.record(value)
        }
        values.sort()
        for quantile in [0.01, 0.5, 0.9, 0.99, 0.999, 1] {
            let exact = Double(values[max(0, Int((10_000 * quantile).rounded(.up)) - 1)])
            let found = Double(histogram.percentile(quantile))
            #expect(found >= exact && found <= exact * 1.04 + 1, "p\(quantile): \(exact) \(found)")
        }
        #expect(histogram.minimum == values.first)
        #expect(histogram.maximum == values.last)
        #expect(LatencyHistogram().percentile(0.5) == 0)
    }

    @Test("sizes, durations and headers of a command line")
    func arguments() {
        #expect(SizeArgument(argument: "128B")?.bytes == 128)
        #expect(SizeArgument(argument: "1KB")?.bytes == 1024)
        #expect(SizeArgument(argument: "16")?.bytes == 16)
        #expect(SizeArgument(argument: "-1") == nil)
        #expect(SizeArgument(argument: "x") == nil)
        #expect(DurationArgument(argument: "1.5s")?.duration == .milliseconds(1500))
        #expect(DurationArgument(argument: "-1s") == nil)
        #expect(DurationArgument(argument: "5") == nil)
        #expect(HeaderArgument(argument: "A: b:c")?.value == "b:c")
        #expect(HeaderArgument(argument: "A:")?.value == "")
        #expect(HeaderArgument(argument: ":x") == nil)
        #expect(HeaderArgument(argument: "A") == nil)
    }

    @Test("the options of channel sub say where to begin")
    func channelSubscribe() throws {
        func options(_ arguments: String...) throws -> ChannelSubscriptionOptions {
            try ChannelSubscribeCommand.parse(["c"] + arguments).subscriptionOptions
        }
        #expect(try options().start == .newOnly)
        #expect(try options("--all").start == .first)
        #expect(try options("--last").start == .last)
        #expect(try options("--since", "5m").start == .since(.seconds(300)))
        #expect(try options("--sequence", "7").start == .sequence(7))
        let all = try options(
            "--durable", "d", "--client-id", "me", "--queue", "q", "--ack-wait", "2s", "--max-inflight", "3",
            "--manual-ack")
        #expect(all.durableName == "d")
        #expect(all.queueGroup == "q")
        #expect(all.ackWait == .seconds(2))
        #expect(all.maxInFlight == 3)
        #expect(all.manualAck)
        for bad in [
            ["--all", "--last"], ["--ack-wait", "0"], ["--max-inflight", "0"], ["--count", "0"],
            ["--durable", "d"],
            ["--since", "x"],
        ] {
            #expect(throws: (any Error).self, "\(bad)") { try ChannelSubscribeCommand.parse(["c"] + bad) }
        }
    }

    @Test("a dump's line is one line whatever the body holds")
    func dump() {
        let line = DumpLine.text(
            sequence: 3, timestampNanoseconds: 0, reply: nil, payload: Array("a\tb\n\\\u{1}é".utf8),
            json: false)
        let text = String(decoding: line, as: UTF8.self)
        #expect(text.hasPrefix("3\t"))
        #expect(text.hasSuffix("\ta\\tb\\n\\\\\\x01é\n"))
        let json = DumpLine.text(
            sequence: 3, timestampNanoseconds: 5, reply: "r", payload: Array("\"".utf8), json: true)
        #expect(
            String(decoding: json, as: UTF8.self) == #"{"data":"\"","reply":"r","sequence":3,"timestamp":5}"#
                + "\n")
    }

    @Test("names from a server send nothing to the terminal, and are asked for safely")
    func names() {
        #expect("a\u{1B}[2Jb\n".printable == "a?[2Jb?")
        #expect("a b/ü&".percentEncoded == "a%20b%2F%C3%BC%26")
        let table = ChannelListCommand.table([.object(["name": .string("x"), "msgs": .integer(5)])])
        #expect(table.contains("x"))
        #expect(ChannelInfoCommand.text(.object([:])).contains("No subscriptions"))
    }

    @Test("a monitoring address is a http URL")
    func monitoring() {
        for bad in ["", "ftp://x", "http://", "http://u:p@h", "127.0.0.1:8222", "http://h:x"] {
            #expect(throws: CommandFailure.self, "\(bad)") { try MonitoringClient(bad) }
        }
        #expect(throws: Never.self) { try MonitoringClient("http://h:1") }
    }

    @Test("a benchmark's result is readable by programs")
    func report() {
        var report = BenchReport(title: "t", settings: ["kind": .string("core")])
        report.rates.append(.init(name: "published", messages: 100, bytes: 1000, seconds: 2))
        var histogram = LatencyHistogram()
        histogram.record(10)
        report.latencies.append(("round trip", histogram))
        #expect(report.json["published"]?["messages_per_second"] == .number(50))
        #expect(report.json["round_trip_ns"]?["p50"] == .integer(10))
        #expect(report.text.contains("50 msgs/sec"))
    }

    @Test("shares of a count add up to it")
    func shares() {
        var plan = CoreBenchPlan()
        plan.publishers = 3
        plan.count = 10
        #expect((0..<3).map(plan.share) == [4, 3, 3])
    }
}
