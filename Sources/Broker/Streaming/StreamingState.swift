import BrokerLog

/// What a registered client told us (spb.ClientInfo of nats-streaming.md §2.3).
struct ClientRecord: Equatable {
    var id: [UInt8] = []
    var heartbeatInbox: [UInt8] = []
    var connectionID: [UInt8] = []
    var protocolVersion: Int32 = 0
    var pingIntervalSeconds: Int32 = 0
    var pingMaxOut: Int32 = 0
}

/// A subscription as it survives a restart (spb.SubState of nats-streaming.md §2.3).
struct SubscriptionRecord: Equatable {
    var id: UInt64 = 0
    var channel: UInt32 = 0
    /// Empty for the shadow of a durable queue group.
    var clientID: [UInt8] = []
    var queueGroup: [UInt8] = []
    var durableName: [UInt8] = []
    var inbox: [UInt8] = []
    var ackInbox: [UInt8] = []
    var maxInFlight: Int32 = 0
    var ackWaitSeconds: Int32 = 0
    var lastSent: UInt64 = 0
    /// A durable that is offline.
    var isClosed = false
}

/// One change of the streaming engine's state, as it is journaled. A snapshot is the list of the
/// changes that build the state from nothing.
///
/// Format: one byte of kind, then the fields in the order of the case: numbers as LEB128, byte
/// strings as length and bytes, ranges as their count and, for each, the distance of its lower
/// bound from the upper bound before it (from 0) and its length less one.
enum StateRecord: Equatable {
    case subjects(StreamingSubjects)
    case clientAdded(ClientRecord)
    case clientRemoved(id: [UInt8])
    /// Added, resumed, suspended or otherwise changed.
    case subscriptionPut(SubscriptionRecord)
    case subscriptionRemoved(id: UInt64)
    case sent(subscription: UInt64, SequenceRanges)
    case acknowledged(subscription: UInt64, SequenceRanges)
    /// Subscription ids up to here were given out.
    case subscriptionIDs(last: UInt64)
    /// The wall clock was set forward by so many nanoseconds, to this time.
    case clockStepped(by: UInt64, to: Int64)
}

extension StateRecord {
    /// The record's bytes.
    func encode(into writer: inout StateWriter) {
        switch self {
        case .subjects(let subjects):
            writer.number(1)
            writer.bytes(subjects.discover)
            writer.bytes(subjects.publishPrefix)
            writer.bytes(subjects.subscribe)
            writer.bytes(subjects.unsubscribe)
            writer.bytes(subjects.subscriptionClose)
            writer.bytes(subjects.close)
        case .clientAdded(let client):
            writer.number(2)
            writer.bytes(client.id)
            writer.bytes(client.heartbeatInbox)
            writer.bytes(client.connectionID)
            writer.number(UInt64(UInt32(bitPattern: client.protocolVersion)))
            writer.number(UInt64(UInt32(bitPattern: client.pingIntervalSeconds)))
            writer.number(UInt64(UInt32(bitPattern: client.pingMaxOut)))
        case .clientRemoved(let id):
            writer.number(3)
            writer.bytes(id)
        case .subscriptionPut(let record):
            writer.number(4)
            writer.number(record.id)
            writer.number(UInt64(record.channel))
            writer.bytes(record.clientID)
            writer.bytes(record.queueGroup)
            writer.bytes(record.durableName)
            writer.bytes(record.inbox)
            writer.bytes(record.ackInbox)
            writer.number(UInt64(UInt32(bitPattern: record.maxInFlight)))
            writer.number(UInt64(UInt32(bitPattern: record.ackWaitSeconds)))
            writer.number(record.lastSent)
            writer.number(record.isClosed ? 1 : 0)
        case .subscriptionRemoved(let id):
            writer.number(5)
            writer.number(id)
        case .sent(let id, let ranges):
            writer.number(6)
            writer.number(id)
            writer.ranges(ranges)
        case .acknowledged(let id, let ranges):
            writer.number(7)
            writer.number(id)
            writer.ranges(ranges)
        case .subscriptionIDs(let last):
            writer.number(8)
            writer.number(last)
        case .clockStepped(let by, let wall):
            writer.number(9)
            writer.number(by)
            writer.number(UInt64(bitPattern: wall))
        }
    }

