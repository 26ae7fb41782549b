import ArgumentParser
import BrokerClient
import BrokerProtocol

/// Whom a request about a channel goes to.
struct ChannelRequestOptions: ParsableArguments {
    @OptionGroup var connection: ConnectionOptions

    @Option(help: "Cluster id of the server (environment: STAN_CLUSTER_ID).")
    var clusterID: String?

    @Flag(help: "Print the server's JSON.") var json = false

    /// Makes a request and returns its answer.
    ///
    /// - Throws: `CommandFailure` with the server's sentence when it was refused.
    func request(_ request: ChannelRequest, channel: String) async throws -> JSON {
        guard Subject.isValidChannel(Array(channel.utf8)) else {
            throw CommandFailure("\"\(channel.printable)\" is no name of a channel", exitCode: 2)
        }
        let cluster = clusterID ?? Environment["STAN_CLUSTER_ID"] ?? "test-cluster"
        let prefix = request.verb.prefix(clusterID: Array(cluster.utf8))
        let subject = String(decoding: prefix, as: UTF8.self) + channel
        let client = try await connection.connect()
        let payload = try await answer(of: client, subject, request.payload, cluster)
        await client.close()
        guard let found = JSON(parsing: payload) else {
            throw CommandFailure("the server did not answer JSON")
        }
        if let error = found["error"]?.string { throw CommandFailure(error.printable) }
        return found
    }

    private func answer(
        of client: Client, _ subject: String, _ payload: [UInt8], _ cluster: String
    ) async throws -> [UInt8] {
        do {
            return try await client.request(subject, payload, timeout: connection.timeoutDuration).payload
        } catch ClientError.noResponders {
            throw CommandFailure(
                "nobody answers for the cluster id \"\(cluster)\"; is --cluster-id right, and the server this broker?"
            )
        }
    }
}

/// `broker channel delete`.
struct ChannelDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete a channel with its messages and durables.",
        discussion: """
            The running server does it; when this returns it is on disk. The name may be used again: a channel of that name \
            begins with sequence 1. While somebody is subscribed it is refused, unless --force: those subscriptions end then, \
            without a word to their clients.
            Exit code: 0 done, 1 refused or failed, 2 not understood.
            """,
        aliases: ["rm"])

    @OptionGroup var server: ChannelRequestOptions
    @Argument(help: "Channel.") var channel: String
    @Flag(help: "Also while somebody is subscribed.") var force = false

    mutating func run() async throws {
        let answer = try await server.request(.delete(force: force), channel: channel)
        Terminal.out(server.json ? answer.text + "\n" : Self.text(channel, answer))
    }

    /// The answer for a person.
    static func text(_ channel: String, _ answer: JSON) -> String {
        let messages = answer["messages"]?.integer ?? 0
        let subscriptions = answer["subscriptions"]?.integer ?? 0
        return "Deleted channel \"\(channel)\": \(Figures.grouped(messages)) messages "
            + "(\(Figures.bytes(Double(answer["bytes"]?.integer ?? 0)))), "
            + "\(Figures.grouped(subscriptions)) subscriptions\n"
    }
}

/// `broker channel purge`.
struct ChannelPurgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge", abstract: "Remove messages of a channel; it goes on with its next sequence.",
        discussion: """
            The running server does it; when this returns it is on disk. Without --up-to and --older-than every message goes \
            that is stored when the request arrives. What was delivered and not acknowledged of it does not come again.
            Exit code: 0 done, 1 refused or failed, 2 not understood.
            """)

    @OptionGroup var server: ChannelRequestOptions
    @Argument(help: "Channel.") var channel: String
    @Option(help: "Remove messages up to this sequence, it included.") var upTo: UInt64?
    @Option(help: "Remove messages stored longer ago than this, like 36h.") var olderThan: DurationArgument?

    mutating func validate() throws {
        guard upTo == nil || olderThan == nil else {
            throw ValidationError("--up-to and --older-than exclude each other")
        }
        guard upTo != 0 else { throw ValidationError("--up-to should be a sequence of 1 and above") }
        guard olderThan.map({ $0.duration > .zero }) ?? true else {
            throw ValidationError("--older-than should be more than 0s")
        }
    }

    /// What is to be removed.
    var extent: ChannelRequest.Extent {
        if let upTo { return .upTo(sequence: upTo) }
        guard let age = olderThan?.duration.components else { return .all }
        return .olderThan(
            nanoseconds: UInt64(age.seconds) * 1_000_000_000 + UInt64(age.attoseconds) / 1_000_000_000)
    }

    mutating func run() async throws {
        let answer = try await server.request(.purge(extent), channel: channel)
        Terminal.out(server.json ? answer.text + "\n" : Self.text(channel, answer))
    }

    /// The answer for a person.
    static func text(_ channel: String, _ answer: JSON) -> String {
        let first = answer["first_sequence"]?.integer ?? 0
        let last = answer["last_sequence"]?.integer ?? 0
        return
            "Purged channel \"\(channel)\" of \(Figures.grouped(answer["purged"]?.integer ?? 0)) messages; "
            + (first > last
                ? "none are left, the next gets sequence \(first)\n"
                : "sequences \(first)-\(last) are left\n")
    }
}
