/// What a server says of itself in INFO (nats-core.md 2.1).
public struct ServerInfo: Hashable, Sendable {
    /// The id of the server's process.
    public var serverID = ""
    /// Its configured name, or the id.
    public var serverName = ""
    /// Its version.
    public var version = ""
    /// The id that it gave this connection.
    public var clientID = 0
    /// Bytes of one message, headers included; nil without a limit.
    public var maxPayload: Int?
    /// Whether it understands headers.
    public var headers = false
    /// Whether it wants credentials.
    public var authRequired = false
    /// Whether it wants TLS at once.
    public var tlsRequired = false
    /// Whether it is about to go away.
    public var lameDuck = false
    /// `host:port` of the cluster's members.
    public var connectURLs: [String] = []

    init() {}

    /// Reads the JSON of an INFO; nil when it is not an object.
    init?(json bytes: [UInt8]) {
        guard let json = JSON(parsing: bytes), case .object = json else { return nil }
        serverID = json["server_id"]?.string ?? ""
        serverName = json["server_name"]?.string ?? serverID
        version = json["version"]?.string ?? ""
        clientID = json["client_id"]?.integer ?? 0
        maxPayload = json["max_payload"]?.integer.flatMap { $0 > 0 ? $0 : nil }
        headers = json["headers"]?.bool ?? false
        authRequired = json["auth_required"]?.bool ?? false
        tlsRequired = json["tls_required"]?.bool ?? false
        lameDuck = json["ldm"]?.bool ?? false
        connectURLs = json["connect_urls"]?.array?.compactMap(\.string) ?? []
    }
}
