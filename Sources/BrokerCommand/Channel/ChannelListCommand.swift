import ArgumentParser
import BrokerClient

/// Where the monitoring endpoint is.
struct MonitoringOptions: ParsableArguments {
    @Option(help: "Monitoring endpoint of the server (its -m port; environment: BROKER_MONITOR).")
    var monitor: String?

    @Flag(help: "Print the server's JSON.") var json = false

    func client() throws -> MonitoringClient {
        try MonitoringClient(monitor ?? Environment["BROKER_MONITOR"] ?? "http://127.0.0.1:8222")
    }
}

/// `broker channel list`.
struct ChannelListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the channels of a server.",
        discussion:
            "Asks the monitoring endpoint. Exit code: 0 done, 1 it cannot be asked, 2 not understood.",
        aliases: ["ls"])

    @OptionGroup var monitoring: MonitoringOptions

    mutating func run() async throws {
        let client = try monitoring.client()
        var channels: [JSON] = []
        while true {
            let page = try await client.get("/streaming/channelsz?subs=1&limit=1024&offset=\(channels.count)")
            let more = page["channels"]?.array ?? []
            channels += more
            if more.isEmpty || channels.count >= page["total"]?.integer ?? 0 { break }
        }
        if monitoring.json {
            Terminal.out(JSON.array(channels).text + "\n")
            return
        }
        guard !channels.isEmpty else {
            Terminal.out("No channels\n")
            return
        }
        Terminal.out(Self.table(channels))
    }

    /// The channels as a table.
    static func table(_ channels: [JSON]) -> String {
        var table = Table([
            ("Channel", .left), ("Messages", .right), ("Size", .right), ("First", .right), ("Last", .right),
            ("Subscriptions", .right),
        ])
        for channel in channels {
            table.append([
                (channel["name"]?.string ?? "?").printable,
                Figures.grouped(channel["msgs"]?.integer ?? 0),
                Figures.bytes(Double(channel["bytes"]?.integer ?? 0)),
                Figures.grouped(channel["first_seq"]?.integer ?? 0),
                Figures.grouped(channel["last_seq"]?.integer ?? 0),
                Figures.grouped(
                    channel["subs_count"]?.integer ?? channel["subscriptions"]?.array?.count ?? 0),
            ])
        }
        return table.text
    }
}

/// `broker channel info`.
struct ChannelInfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Show one channel and its subscriptions.",
        discussion: """
            Asks the monitoring endpoint. Exit code: 0 done, 1 no such channel or it cannot be asked, 2 not understood.
            """)

    @OptionGroup var monitoring: MonitoringOptions
    @Argument(help: "Channel.") var channel: String

    mutating func run() async throws {
        let path = "/streaming/channelsz?subs=1&channel=\(channel.percentEncoded)"
        let (status, body) = try await monitoring.client().fetch(path, timeout: .seconds(5))
        if status == 404 { throw CommandFailure("there is no channel \"\(channel)\"") }
        guard status == 200, let json = JSON(parsing: body) else {
            throw CommandFailure("the monitoring endpoint answered \(status)")
        }
        Terminal.out(monitoring.json ? json.text + "\n" : Self.text(json))
    }

    /// The channel as text.
    static func text(_ channel: JSON) -> String {
        var text = """
            \(Terminal.bold("Channel \((channel["name"]?.string ?? "?").printable)"))

                  Messages: \(Figures.grouped(channel["msgs"]?.integer ?? 0))
                  Size:     \(Figures.bytes(Double(channel["bytes"]?.integer ?? 0)))
                  First:    \(Figures.grouped(channel["first_seq"]?.integer ?? 0))
                  Last:     \(Figures.grouped(channel["last_seq"]?.integer ?? 0))

            """
        let lost = channel["lost"]?.array ?? []
        if !lost.isEmpty {
            let ranges = lost.map { range in
                let (first, last) = (range["first_seq"]?.integer ?? 0, range["last_seq"]?.integer ?? 0)
                return first == last ? "\(first)" : "\(first)-\(last)"
            }
            text += "      Lost:     \(ranges.joined(separator: ", ")) (damaged on disk)\n"
        }
        text += "\n"
        let subscriptions = channel["subscriptions"]?.array ?? []
        guard !subscriptions.isEmpty else { return text + "No subscriptions\n" }
        var table = Table([
            ("Client", .left), ("Durable", .left), ("Queue", .left), ("State", .left), ("Last sent", .right),
            ("Pending", .right), ("Max in flight", .right), ("Ack wait", .right),
        ])
        for subscription in subscriptions {
            let isOffline = subscription["is_offline"]?.bool == true
            let isStalled = subscription["is_stalled"]?.bool == true
            table.append([
                (subscription["client_id"]?.string ?? "").printable,
                (subscription["durable_name"]?.string ?? "").printable,
                (subscription["queue_name"]?.string ?? "").printable,
                isOffline ? "offline" : isStalled ? "stalled" : "active",
                Figures.grouped(subscription["last_sent"]?.integer ?? 0),
                Figures.grouped(subscription["pending_count"]?.integer ?? 0),
                Figures.grouped(subscription["max_inflight"]?.integer ?? 0),
                "\(subscription["ack_wait"]?.integer ?? 0)s",
            ])
        }
        text += table.text
        return text
    }
}

extension String {
    /// The text for a URL's query.
    var percentEncoded: String {
        var result = ""
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }

    /// The text with control characters as `?`: names come from strangers, and the terminal obeys escapes.
    var printable: String {
        String(
            String.UnicodeScalarView(unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : $0 }))
    }
}
