/// A client of the streaming protocol, alive as long as it answers heartbeats, whatever becomes of
/// its connection (nats-streaming.md §1.1).
final class StreamingClient {
    let record: ClientRecord
    /// Tells this registration from an earlier one of the same id.
    let serial: UInt64
    /// Heartbeats that failed in a row.
    var failedHeartbeats = 0
    /// The number of the heartbeat that waits for an answer; nil if none does.
    var heartbeatInFlight: UInt64?
    /// Monotonic nanoseconds of the next heartbeat; a timer that fires before it is an old one.
    var nextHeartbeat: UInt64 = 0
    /// The connect request that waits for this client to prove itself dead; nil if none does.
    var challenger: Challenger?
    /// Ids of the subscriptions that are online, oldest first.
    var subscriptions: [UInt64] = []

    /// A connect request for an id that is taken, and where its answer goes.
    struct Challenger {
        var request: ClientRecord
        var reply: [UInt8]
        /// Tells the question to the client from the ones before it.
        var number: UInt64
    }

    init(record: ClientRecord, serial: UInt64) {
        self.record = record
        self.serial = serial
    }

    var id: [UInt8] { record.id }
}
