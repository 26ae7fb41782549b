import BrokerLog
import Testing

@testable import Broker

@Suite("Streaming: queue groups (10.7)")
struct EngineQueueGroupTests {
    private func connected(_ ids: String...) throws -> EngineFixture {
        let fixture = try EngineFixture()
        for id in ids { _ = fixture.connect(id) }
        return fixture
    }

    @Test("Q1 each message goes to one member, and every member gets some")
    func oneMemberEach() throws {
        let fixture = try connected("a", "b", "c")
        let members = ["a", "b", "c"].map { fixture.subscribe("foo", by: $0, queue: "q") }
        fixture.publish(numbers: 1...300, to: "foo", by: "a")
        let got = members.map { fixture.sequences(to: $0.inbox) }
        #expect(got.flatMap { $0 }.sorted() == Array(1...300))
        #expect(got.allSatisfy { $0.count == 100 }, "least outstanding deals evenly when nobody acknowledges")
    }

    @Test("Q2 a group ends with its last member, and a new one starts where it says", arguments: [0, 1, 2])
    func groupEnds(way: Int) throws {
        let fixture = try connected("a", "b")
        let first = fixture.subscribe("foo", by: "a", queue: "q")
        fixture.publish("1", to: "foo", by: "a")
        fixture.acknowledge(1, on: "foo", at: first.ackInbox)
        switch way {
        case 0: #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, by: "a") == "")
        case 1: #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, by: "a", closing: true) == "")
        default: #expect(fixture.close("a") == "")
        }
        #expect(fixture.engine.channels.values.first?.subscriptionCount == 0)
        let second = fixture.subscribe("foo", by: "b", queue: "q", start: .first)
        #expect(fixture.delivered(to: second.inbox) == [.init(sequence: 1, data: "1")])
    }

