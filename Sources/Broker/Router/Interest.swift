import BrokerProtocol

/// Names a connection of any loop: the loop that owns it, its slot there, and how often the slot was used
/// before, so that a name outlives the connection without harm.
struct ConnectionID: Hashable, Sendable {
    var loop: UInt16
    var generation: UInt16
    var slot: UInt32

    /// As one word, for mailbox records.
    var rawValue: UInt64 { UInt64(loop) << 48 | UInt64(generation) << 32 | UInt64(slot) }

    init(loop: Int, generation: UInt16, slot: Int) {
        self.loop = UInt16(truncatingIfNeeded: loop)
        self.generation = generation
        self.slot = UInt32(truncatingIfNeeded: slot)
    }

    init(rawValue: UInt64) {
        loop = UInt16(truncatingIfNeeded: rawValue >> 48)
        generation = UInt16(truncatingIfNeeded: rawValue >> 32)
        slot = UInt32(truncatingIfNeeded: rawValue)
    }
}

/// Names an interest on all loops: unique while the process runs.
struct InterestID: Hashable, Sendable {
    /// The owning loop in the upper 16 bits, its count of interests below.
    let rawValue: UInt64

    init(loop: Int, number: UInt64) { rawValue = UInt64(loop) << 48 | number }
    init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The loop that delivers to it.
    var loop: Int { Int(rawValue >> 48) }
}

/// Somebody's wish for messages on a subject: a client's subscription or the streaming engine's.
///
/// Lives in memory of its own at a fixed address, so that cached routes can point to it. The router frees
/// it, and only when no valid route names it any more.
@safe struct Interest {
    /// Who takes the messages.
    @safe enum Taker {
        /// A connection of this loop.
        case connection(UnsafeMutablePointer<Connection>)
        /// The streaming engine, under a tag, on this loop.
        case engine(tag: UInt64)
        /// A connection of another loop, or with nil the engine there.
        case remote(ConnectionID?)
    }

    let id: InterestID
    let taker: Taker
    let subject: [UInt8]
    /// Empty: not a member of a queue group.
    let queue: [UInt8]
    /// The client's name for it.
    let sid: [UInt8]
    /// Deliveries after which it ends; 0 = none.
    var maximum = 0
    /// Messages delivered since it began.
    var delivered = 0
    /// The connection of this loop that takes the messages.
    var connection: UnsafeMutablePointer<Connection>? {
        if case .connection(let connection) = taker { unsafe connection } else { nil }
    }

    /// Where it stands in its list, so that it is removed without a search.
    var position = 0
}

/// Interests by pointer, in no order.
typealias InterestPointer = UnsafeMutablePointer<Interest>

/// The interests of one subject.
@safe struct InterestList {
    private(set) var pointers: [InterestPointer] = unsafe []

    var isEmpty: Bool { unsafe pointers.isEmpty }

    mutating func add(_ interest: InterestPointer) {
        unsafe interest.pointee.position = unsafe pointers.count
        unsafe pointers.append(interest)
    }

    /// `interest` must be in this list.
    mutating func remove(_ interest: InterestPointer) {
        let position = unsafe interest.pointee.position
        unsafe precondition(pointers[position] == interest, "an interest knows its place in its list")
        let last = unsafe pointers.removeLast()
        if unsafe last != interest {
            unsafe pointers[position] = unsafe last
            unsafe last.pointee.position = position
        }
    }
}
