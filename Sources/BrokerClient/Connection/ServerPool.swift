/// The servers that a client knows and whose turn it is.
struct ServerPool {
    private(set) var servers: [ServerURL]
    /// How many of them the user named; these are never dropped.
    private let configured: Int
    private var index = 0

    init(_ servers: [ServerURL]) {
        self.servers = servers
        configured = servers.count
    }

    /// How many servers make a round.
    var count: Int { servers.count }

    /// The server whose turn it is; the turn passes on.
    mutating func next() -> ServerURL? {
        guard !servers.isEmpty else { return nil }
        index %= servers.count
        defer { index += 1 }
        return servers[index]
    }

    /// After a loss the same server is tried first.
    mutating func stay() {
        if index > 0 { index -= 1 }
    }

    /// Takes over the members of a cluster and returns those that are new. An empty list changes nothing; members that
    /// are not named any more are dropped (nats-core.md 9).
    mutating func discovered(_ addresses: [String]) -> [String] {
        guard !addresses.isEmpty else { return [] }
        // A server's list is taken as far as it can be read: one odd entry must not cost the others.
        let named = addresses.compactMap { try? ServerURL($0) }
        let known = Set(servers.map(\.address))
        let kept = servers[..<configured]
        let keptAddresses = Set(kept.map(\.address))
        servers = Array(kept) + named.filter { !keptAddresses.contains($0.address) }
        return named.map(\.address).filter { !known.contains($0) }
    }
}
