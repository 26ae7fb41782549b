/// What the broker says about itself in `INFO` (nats-core.md 2.1).
public struct ServerInfo: Sendable {
    /// Unique per start of the process.
    public var serverID: String
    /// Configured name, or the id.
    public var serverName: String
    /// The protocol version that clients gate features on.
    public var version: String
    /// Where it listens.
    public var host: String
    /// Where it listens; the real port, also when a random one was asked for.
    public var port: Int
    /// Bytes of header block and payload; -1 = unlimited.
    public var maximumPayload: Int
    /// Clients must give credentials.
    public var isAuthenticationRequired: Bool

    /// All fields that one broker has in common for all its clients.
    public init(
        serverID: String, serverName: String, version: String, host: String, port: Int,
        maximumPayload: Int, isAuthenticationRequired: Bool
    ) {
        self.serverID = serverID
        self.serverName = serverName
        self.version = version
        self.host = host
        self.port = port
        self.maximumPayload = maximumPayload
        self.isAuthenticationRequired = isAuthenticationRequired
    }

    /// The whole line for one client, CR LF included. `isAfterConnect`: the one that follows the first
    /// `PONG` and names the account.
    public func line(clientID: UInt64, clientAddress: String, isAfterConnect: Bool) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.field("server_id", serverID)
        json.field("server_name", serverName)
        json.field("version", version)
        json.field("proto", 1)
        json.field("go", "swift")
        json.field("host", host)
        json.field("port", port)
        json.field("headers", true)
        if isAuthenticationRequired { json.field("auth_required", true) }
        json.field("max_payload", maximumPayload)
        json.field("client_id", clientID)
        json.field("client_ip", clientAddress)
        if isAfterConnect {
            json.field("connect_info", true)
            json.field("remote_account", "$G")
        }
        json.field("api_lvl", 2)
        json.endObject()
        return Array("INFO ".utf8) + json.bytes + Array(" \r\n".utf8)
    }
}
