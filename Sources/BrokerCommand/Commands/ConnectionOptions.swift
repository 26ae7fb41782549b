import ArgumentParser
import BrokerClient
import Flags
import Glibc

/// Which server, and as whom: the flags and environment variables of the nats CLI.
struct ConnectionOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: "Servers, separated by commas (environment: NATS_URL; default nats://127.0.0.1:4222).")
    var server: String?

    @Option(help: "User name (environment: NATS_USER).")
    var user: String?

    @Option(help: "Password (environment: NATS_PASSWORD).")
    var password: String?

    @Option(help: "Token (environment: NATS_TOKEN).")
    var token: String?

    @Option(help: "Time to wait for an answer (environment: NATS_TIMEOUT; default 5s).")
    var timeout: DurationArgument?

    @Option(help: "Name of the connection in the server's monitoring.")
    var connectionName = "broker CLI"

    mutating func validate() throws {
        if timeout == nil, let text = Environment["NATS_TIMEOUT"], DurationArgument(argument: text) == nil {
            throw ValidationError("NATS_TIMEOUT should be a duration like 5s, got \"\(text)\"")
        }
    }

    /// The time to wait for an answer.
    var timeoutDuration: Duration {
        timeout?.duration ?? Environment["NATS_TIMEOUT"].flatMap { DurationArgument(argument: $0)?.duration }
            ?? .seconds(5)
    }

    /// What the client needs to know.
    func clientOptions() throws -> ClientOptions {
        var options = try ClientOptions(server ?? Environment["NATS_URL"] ?? "nats://127.0.0.1:4222")
        options.user = user ?? Environment["NATS_USER"]
        options.password = password ?? Environment["NATS_PASSWORD"]
        options.token = token ?? Environment["NATS_TOKEN"]
        options.name = connectionName
        options.connectTimeout = timeoutDuration
        return options
    }

    /// Connects, and tells on standard error what becomes of the connection.
    func connect() async throws -> Client {
        let client = try await Client.connect(try clientOptions())
        EventReport.start(client.events())
        return client
    }
}

/// Which cluster, and as which client.
struct StreamingOptionsGroup: ParsableArguments {
    @OptionGroup var connection: ConnectionOptions

    @Option(help: "Cluster id of the server (environment: STAN_CLUSTER_ID; default test-cluster).")
    var clusterID: String?

    @Option(help: "Client id; a random one unless given (environment: STAN_CLIENT_ID).")
    var clientID: String?

    /// The cluster id.
    var cluster: String { clusterID ?? Environment["STAN_CLUSTER_ID"] ?? "test-cluster" }

    /// The client id.
    func client() -> String { clientID ?? Environment["STAN_CLIENT_ID"] ?? "broker-cli-" + UniqueName.make() }

    /// Connects and registers.
    func connect() async throws -> StreamingClient {
        var streaming = StreamingOptions()
        streaming.requestTimeout = connection.timeoutDuration
        let client = try await StreamingClient.connect(
            clusterID: cluster, clientID: client(), try connection.clientOptions(), streaming: streaming)
        EventReport.start(client.events())
        return client
    }
}

/// The environment.
enum Environment {
    /// The value of a variable; nil when it is not set or empty.
    static subscript(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        let text = unsafe String(cString: value)
        return text.isEmpty ? nil : text
    }
}

/// A duration in Go's notation.
struct DurationArgument: ExpressibleByArgument {
    let duration: Duration

    init?(argument: String) {
        guard let nanoseconds = GoDuration.nanoseconds(argument), nanoseconds >= 0 else { return nil }
        duration = .nanoseconds(nanoseconds)
    }

    init(_ duration: Duration) { self.duration = duration }

    var defaultValueDescription: String { duration.flagText }
}

/// A size like `128B`, `1KB`, `2mb`.
struct SizeArgument: ExpressibleByArgument {
    let bytes: Int

    init?(argument: String) {
        // The nats CLI writes `128B`.
        let text = argument.lowercased()
        let isPlain =
            text.hasSuffix("b") && !text.hasSuffix("kb") && !text.hasSuffix("mb") && !text.hasSuffix("gb")
        guard let size = ByteCount(text: isPlain ? String(text.dropLast()) : text), size.bytes >= 0 else {
            return nil
        }
        bytes = size.bytes
    }

    init(_ bytes: Int) { self.bytes = bytes }

    var defaultValueDescription: String { "\(bytes)B" }
}

/// A header given as `Key:Value`.
struct HeaderArgument: ExpressibleByArgument {
    let name: String
    let value: String

    init?(argument: String) {
        guard let colon = argument.firstIndex(of: ":"), colon != argument.startIndex else { return nil }
        name = String(argument[..<colon])
        var rest = argument[argument.index(after: colon)...]
        while rest.first == " " { rest.removeFirst() }
        value = String(rest)
    }
}

extension Headers {
    /// The headers of a command line.
    init(_ arguments: [HeaderArgument]) {
        self.init()
        for argument in arguments { append(argument.name, argument.value) }
    }
}

/// Tells on standard error what becomes of a connection, as the nats CLI does.
enum EventReport {
    /// Tells until the client is closed.
    static func start(_ events: AsyncStream<ClientEvent>) {
        // It ends with the client, which every command closes; nothing waits for it.
        Task {
            for await event in events {
                if let line = line(event) { Terminal.err("\(WallClock.timeOfDay()) >>> \(line)\n") }
            }
        }
    }

    static func line(_ event: ClientEvent) -> String? {
        switch event {
        case .connected, .readingPaused: nil
        case .disconnected(let reason): "Disconnected due to: \(reason), will attempt reconnect"
        case .reconnected(let server): "Reconnected to \(server)"
        case .discoveredServers(let servers): "Discovered new servers, \(servers.joined(separator: ", "))"
        case .lameDuck: "The server is about to shut down"
        case .serverError(let text): "Unexpected NATS error: \(text)"
        case .sessionLost(let reason): "The streaming session is lost: \(reason)"
        case .closed(let reason): reason.map { "Connection closed: \($0)" }
        }
    }
}
