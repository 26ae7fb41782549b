import BrokerClient
import Synchronization

/// Messages that were delivered and wait, unacknowledged, for another event: an update that came before its create.
///
/// The broker sends them again after the ack wait; this memory lets them be applied at once when the other event comes,
/// and tells when one has waited long enough to be parked.
final class WaitingMessages: Sendable {
    private struct Key: Hashable {
        let channel: String
        let sequence: UInt64
    }

    private struct Entry {
        let message: ChannelMessage
        let entityID: String
        let since: Duration
    }

    private static let limit = 1_024
    /// Deliveries after which a message is no longer waited for.
    static let deliveryLimit = 20
    private static let timeLimit = Duration.seconds(900)

    private let entries = Mutex<[Key: Entry]>([:])

    /// Remembers a message; true when it has waited for 15 minutes or 20 deliveries and is to be parked.
    func add(_ message: ChannelMessage, entityID: String, now: Duration) -> Bool {
        entries.withLock { entries in
            let key = Key(channel: message.channel, sequence: message.sequence)
            let since = entries[key]?.since ?? now
            if message.redeliveryCount >= Self.deliveryLimit || now - since >= Self.timeLimit {
                entries[key] = nil
                return true
            }
            // Beyond the limit the broker's redelivery alone does it.
            if entries[key] != nil || entries.count < Self.limit {
                entries[key] = Entry(message: message, entityID: entityID, since: since)
            }
            return false
        }
    }

    /// Forgets a message that waits no more.
    func remove(_ message: ChannelMessage) {
        entries.withLock { $0[Key(channel: message.channel, sequence: message.sequence)] = nil }
    }

    /// The messages that wait for events about this id, in the order of their channels.
    func messages(for entityID: String) -> [ChannelMessage] {
        entries.withLock { entries in
            entries.values.filter { $0.entityID == entityID }.map(\.message)
        }.sorted { ($0.channel, $0.sequence) < ($1.channel, $1.sequence) }
    }
}
