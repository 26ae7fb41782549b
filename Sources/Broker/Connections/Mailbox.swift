import BrokerProtocol
import Synchronization

/// One piece of work for another loop.
enum MailboxEntry {
    /// The sending loop has a new interest.
    /// `connection` is nil for the engine's.
    case insert(id: InterestID, subject: [UInt8], queue: [UInt8], connection: ConnectionID?)
    /// The sending loop's interest is gone.
    case remove(id: InterestID)
    /// A message for interests of the receiving loop; the bytes are in the batch.
    case deliver(Delivery)
    /// Answer when everything before this was taken over; a connection of loop `origin` waits.
    case fence(connection: ConnectionID)
    /// The answer.
    case fenceReached(connection: ConnectionID)
    /// The connection of the receiving loop publishes faster than a receiver takes it.
    case stall(connection: ConnectionID)
    /// To loop 0: the connection has more pending than the engine should add to, or no more.
    case congested(connection: ConnectionID)
    case congestionEnded(connection: ConnectionID)
    /// The engine sends no more messages before it knows that everything before this was taken over.
    case engineWaits
    /// To loop 0: `loop` has taken it over.
    case engineGoesOn(loop: Int)
    /// The streaming engine has too much in flight, or no more.
    case pausePublishers
    case resumePublishers

    /// A message and who gets it: ranges of the batch's bytes, and of its list of targets.
    struct Delivery {
        /// Who published it; nil for the engine.
        var publisher: ConnectionID?
        var firstTarget: Int
        var targetCount: Int
        /// Not empty: the target is one member of this queue group, and another may take its place.
        var queue: [UInt8]
        /// Offset of the subject, which reply and payload follow.
        var offset: Int
        var subjectCount: Int
        var replyCount: Int
        var payloadCount: Int
        /// -1 = no header block.
        var headerSize: Int
    }
}

/// Work gathered in one tick for one loop.
///
/// Written by the sending loop until it is handed over through the mailbox's lock, read by the receiving
/// one afterwards, never by both.
struct MailboxBatch: ~Copyable {
    var entries: [MailboxEntry] = []
    var targets: [InterestID] = []
    var bytes = ByteStore()

    var isEmpty: Bool { entries.isEmpty }
}

/// The way into a loop for the others: first in, first out.
final class Mailbox: Sendable {
    /// A batch whose fields no thread touches while it lies here.
    // Owned by whoever took it out of the mailbox; the lock orders the two threads.
    final class Parcel: @unchecked Sendable {
        var batch: MailboxBatch

        init(_ batch: consuming sending MailboxBatch) { self.batch = batch }
    }

    private struct Contents {
        var parcels: [Parcel] = []
        var bytes = 0
    }

    /// Above this, connections that feed the mailbox are paused: 32 MiB.
    static let fullBytes = 32 << 20

    private let contents = Mutex(Contents())

    /// Adds a parcel. `wasEmpty`: the receiving loop must be woken. `isFull`: senders should hold back.
    func post(_ parcel: Parcel) -> (wasEmpty: Bool, isFull: Bool) {
        let size = parcel.batch.bytes.count
        return contents.withLock { contents in
            let wasEmpty = contents.parcels.isEmpty
            contents.parcels.append(parcel)
            contents.bytes += size
            return (wasEmpty, contents.bytes > Self.fullBytes)
        }
    }

    /// Takes everything out.
    func takeAll() -> [Parcel] {
        contents.withLock { contents in
            let parcels = contents.parcels
            contents.parcels = []
            contents.bytes = 0
            return parcels
        }
    }
}
