/// What checking a data directory found.
public struct LogCheckReport: Equatable, Sendable {
    /// The journal's end that was written and never synced: with `SyncPolicy.always` nothing of it was acknowledged, and the
    /// next start cuts it.
    public struct TornTail: Equatable, Sendable {
        /// Path of the file below the data directory.
        public var file: String
        /// Where the tail begins, in bytes.
        public var offset: UInt64
        /// Bytes of its first batch; of its header where that does not tell.
        public var bytes: UInt64
    }

    /// What the journal holds.
    public struct Journal: Equatable, Sendable {
        /// Files, those ready for use among them.
        public var files = 0
        /// Whole frames from the oldest checkpoint on; what lies before is not needed any more.
        public var frames = 0
        /// Bytes of those frames.
        public var bytes: UInt64 = 0
        /// An unsynced end, which is no damage.
        public var tornTail: TornTail?
    }

    /// Random number of the store.
    public var storeID: UInt64
    /// The cluster id that the directory belongs to; nil when the file `store` is damaged or missing.
    public var clusterID: String?
    /// Version of the directory's formats.
    public var formatVersion: UInt32
    /// Whether a broker runs on the directory: what it writes meanwhile may look torn.
    public var isInUse = false
    /// Whether all of it was read. It is not where a broker does not start: no checkpoint says what segments and journal hold,
    /// and the journal does not tell everything by itself.
    public var isComplete = true
    /// Every channel, oldest first, with the messages that were read and are whole.
    public var channels: [StoredChannel] = []
    /// Bytes of payload read.
    public var payloadBytes = 0
    /// Whole checkpoints.
    public var checkpoints = 0
    /// Segment files that were verified.
    public var segments = 0
    /// What the journal holds.
    public var journal = Journal()
    /// Everything on disk that is not what was written there, by file and offset.
    public var damage: [Damage] = []
    /// Messages that damage took before a repair: they are gone, and nothing is damaged any more.
    public var lostBefore: [LostRange] = []

    init(_ identity: StoreIdentity) {
        storeID = identity.storeID
        clusterID = identity.clusterID
        formatVersion = identity.version
    }

    /// Messages that were read and are whole.
    public var messages: Int { channels.reduce(0) { $0 + $1.messages } }

    /// Adds damage, unless that place is known to be damaged.
    mutating func add(_ found: Damage) {
        if damage.contains(where: { $0.file == found.file && $0.offset == found.offset }) { return }
        damage.append(found)
    }
}