    @Test("Q3 a durable group outlives its last close, not its last unsubscribe")
    func durableGroup() throws {
        let fixture = try connected("a", "b")
        let first = fixture.subscribe("foo", by: "a", queue: "q", durable: "d")
        fixture.publish("1", to: "foo", by: "b")
        fixture.acknowledge(1, on: "foo", at: first.ackInbox)
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, by: "a", closing: true) == "")
        fixture.publish("2", to: "foo", by: "b")
        let second = fixture.subscribe("foo", by: "b", queue: "q", durable: "d")
        #expect(fixture.delivered(to: second.inbox) == [.init(sequence: 2, data: "2")])
        #expect(fixture.close("b") == "")
        _ = fixture.connect("b")
        let third = fixture.subscribe("foo", by: "b", queue: "q", durable: "d", start: .first)
        #expect(fixture.delivered(to: third.inbox).map(\.redelivered) == [true], "2 was pending")
        #expect(fixture.unsubscribe("foo", inbox: third.ackInbox, by: "b") == "")
        let fourth = fixture.subscribe("foo", by: "a", queue: "q", durable: "d", start: .first)
        #expect(fixture.delivered(to: fourth.inbox).map(\.sequence) == [1, 2])
    }

    @Test("Q4 a durable and another group of the same name, and d:q by name, do not know each other")
    func sameNames() throws {
        let fixture = try connected("a")
        let members = [
            fixture.subscribe("foo", by: "a", queue: "q"),
            fixture.subscribe("foo", by: "a", queue: "q", durable: "d"),
            fixture.subscribe("foo", by: "a", queue: "d:q"),
        ]
        fixture.publish("1", to: "foo", by: "a")
        #expect(members.map { fixture.sequences(to: $0.inbox) } == [[1], [1], [1]])
        #expect(
            fixture.subscribe("foo", by: "a", queue: "q", durable: "a:b").error
                == "stan: durable name of a durable queue subscriber can't contain the character ':'")
    }

    @Test("Q5 a new member of a group starts where the group is")
    func laterMember() throws {
        let fixture = try connected("a")
        let first = fixture.subscribe("foo", by: "a", queue: "q")
        fixture.publish(numbers: 1...4, to: "foo", by: "a")
        #expect(fixture.sequences(to: first.inbox) == [1, 2, 3, 4])
        let second = fixture.subscribe("foo", by: "a", queue: "q", start: .first)
        #expect(fixture.sequences(to: second.inbox) == [])
        fixture.publish("5", to: "foo", by: "a")
        #expect(fixture.sequences(to: second.inbox) == [5], "it has the fewest pending")
    }

    @Test("Q6 one stalled member does not stall the group; four drain 10,000 messages")
    func stalledMember() throws {
        let fixture = try connected("a")
        let stalled = fixture.subscribe("foo", by: "a", queue: "q", maxInFlight: 1)
        fixture.publish("1", to: "foo", by: "a")
        #expect(fixture.sequences(to: stalled.inbox) == [1])
        let others = (0..<3).map { _ in fixture.subscribe("foo", by: "a", queue: "q", maxInFlight: 100) }
        fixture.publish(numbers: 2...10_000, to: "foo", by: "a")
        var seen: Set<UInt64> = [1]
        var quiet = false
        while !quiet {
            quiet = true
            for member in others {
                for sequence in fixture.sequences(to: member.inbox) {
                    quiet = false
                    #expect(seen.insert(sequence).inserted)
                    fixture.acknowledge(sequence, on: "foo", at: member.ackInbox, settling: false)
                }
            }
            fixture.settle()
        }
        #expect(seen.count == 10_000)
        #expect(fixture.sequences(to: stalled.inbox) == [])
    }

    @Test("Q6 when all are stalled an ack lets the group go on")
    func allStalled() throws {
        let fixture = try connected("a")
        let one = fixture.subscribe("foo", by: "a", queue: "q", maxInFlight: 1)
        let two = fixture.subscribe("foo", by: "a", queue: "q", maxInFlight: 1)
        fixture.publish(numbers: 1...3, to: "foo", by: "a")
        #expect(fixture.sequences(to: one.inbox) == [1])
        #expect(fixture.sequences(to: two.inbox) == [2])
        fixture.acknowledge(2, on: "foo", at: two.ackInbox)
        #expect(fixture.sequences(to: two.inbox) == [3])
    }

    @Test("Q7 a member that leaves while the other is stalled does not stall the group for good")
    func leavesWhileStalled() throws {
        let fixture = try connected("a", "b")
        let one = fixture.subscribe("foo", by: "a", queue: "q", maxInFlight: 1)
        let two = fixture.subscribe("foo", by: "b", queue: "q", maxInFlight: 1)
        fixture.publish(numbers: 1...4, to: "foo", by: "a")
        #expect(fixture.sequences(to: one.inbox) + fixture.sequences(to: two.inbox) == [1, 2])
        #expect(fixture.close("a") == "")
        fixture.advance(milliseconds: 101)
        #expect(fixture.sequences(to: two.inbox) == [1])
        fixture.acknowledge([1, 2], on: "foo", at: two.ackInbox)
        #expect(fixture.sequences(to: two.inbox) == [3])
        fixture.acknowledge(3, on: "foo", at: two.ackInbox)
        #expect(fixture.sequences(to: two.inbox) == [4])
    }

    @Test("R12 two members crash and come back: everything comes at once, whatever the ack wait")
    func bothCrash() throws {
        let fixture = try connected("a", "b", "p")
        let old = ["a", "b"].map { fixture.subscribe("foo", by: $0, queue: "q", durable: "d", ackWait: 60) }
        fixture.publish(numbers: 1...10, to: "foo", by: "p")
        for (id, subscription) in zip(["a", "b"], old) {
            _ = fixture.sequences(to: subscription.inbox)
            fixture.kill(id, inboxes: [subscription.inbox])
        }
        for id in ["a", "b"] { _ = fixture.connect(id, connection: "new-\(id)") }
        let new = ["a", "b"].map { fixture.subscribe("foo", by: $0, queue: "q", durable: "d", ackWait: 60) }
        fixture.advance(milliseconds: 200)
        let got = new.flatMap { fixture.sequences(to: $0.inbox) }
        #expect(got.sorted() == Array(1...10))
    }

    @Test("Q13 the last member leaves and another joins in one tick: one group, nothing lost")
    func leaveAndJoin() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            let fixture = try EngineFixture(storage: .late(seed: seed))
            for id in ["a", "b"] { _ = fixture.connect(id) }
            let one = fixture.subscribe("foo", by: "a", queue: "q", durable: "d")
            fixture.publish(numbers: 1...3, to: "foo", by: "b")
            _ = fixture.sequences(to: one.inbox)
            let inbox = fixture.inbox()
            let join = fixture.subscription("foo", by: "b", queue: "q", durable: "d", inbox: inbox)
            if seed % 2 == 0 {
                fixture.send(join.encoded(), to: "_STAN.sub.vc", reply: fixture.inbox())
                _ = fixture.close("a")
            } else {
                let done = fixture.close("a")
                #expect(done == "")
                fixture.send(join.encoded(), to: "_STAN.sub.vc", reply: fixture.inbox())
            }
            fixture.publish("4", to: "foo", by: "b")
            fixture.advance(milliseconds: 200)
            #expect(Set(fixture.sequences(to: inbox)) == [1, 2, 3, 4], "seed \(seed)")
            #expect(fixture.engine.channels.values.first?.consumers.count == 1)
        }
    }

    @Test("a member whose client is away does not hold up the others")
    func unheardMember() throws {
        let fixture = try connected("a", "b")
        let one = fixture.subscribe("foo", by: "a", queue: "q")
        let two = fixture.subscribe("foo", by: "b", queue: "q")
        fixture.transport.receivers.remove(one.inbox)
        fixture.publish(numbers: 1...10, to: "foo", by: "b")
        #expect(fixture.sequences(to: two.inbox) == Array(1...10))
        fixture.transport.receivers.insert(one.inbox)
        fixture.advance(milliseconds: 101)
        fixture.publish("11", to: "foo", by: "b")
        #expect(fixture.sequences(to: one.inbox) == [11])
    }
}
