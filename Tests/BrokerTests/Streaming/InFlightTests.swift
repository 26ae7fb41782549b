import BrokerLog
import BrokerProtocol
import Glibc
import Synchronization
import Testing

@testable import Broker

@Suite("Streaming: what is in flight, stalls and acknowledgements (10.4)")
struct InFlightTests {
    @Test("a message is acknowledged and delivered, and its ack empties the pending set")
    func publishDeliverAcknowledge() throws {
        let fixture = try EngineFixture()
        _ = fixture.connect("me")
        let subscription = fixture.subscribe("foo")
        #expect(subscription.error == "")
        #expect(fixture.publish("hello", to: "foo") == nil)
        #expect(fixture.delivered(to: subscription.inbox) == [.init(sequence: 1, data: "hello")])
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 31_000)
        #expect(fixture.delivered(to: subscription.inbox).isEmpty)
    }

    @Test(
        "D1 D3 R15 with maxInFlight 1 the second message follows the first ack; redelivery ignores the limit")
    func oneInFlight() throws {
        for (queue, durable) in [("", ""), ("", "d"), ("q", ""), ("q", "d")] {
            let fixture = try EngineFixture.connected("me")
            let subscription = fixture.subscribe(
                "foo", queue: queue, durable: durable, maxInFlight: 1, ackWait: 1)
            fixture.publish(numbers: 1...3, to: "foo")
            #expect(fixture.sequences(to: subscription.inbox) == [1])
            fixture.advance(milliseconds: 1_000)
            #expect(
                fixture.delivered(to: subscription.inbox)
                    == [.init(sequence: 1, data: "1", redelivered: true, count: 1)])
            fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
            #expect(fixture.sequences(to: subscription.inbox) == [2])
            fixture.acknowledge(2, on: "foo", at: subscription.ackInbox)
            #expect(fixture.sequences(to: subscription.inbox) == [3])
        }
    }

    @Test("D4 a backlog larger than maxInFlight is delivered whole", arguments: ["", "q"])
    func backlog(queue: String) throws {
        let fixture = try EngineFixture.connected("me")
        fixture.publish(numbers: 1...3_000, to: "foo")
        let subscription = fixture.subscribe("foo", queue: queue, start: .first, maxInFlight: 10)
        var got: [UInt64] = []
        while case let more = fixture.sequences(to: subscription.inbox), !more.isEmpty {
            got += more
            #expect(more.count <= 10)
            fixture.acknowledge(more, on: "foo", at: subscription.ackInbox)
        }
        #expect(got == Array(1...3_000))
    }

    @Test("D8 D9 D10 acks of nothing, twice, or for another channel change nothing")
    func oddAcks() throws {
        let fixture = try EngineFixture.connected("me")
        let subscription = fixture.subscribe("foo")
        fixture.publish(numbers: 1...2, to: "foo")
        fixture.acknowledge(1, on: "nowhere", at: subscription.ackInbox)
        fixture.acknowledge(99, on: "foo", at: subscription.ackInbox)
        fixture.acknowledge(0, on: "foo", at: subscription.ackInbox)
        fixture.send([0xFF], to: subscription.ackInbox)
        fixture.settle()
        #expect(fixture.pending(at: subscription.inbox) == [1, 2])
        for _ in 0..<2 { fixture.acknowledge(1, on: "foo", at: subscription.ackInbox) }
        fixture.acknowledge(2, on: "foo", at: subscription.ackInbox)
        #expect(fixture.pending(at: subscription.inbox) == [])
    }

    @Test("D11 a first delivery says so, to each subscription by itself")
    func firstDelivery() throws {
        let fixture = try EngineFixture.connected("me")
        let first = fixture.subscribe("foo", ackWait: 1)
        fixture.publish(numbers: 1...1, to: "foo")
        fixture.advance(milliseconds: 3_000)
        #expect(fixture.delivered(to: first.inbox).map(\.count) == [0, 1, 2, 3])
        #expect(
            fixture.delivered(to: fixture.subscribe("foo", start: .first).inbox) == [
                .init(sequence: 1, data: "1")
            ])
    }

    @Test(
        "D14 R6 a subscription that was passed by eviction goes on at the first message; vanished ones leave pending"
    )
    func evicted() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxMessages = 3 }
        let subscription = fixture.subscribe("foo", maxInFlight: 2, ackWait: 1)
        fixture.publish(numbers: 1...2, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1, 2])
        fixture.publish(numbers: 3...10, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: subscription.inbox) == [8, 9])
        #expect(fixture.pending(at: subscription.inbox) == [8, 9])
    }

    @Test("D2 a stalled consumer asks the log for nothing, however much is published")
    func stalledAsksNothing() {
        let member = Member(
            id: 1, clientID: [1], inbox: [2], ackInbox: [3], maxInFlight: 2, ackWaitSeconds: 30, lastSent: 0)
        let consumer = Consumer(kind: .plain, lastSent: 0)
        consumer.add(member)
        member.isActive = true
        for sequence in 1...2 as ClosedRange<UInt64> {
            #expect(consumer.nextNew(last: 1_000)?.sequence == sequence)
            consumer.sent(sequence, to: 0, now: 0)
        }
        #expect(consumer.nextNew(last: 1_000) == nil)
        _ = consumer.acknowledge(1, by: member)
        #expect(consumer.nextNew(last: 1_000)?.sequence == 3)
    }

    @Test("D5 a gap in the log is passed over")
    func gap() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1))
        fixture.publish(numbers: 1...2, to: "foo")
        let channel = try #require(fixture.log.channels.first)
        fixture.log.raiseNextSequence(of: channel, above: 5)
        fixture.publish(numbers: 6...7, to: "foo")
        let subscription = fixture.subscribe("foo", start: .first, maxInFlight: 1)
        var got: [UInt64] = []
        while case let more = fixture.sequences(to: subscription.inbox), !more.isEmpty {
            got += more
            fixture.acknowledge(more, on: "foo", at: subscription.ackInbox)
        }
        #expect(got == [1, 2, 6, 7])
    }

    @Test("D6 R18 while a block cannot be read nothing comes of it; once it can, everything does, in order")
    func lookupErrors() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1))
        let subscription = fixture.subscribe("foo", durable: "d", maxInFlight: 10_000, ackWait: 1)
        fixture.publish(numbers: 1...3_000, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox).count == 3_000)
        fixture.advance(milliseconds: 60)
        try fixture.restart(clientsAreAway: true)
        // Too many open files: an error that may pass.
        let failures = Mutex(20)
        fixture.disk.onCall { call, path in
            guard call == .open, path.contains("channels/") || path.contains("checkpoint") else { return nil }
            return failures.withLock { left in
                left -= 1
                return left >= 0 ? EMFILE : nil
            }
        }
        fixture.transport.receivers = ["_HB.me", subscription.inbox]
        fixture.advance(milliseconds: 1_500)
        let left = failures.withLock { $0 }
        #expect(left < 0, "the blocks were asked for until they could be read")
        let again = fixture.delivered(to: subscription.inbox)
        #expect(again.map(\.sequence) == Array(1...3_000), "redelivery")
        #expect(again.allSatisfy { $0.redelivered })
        failures.withLock { $0 = 20 }
        let fresh = fixture.subscribe("foo", start: .first, maxInFlight: 10_000)
        fixture.publish("new", to: "foo")
        #expect(fixture.sequences(to: fresh.inbox) == Array(1...3_001), "new messages")
        #expect(fixture.log.statistics.damage.isEmpty)
    }

    @Test("D7 messages stored while a consumer reaches the end of the log are not passed over")
    func storedMeanwhile() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            let fixture = try EngineFixture.connected("me", storage: .late(seed: seed))
            let subscription = fixture.subscribe("foo", start: .first)
            for number in 1...100 {
                fixture.publish("\(number)", to: "foo", ackInbox: "")
                _ = fixture.engine.endOfTick()
            }
            // This log answers some reads only when it is asked again.
            for _ in 0..<200 { fixture.settle() }
            #expect(fixture.sequences(to: subscription.inbox) == Array(1...100), "seed \(seed)")
        }
    }
}
