import NIOCore
import NIOPosix

/// How a `Client` connects and what it bounds.
public struct ClientOptions: Sendable {
    /// Servers to connect to; the first one that answers is taken, the others serve after a loss.
    public var servers: [ServerURL]
    /// User name for servers whose address has none.
    public var user: String?
    /// Password for servers whose address has none.
    public var password: String?
    /// Token for servers whose address has none.
    public var token: String?
    /// The connection's name in the server's monitoring.
    public var name: String?
    /// Time for one server to accept the connection, and again to greet.
    public var connectTimeout: Duration = .seconds(2)
    /// What happens after a loss.
    public var reconnect = ReconnectPolicy()
    /// Whether the first connect also waits for a server in place of failing.
    public var waitsForFirstConnect = false
    /// Whether messages that this client publishes also go to its own subscriptions.
    public var echo = true
    /// Time between the client's pings.
    public var pingInterval: Duration = .seconds(120)
    /// Pings without an answer before the connection counts as lost.
    public var maxPingsOut = 2
    /// Bytes that wait to be sent, also while there is no connection; publishers wait beyond.
    public var maxPendingBytes = 8 << 20
    /// Bytes that one subscription keeps for its consumer. When they are reached the client stops reading, so that the
    /// server (not this process) keeps the rest.
    public var subscriptionBufferBytes = 16 << 20
    /// The event loops; the process-wide ones unless said.
    public var group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    /// What finds the addresses of a name; the system unless a test says otherwise.
    var resolver: (any Resolver & Sendable)?

    /// The defaults for these servers.
    public init(servers: [ServerURL] = [ServerURL(host: "127.0.0.1")]) {
        self.servers = servers
    }

    /// The defaults for servers given as addresses, each perhaps a list with commas.
    ///
    /// - Throws: `.invalidURL`.
    public init(_ addresses: String...) throws(ClientError) {
        var servers: [ServerURL] = []
        for address in addresses { servers += try ServerURL.list(address) }
        self.init(servers: servers)
    }
}

/// How long a client waits between attempts to connect again.
///
/// The first attempt after a loss follows within `firstDelay`; then the delay doubles with each round through the servers
/// up to `maxDelay`. Every delay is shortened at random by up to half, so that the clients of a server that comes back
/// do not all come at once.
public struct ReconnectPolicy: Hashable, Sendable {
    /// Rounds through the servers without success before the client gives up and closes; nil for never. 0 means that it
    /// does not reconnect at all.
    public var maxRounds: Int?
    /// The longest delay before the first round.
    public var firstDelay: Duration = .milliseconds(50)
    /// The longest delay between two rounds.
    public var maxDelay: Duration = .seconds(2)

    /// Never gives up; 50 ms to 2 s.
    public init() {}

    /// The delay before round `round` (from 0).
    func delay<Generator: RandomNumberGenerator>(
        round: Int, using generator: inout Generator
    ) -> Duration {
        var longest = firstDelay
        for _ in 0..<min(round, 62) {
            longest = min(longest * 2, maxDelay)
        }
        longest = min(longest, maxDelay)
        return longest * Double.random(in: 0.5...1, using: &generator)
    }
}

/// What happens to a client's connection.
public enum ClientEvent: Hashable, Sendable {
    /// Connected for the first time, to the server of this address.
    case connected(server: String)
    /// The connection was lost; a reconnect follows.
    case disconnected(reason: String)
    /// Connected again; every subscription is back.
    case reconnected(server: String)
    /// The server named members of its cluster that were not known.
    case discoveredServers([String])
    /// The server is about to go away.
    case lameDuck
    /// The server refused something, or reported an error, in its words.
    case serverError(String)
    /// A subscription's buffer is full: the client stops reading until its consumer has caught up.
    case readingPaused(subject: String)
    /// A streaming client's session is lost: it is not registered any more, its subscriptions have ended.
    case sessionLost(reason: String)
    /// The client is closed for good; the reason unless it was asked to.
    case closed(reason: ClientError?)
}
