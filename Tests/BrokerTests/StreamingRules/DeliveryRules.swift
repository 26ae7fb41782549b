import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: delivery, stall and redelivery (10.4, 10.5)")
struct DeliveryRules {
    private func fixture(_ change: (inout BrokerOptions) -> Void = { _ in }) throws -> EngineFixture {
        let fixture = try EngineFixture(change)
        fixture.join("me")
        return fixture
    }

    @Test(
        "D1 D3 R15 with maxInFlight 1 the second message follows the first ack; redelivery ignores the limit")
    func oneInFlight() throws {
        for (queue, durable) in [("", ""), ("", "d"), ("q", ""), ("q", "d")] {
            let fixture = try fixture()
            let subscription = fixture.subscribe(
                "foo", queue: queue, durable: durable, maxInFlight: 1, ackWait: 1)
            fixture.fill("foo", 1...3)
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
        let fixture = try fixture()
        fixture.fill("foo", 1...3_000)
        let subscription = fixture.subscribe("foo", queue: queue, start: .first, maxInFlight: 10)
        var got: [UInt64] = []
        while case let more = fixture.sequences(to: subscription.inbox), !more.isEmpty {
            got += more
            #expect(more.count <= 10)
            fixture.acknowledgeAll(more, on: "foo", at: subscription.ackInbox)
        }
        #expect(got == Array(1...3_000))
    }

    @Test("D8 D9 D10 acks of nothing, twice, or for another channel change nothing")
    func oddAcks() throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo")
        fixture.fill("foo", 1...2)
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
        let fixture = try fixture()
        let first = fixture.subscribe("foo", ackWait: 1)
        fixture.fill("foo", 1...1)
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
        let fixture = try fixture { $0.maxMessages = 3 }
        let subscription = fixture.subscribe("foo", maxInFlight: 2, ackWait: 1)
        fixture.fill("foo", 1...2)
        #expect(fixture.sequences(to: subscription.inbox) == [1, 2])
        fixture.fill("foo", 3...10)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: subscription.inbox) == [8, 9])
        #expect(fixture.pending(at: subscription.inbox) == [8, 9])
    }

    @Test("R1 R2 each message comes again an ack wait after it was sent", arguments: ["", "q"])
    func spacing(queue: String) throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo", queue: queue, ackWait: 1)
        for number in 1...3 {
            fixture.fill("foo", number...number)
            fixture.advance(milliseconds: 300)
        }
        #expect(fixture.sequences(to: subscription.inbox) == [1, 2, 3])
        for round in 1...5 {
            for sequence in 1...3 as ClosedRange<UInt64> {
                fixture.advance(milliseconds: sequence == 1 ? 100 : 300)
                #expect(fixture.sequences(to: subscription.inbox) == [sequence], "round \(round)")
            }
            fixture.advance(milliseconds: 300)
        }
        fixture.acknowledgeAll([1, 2, 3], on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }

    @Test("R3 R4 an ack ends redelivery and forgets the count")
    func counts() throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.fill("foo", 1...1)
        fixture.advance(milliseconds: 3_900)
        #expect(fixture.delivered(to: subscription.inbox).map(\.count) == [0, 1, 2, 3])
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        #expect(fixture.engine.subscriptions.values.allSatisfy { $0.member.redeliveries.isEmpty })
    }

    @Test("R5 S24 after an unsubscribe nothing comes any more")
    func unsubscribe() throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.fill("foo", 1...5)
        fixture.advance(milliseconds: 1_500)
        #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox) == "")
        _ = fixture.delivered(to: subscription.inbox)
        fixture.fill("foo", 6...6)
        fixture.advance(milliseconds: 10_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }

    @Test("R11 the receiver's own ack wait counts once a message moved to it")
    func receiverWait() throws {
        let fixture = try fixture()
        fixture.join("other")
        let leaver = fixture.subscribe("foo", by: "other", queue: "q", ackWait: 60)
        fixture.fill("foo", 1...1)
        #expect(fixture.sequences(to: leaver.inbox) == [1])
        let stays = fixture.subscribe("foo", queue: "q", ackWait: 1)
        #expect(fixture.close("other") == "")
        fixture.advance(milliseconds: 110)
        #expect(fixture.sequences(to: stays.inbox) == [1])
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: stays.inbox) == [1])
    }

    @Test("R13 while nobody listens nothing is sent or becomes pending; it comes once somebody does")
    func unreachable() throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.fill("foo", 1...1)
        fixture.transport.receivers.remove(subscription.inbox)
        fixture.fill("foo", 2...2)
        #expect(fixture.pending(at: subscription.inbox) == [1])
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        fixture.transport.receivers.insert(subscription.inbox)
        fixture.advance(milliseconds: 1_200)
        let again = fixture.delivered(to: subscription.inbox)
        #expect(Set(again.map(\.sequence)) == [1, 2])
        #expect(again.count { $0.sequence == 1 } <= 2, "redeliveries did not pile up")
        fixture.acknowledgeAll([1, 2], on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }
}
