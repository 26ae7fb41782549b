import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: redelivery (10.5)")
struct RedeliveryTests {
    @Test("R1 each message has its own ack wait, and an acknowledged one is not sent again")
    func spacedPerMessage() throws {
        let fixture = try EngineFixture()
        _ = fixture.connect("me")
        let subscription = fixture.subscribe("foo", ackWait: 2)
        fixture.publish("1", to: "foo")
        fixture.advance(milliseconds: 500)
        fixture.publish("2", to: "foo")
        fixture.advance(milliseconds: 500)
        fixture.publish("3", to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1, 2, 3])
        fixture.acknowledge(2, on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 999)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 2)
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: subscription.inbox) == [3])
        fixture.acknowledge([1, 3], on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 10_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }

    @Test("R2 R3 every ack wait again, with counts 1, 2, 3 …, plain and queue", arguments: ["", "q"])
    func rounds(queue: String) throws {
        let fixture = try EngineFixture()
        _ = fixture.connect("me")
        let subscription = fixture.subscribe("foo", queue: queue, ackWait: 1)
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.delivered(to: subscription.inbox).allSatisfy { !$0.redelivered && $0.count == 0 })
        for round in 1...5 {
            fixture.advance(milliseconds: 1_000)
            let again = fixture.delivered(to: subscription.inbox)
            #expect(again.map(\.sequence) == [1, 2, 3])
            #expect(again.allSatisfy { $0.redelivered && $0.count == round })
        }
        fixture.acknowledge([1, 2, 3], on: "foo", at: subscription.ackInbox)
        let consumer = try #require(fixture.engine.subscriptions.values.first?.consumer)
        #expect(consumer.groupRedeliveries.isEmpty)
        #expect(consumer.members[0].redeliveries.isEmpty)
    }

    @Test("R4 R5 an ack or an unsubscribe in the tick of the timer comes before the redelivery")
    func racing() throws {
        let fixture = try EngineFixture()
        _ = fixture.connect("me")
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.publish(numbers: 1...2, to: "foo")
        _ = fixture.sequences(to: subscription.inbox)
        fixture.clock.now += 1_000_000_000
        fixture.engine.timeReached(fixture.clock.now)
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox, settling: false)
        fixture.settle()
        #expect(fixture.sequences(to: subscription.inbox) == [2])
        fixture.clock.now += 1_000_000_000
        fixture.engine.timeReached(fixture.clock.now)
        #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox) == "")
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }

    @Test("R5 S24 after an unsubscribe nothing comes any more")
    func unsubscribe() throws {
        let fixture = try EngineFixture.connected("me")
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.publish(numbers: 1...5, to: "foo")
        fixture.advance(milliseconds: 1_500)
        #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox) == "")
        _ = fixture.delivered(to: subscription.inbox)
        fixture.publish(numbers: 6...6, to: "foo")
        fixture.advance(milliseconds: 10_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }

    @Test("R7 R8 R9 Q17 a message moves to a healthy member, keeps its count, and a late ack ends it")
    func moves() throws {
        let fixture = try EngineFixture.connected("me", "other") {
            $0.heartbeatIntervalNanoseconds = 2_000_000_000
            $0.heartbeatTimeoutNanoseconds = 500_000_000
        }
        let sick = fixture.subscribe("foo", by: "other", queue: "q", ackWait: 3)
        fixture.publish(numbers: 1...1, to: "foo")
        #expect(fixture.sequences(to: sick.inbox) == [1])
        let well = fixture.subscribe("foo", queue: "q", ackWait: 3)
        fixture.hang("other")
        fixture.advance(milliseconds: 3_000)
        #expect(
            fixture.delivered(to: well.inbox) == [.init(sequence: 1, data: "1", redelivered: true, count: 1)])
        #expect(fixture.pending(at: well.inbox) == [1])
        #expect(fixture.pending(at: sick.inbox) == [])
        fixture.advance(milliseconds: 3_000)
        #expect(
            fixture.delivered(to: well.inbox) == [.init(sequence: 1, data: "1", redelivered: true, count: 2)])
        fixture.acknowledge(1, on: "foo", at: sick.ackInbox)
        #expect(fixture.pending(at: well.inbox) == [])
        fixture.advance(milliseconds: 10_000)
        #expect(fixture.sequences(to: well.inbox) == [])
    }

    @Test("Q17 R8 with two members that never ack, a message goes to and fro and its count goes on")
    func rotates() throws {
        let fixture = try EngineFixture()
        for id in ["a", "b"] { _ = fixture.connect(id) }
        let first = fixture.subscribe("foo", by: "a", queue: "q", ackWait: 1)
        let second = fixture.subscribe("foo", by: "b", queue: "q", ackWait: 1)
        fixture.publish(numbers: 1...3, to: "foo", by: "a")
        _ = fixture.sequences(to: first.inbox) + fixture.sequences(to: second.inbox)
        var holders: [UInt64: Set<String>] = [:]
        for round in 1...6 {
            fixture.advance(milliseconds: 1_000)
            var seen: [UInt64] = []
            for (name, inbox) in [("a", first.inbox), ("b", second.inbox)] {
                for message in fixture.delivered(to: inbox) {
                    seen.append(message.sequence)
                    holders[message.sequence, default: []].insert(name)
                    #expect(message.count == round)
                }
            }
            #expect(seen.sorted() == [1, 2, 3])
        }
        #expect(holders.values.contains(["a", "b"]), "\(holders)")
    }

    @Test("of two members with as many pending, the one that got it last time is not the next")
    func turns() throws {
        let fixture = try EngineFixture()
        for id in ["a", "b"] { _ = fixture.connect(id) }
        let first = fixture.subscribe("foo", by: "a", queue: "q", ackWait: 1)
        let second = fixture.subscribe("foo", by: "b", queue: "q", ackWait: 60)
        fixture.publish(numbers: 1...2, to: "foo", by: "a")
        #expect(fixture.sequences(to: first.inbox) + fixture.sequences(to: second.inbox) == [1, 2])
        fixture.advance(milliseconds: 3_000)
        #expect(fixture.sequences(to: second.inbox) == [1])
    }

    @Test("R10 what a leaving member had is sent to the others within 100 ms, beyond their limit")
    func leavingMember() throws {
        let fixture = try EngineFixture()
        for id in ["a", "b", "c"] { _ = fixture.connect(id) }
        let first = fixture.subscribe("foo", by: "a", queue: "q", maxInFlight: 4, ackWait: 60)
        let second = fixture.subscribe("foo", by: "b", queue: "q", maxInFlight: 1, ackWait: 60)
        let third = fixture.subscribe("foo", by: "c", queue: "q", maxInFlight: 1, ackWait: 1)
        fixture.publish(numbers: 1...6, to: "foo", by: "a")
        let left = fixture.sequences(to: first.inbox)
        #expect(left.count == 4)
        _ = fixture.sequences(to: second.inbox) + fixture.sequences(to: third.inbox)
        #expect(fixture.close("a") == "")
        fixture.advance(milliseconds: 99)
        #expect(fixture.sequences(to: second.inbox) == [])
        fixture.advance(milliseconds: 2)
        let got = fixture.sequences(to: second.inbox) + fixture.sequences(to: third.inbox)
        #expect(got.sorted() == left.sorted())
    }

    @Test("R11 a message that moved follows the ack wait of who has it now")
    func ackWaitOfReceiver() throws {
        let fixture = try EngineFixture()
        for id in ["a", "b"] { _ = fixture.connect(id) }
        let first = fixture.subscribe("foo", by: "a", queue: "q", ackWait: 10)
        let second = fixture.subscribe("foo", by: "b", queue: "q", ackWait: 1)
        fixture.publish("1", to: "foo", by: "a")
        #expect(fixture.sequences(to: first.inbox) == [1])
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, by: "a") == "")
        fixture.advance(milliseconds: 110)
        #expect(fixture.sequences(to: second.inbox) == [1])
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: second.inbox) == [1])
    }

    @Test("R13 while nobody listens nothing is sent or becomes pending; it comes once somebody does")
    func unreachable() throws {
        let fixture = try EngineFixture.connected("me")
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.publish(numbers: 1...1, to: "foo")
        fixture.transport.receivers.remove(subscription.inbox)
        fixture.publish(numbers: 2...2, to: "foo")
        #expect(fixture.pending(at: subscription.inbox) == [1])
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        fixture.transport.receivers.insert(subscription.inbox)
        fixture.advance(milliseconds: 1_200)
        let again = fixture.delivered(to: subscription.inbox)
        #expect(Set(again.map(\.sequence)) == [1, 2])
        #expect(again.count { $0.sequence == 1 } <= 2, "redeliveries did not pile up")
        fixture.acknowledge([1, 2], on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }

    @Test(
        "R15 a stalled subscription gets its redelivery", arguments: ["plain", "durable", "queue"],
        [false, true])
    func stalled(kind: String, afterRestart: Bool) throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1))
        _ = fixture.connect("me")
        let subscription = fixture.subscribe(
            "foo", queue: kind == "queue" ? "q" : "", durable: kind == "durable" ? "d" : "", maxInFlight: 1,
            ackWait: 1)
        fixture.publish(numbers: 1...2, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        if afterRestart { try fixture.restart() }
        fixture.advance(milliseconds: 1_101)
        let again = fixture.delivered(to: subscription.inbox)
        #expect(again == [.init(sequence: 1, data: "1", redelivered: true, count: 1)])
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        #expect(fixture.delivered(to: subscription.inbox) == [.init(sequence: 2, data: "2")])
    }

    @Test("a message in two hands is nowhere: at every redelivery one member holds it")
    func oneHolder() throws {
        let fixture = try EngineFixture()
        for id in ["a", "b", "c"] { _ = fixture.connect(id) }
        let all = ["a", "b", "c"].map { fixture.subscribe("foo", by: $0, queue: "q", ackWait: 1) }
        fixture.publish(numbers: 1...30, to: "foo", by: "a")
        for _ in 0..<5 {
            fixture.advance(milliseconds: 700)
            let consumer = try #require(fixture.engine.subscriptions.values.first?.consumer)
            let pending = consumer.members.flatMap { $0.pending.sequences }
            #expect(pending.sorted() == Array(1...30))
        }
        for subscription in all { fixture.acknowledge(1...30, on: "foo", at: subscription.ackInbox) }
        #expect(fixture.engine.subscriptions.values.allSatisfy { $0.member.pending.isEmpty })
    }
}
