import Testing

@testable import Broker

@Suite("State records")
struct StateRecordTests {
    private static let records: [StateRecord] = [
        .subjects(StreamingSubjects(clusterID: "vc", discoverPrefix: "_STAN.discover")),
        .clientAdded(
            ClientRecord(
                id: Array("me".utf8), heartbeatInbox: Array("_HB".utf8), connectionID: [0, 255],
                protocolVersion: 1, pingIntervalSeconds: -5, pingMaxOut: .max)),
        .clientRemoved(id: Array("me".utf8)),
        .subscriptionPut(
            SubscriptionRecord(
                id: .max, channel: .max, clientID: [], queueGroup: Array("q".utf8),
                durableName: Array("d".utf8), inbox: Array("i".utf8), ackInbox: Array("a".utf8),
                maxInFlight: 1_024, ackWaitSeconds: 30, lastSent: 1 << 40, isClosed: true)),
        .subscriptionRemoved(id: 300),
        .sent(subscription: 1, SequenceRanges(ascending: [1, 2, 3, 9])),
        .acknowledged(subscription: 1, descending),
        .subscriptionIDs(last: 127),
    ]

    /// Ranges need not ascend.
    private static var descending: SequenceRanges {
        var ranges = SequenceRanges()
        for sequence in [500, 7, 8, UInt64.max] as [UInt64] { ranges.append(sequence) }
        return ranges
    }

    private static func encoded(_ records: [StateRecord]) -> [UInt8] {
        var writer = StateWriter()
        for record in records { record.encode(into: &writer) }
        return writer.buffer
    }

    @Test("what is written is read, one after the other")
    func roundTrip() {
        var reader = StateReader(Self.encoded(Self.records))
        for record in Self.records {
            let read = StateRecord(reading: &reader)
            #expect(read == record)
        }
        #expect(reader.isAtEnd)
    }

    @Test("a record that was cut short is none")
    func truncated() {
        for record in Self.records {
            let bytes = Self.encoded([record])
            for length in 0..<bytes.count {
                var reader = StateReader(Array(bytes.prefix(length)))
                let read = StateRecord(reading: &reader)
                #expect(read == nil)
            }
        }
    }

    @Test("bytes of chance are read without harm")
    func hostile() {
        let seed = engineSeed()
        var random = SeededGenerator(seed: seed)
        let good = Self.encoded(Self.records)
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<(1 + random.next() % 4) {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            var reader = StateReader(bytes)
            while !reader.isAtEnd, StateRecord(reading: &reader) != nil {}
        }
    }

    @Test("lengths and counts beyond the bytes that are there are refused before memory is taken")
    func hugeLengths() {
        let huge: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]
        let largest: [UInt8] = [UInt8](repeating: 0xFF, count: 9) + [1]
        for bytes in [[3] + huge, [6, 1] + huge, [6, 1, 1, 0, 0], [6, 1, 1] + largest + [1]] as [[UInt8]] {
            var reader = StateReader(bytes)
            let read = StateRecord(reading: &reader)
            #expect(read == nil)
        }
        var endless = StateReader(Array(repeating: 0xFF, count: 100))
        let number = endless.number()
        #expect(number == nil)
    }

    @Test("a replayed range that no member can have is bounded by what is pending")
    func replayOfHugeAcknowledgement() {
        var state = RecoveredState()
        var record = SubscriptionRecord()
        record.id = 1
        var all = SequenceRanges()
        all.append(1...UInt64.max - 1)
        let bytes = Self.encoded([
            .subscriptionPut(record), .sent(subscription: 1, SequenceRanges(ascending: [1, 2, 5])),
            .acknowledged(subscription: 1, all),
        ])
        let isReadable = state.replay(bytes)
        #expect(isReadable)
        #expect(state.subscriptions[1]?.pending == [])
        #expect(state.subscriptions[1]?.record.lastSent == 5)
    }
}