    /// Reads one record; nil if the bytes are none.
    init?(reading reader: inout StateReader) {
        switch reader.number() {
        case 1:
            guard let discover = reader.bytes(), let publish = reader.bytes(),
                let subscribe = reader.bytes(), let unsubscribe = reader.bytes(),
                let subscriptionClose = reader.bytes(), let close = reader.bytes()
            else { return nil }
            var subjects = StreamingSubjects(clusterID: "", discoverPrefix: "")
            subjects.discover = discover
            subjects.publishPrefix = publish
            subjects.subscribe = subscribe
            subjects.unsubscribe = unsubscribe
            subjects.subscriptionClose = subscriptionClose
            subjects.close = close
            self = .subjects(subjects)
        case 2:
            guard let id = reader.bytes(), let inbox = reader.bytes(), let connection = reader.bytes(),
                let version = reader.int32(), let interval = reader.int32(), let out = reader.int32()
            else { return nil }
            self = .clientAdded(
                ClientRecord(
                    id: id, heartbeatInbox: inbox, connectionID: connection, protocolVersion: version,
                    pingIntervalSeconds: interval, pingMaxOut: out))
        case 3:
            guard let id = reader.bytes() else { return nil }
            self = .clientRemoved(id: id)
        case 4:
            guard let id = reader.number(), let channel = reader.number().flatMap({ UInt32(exactly: $0) }),
                let client = reader.bytes(), let group = reader.bytes(), let durable = reader.bytes(),
                let inbox = reader.bytes(), let ackInbox = reader.bytes(),
                let maxInFlight = reader.int32(), let ackWait = reader.int32(),
                let lastSent = reader.number(), let closed = reader.number()
            else { return nil }
            self = .subscriptionPut(
                SubscriptionRecord(
                    id: id, channel: channel, clientID: client, queueGroup: group, durableName: durable,
                    inbox: inbox, ackInbox: ackInbox, maxInFlight: maxInFlight, ackWaitSeconds: ackWait,
                    lastSent: lastSent, isClosed: closed != 0))
        case 5:
            guard let id = reader.number() else { return nil }
            self = .subscriptionRemoved(id: id)
        case 6:
            guard let id = reader.number(), let ranges = reader.ranges() else { return nil }
            self = .sent(subscription: id, ranges)
        case 7:
            guard let id = reader.number(), let ranges = reader.ranges() else { return nil }
            self = .acknowledged(subscription: id, ranges)
        case 8:
            guard let last = reader.number() else { return nil }
            self = .subscriptionIDs(last: last)
        case 9:
            guard let by = reader.number(), let wall = reader.number() else { return nil }
            self = .clockStepped(by: by, to: Int64(bitPattern: wall))
        default:
            return nil
        }
    }
}

/// Appends the fields of state records.
struct StateWriter {
    private(set) var buffer: [UInt8] = []

    mutating func removeAll() { buffer.removeAll(keepingCapacity: true) }

    mutating func number(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            buffer.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        buffer.append(UInt8(rest))
    }

    mutating func bytes(_ value: [UInt8]) {
        number(UInt64(value.count))
        buffer.append(contentsOf: value)
    }

    mutating func ranges(_ value: SequenceRanges) {
        number(UInt64(value.ranges.count))
        var previous: UInt64 = 0
        for range in value.ranges {
            // Ranges need not ascend (a queue member may get an old message): the distance wraps.
            number(range.lowerBound &- previous)
            number(range.upperBound - range.lowerBound)
            previous = range.upperBound
        }
    }
}

/// Reads the fields of state records; every length is checked before it is believed.
struct StateReader {
    private let buffer: [UInt8]
    private var offset = 0

    init(_ buffer: [UInt8]) { self.buffer = buffer }

    var isAtEnd: Bool { offset == buffer.count }

    mutating func number() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < buffer.count, shift < 64 {
            let byte = buffer[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    mutating func int32() -> Int32? {
        number().flatMap { UInt32(exactly: $0) }.map { Int32(bitPattern: $0) }
    }

    mutating func bytes() -> [UInt8]? {
        guard let length = number(), length <= UInt64(buffer.count - offset) else { return nil }
        defer { offset += Int(length) }
        return Array(buffer[offset..<offset + Int(length)])
    }

    mutating func ranges() -> SequenceRanges? {
        // A range takes two bytes at least, which bounds the count by what is there.
        guard let count = number(), count <= UInt64((buffer.count - offset) / 2) else { return nil }
        var ranges = SequenceRanges()
        var previous: UInt64 = 0
        for _ in 0..<count {
            guard let distance = number(), let length = number() else { return nil }
            let lower = previous &+ distance
            let (upper, overflow) = lower.addingReportingOverflow(length)
            guard lower > 0, !overflow else { return nil }
            ranges.append(lower...upper)
            previous = upper
        }
        return ranges
    }
}
