import BrokerProtocol
import Synchronization

/// What all loops of one broker share. Nothing in it changes on the message path.
final class SharedCore: Sendable {
    let options: BrokerOptions
    let credentials: Credentials
    let serverID: String
    /// Number of the client accepted last.
    private let lastClientID = Atomic<UInt64>(0)
    private let openConnections = Atomic<Int>(0)
    private let info: Mutex<ServerInfo>

    init(options: BrokerOptions, serverID: String) {
        self.options = options
        self.serverID = serverID
        credentials = Credentials(options)
        info = Mutex(
            ServerInfo(
                serverID: serverID, serverName: options.serverName ?? serverID, version: "2.12.0",
                host: options.advertisedHost ?? options.host, port: options.advertisedPort ?? options.port,
                maximumPayload: options.maxPayload,
                isAuthenticationRequired: credentials.areRequired))
    }

    /// What INFO says; the port is set once the socket is bound.
    var serverInfo: ServerInfo {
        get { info.withLock { $0 } }
        set { info.withLock { $0 = newValue } }
    }

    func nextClientID() -> UInt64 { lastClientID.add(1, ordering: .relaxed).newValue }

    /// Counts one more connection; false when there are as many as allowed already.
    func admitConnection() -> Bool {
        if openConnections.add(1, ordering: .relaxed).newValue > options.maxConnections {
            openConnections.subtract(1, ordering: .relaxed)
            return false
        }
        return true
    }

    func connectionEnded() { openConnections.subtract(1, ordering: .relaxed) }
}

/// A loop core as something to hand from thread to thread: whoever has it may use its mailbox, and reaches
/// the rest through its event loop.
// The core is owned by its event loop; others call its mailbox, which has a lock, and `eventLoop.execute`.
struct LoopReference: @unchecked Sendable {
    let core: LoopCore
}
