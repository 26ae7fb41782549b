/// The subjects of one cluster id, told to each client in its connect response and persisted, so
/// that clients connected before a restart go on with them (nats-streaming.md §1.2).
struct StreamingSubjects: Equatable {
    var discover: [UInt8]
    /// Publishes arrive on this, a dot and the channel.
    var publishPrefix: [UInt8]
    var subscribe: [UInt8]
    var unsubscribe: [UInt8]
    var subscriptionClose: [UInt8]
    var close: [UInt8]

    /// Pings arrive here.
    var ping: [UInt8] { discover + Array(".pings".utf8) }

    init(clusterID: String, discoverPrefix: String) {
        discover = Array("\(discoverPrefix).\(clusterID)".utf8)
        publishPrefix = Array("_STAN.pub.\(clusterID)".utf8)
        subscribe = Array("_STAN.sub.\(clusterID)".utf8)
        unsubscribe = Array("_STAN.unsub.\(clusterID)".utf8)
        subscriptionClose = Array("_STAN.subclose.\(clusterID)".utf8)
        close = Array("_STAN.close.\(clusterID)".utf8)
    }
}

/// Makes the names that NATS calls NUIDs: 22 base-62 characters, unique for all that matters.
struct UniqueNames {
    private static let alphabet = Array(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    private var generator: any RandomNumberGenerator

    init(generator: any RandomNumberGenerator = SystemRandomNumberGenerator()) {
        self.generator = generator
    }

    /// 22 characters.
    mutating func next() -> [UInt8] {
        (0..<22).map { _ in Self.alphabet[Int.random(in: 0..<62, using: &generator)] }
    }

    /// `_INBOX.` and 22 characters.
    mutating func inbox() -> [UInt8] { Array("_INBOX.".utf8) + next() }
}
