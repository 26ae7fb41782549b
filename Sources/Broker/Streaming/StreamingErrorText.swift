/// Texts that clients see verbatim in responses (nats-streaming.md §3.0). The missing prefix of
/// `too many …` and the misspelling are the original's.
enum StreamingErrorText {
    static let invalidConnectRequest = "stan: invalid connection request"
    static let invalidClientID =
        "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed"
    static let clientIDRegistered = "stan: clientID already registered"
    static let invalidPublishRequest = "stan: invalid publish request"
    static let invalidSubscriptionRequest = "stan: invalid subscription request"
    static let missingClientID = "stan: clientID missing"
    static let invalidAckWait = "stan: invalid ack wait time, should be >= 1s"
    static let invalidMaxInFlight = "stan: invalid MaxInflight, should be >= 1"
    static let invalidStart = "stan: invalid start position"
    static let invalidSubject = "stan: invalid subject"
    static let unknownClientID = "stan: unknown clientID"
    static let invalidDurableQueueName =
        "stan: durable name of a durable queue subscriber can't contain the character ':'"
    static let duplicateDurable = "stan: duplicate durable registration"
    static let invalidUnsubscribeRequest = "stan: invalid unsubscribe request"
    static let unknownChannel = "stan: unknown channel"
    static let invalidSubscription = "stan: invalid subscription"
    static let invalidCloseRequest = "stan: invalid close request"
    static let tooManyChannels = "too many channels"
    static let tooManySubscriptions = "too many subscriptions per channel"
    static let replacedClient = "client has been replaced or is no longer registered"

    static func caseConflict(_ name: [UInt8], with existing: [UInt8]) -> String {
        "rejecting channel \"\(text(name))\" because channel \"\(text(existing))\" alreay exists "
            + "(different cases not allowed)"
    }
}

/// Bytes of a name as text for people; invalid UTF-8 shows as U+FFFD.
func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
