import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: queue groups (10.7)")
struct StreamingQueueGroupTests {
    @Test("Q1 each message goes to one member, and all members get some")
    func sharing() throws {
        let fixture = try EngineFixture.connected("me", "other")
        let members = (0..<3).map { _ in fixture.subscribe("foo", queue: "q") }
        fixture.publish(numbers: 1...30, to: "foo")
        let got = members.map { fixture.sequences(to: $0.inbox) }
        #expect(got.flatMap { $0 }.sorted() == Array(1...30))
        #expect(got.allSatisfy { $0.count == 10 && $0 == $0.sorted() })
    }

    @Test(
        "Q2 a group ends with its last member, however that goes",
        arguments: ["unsubscribe", "close", "client"])
    func groupEnds(how: String) throws {
        let fixture = try EngineFixture.connected("me", "other")
        let member = fixture.subscribe("foo", by: "other", queue: "q", start: .first)
        fixture.publish(numbers: 1...3, to: "foo")
        switch how {
        case "client": #expect(fixture.close("other") == "")
        default:
            #expect(
                fixture.unsubscribe("foo", inbox: member.ackInbox, by: "other", closing: how == "close") == ""
            )
        }
        #expect(fixture.storedSubscriptions == 0)
        let next = fixture.subscribe("foo", queue: "q", start: .sequenceStart, sequence: 2)
        #expect(fixture.delivered(to: next.inbox).map(\.sequence) == [2, 3])
    }

    @Test("Q3 Q10 a durable group outlives its last member; another client resumes it, pending first")
    func shadow() throws {
        for closesClient in [false, true] {
            let fixture = try EngineFixture.connected("me", "other")
            let first = fixture.subscribe("foo", by: "other", queue: "q", durable: "d", start: .first)
            fixture.publish(numbers: 1...3, to: "foo")
            fixture.acknowledge(2, on: "foo", at: first.ackInbox)
            let error =
                closesClient
                ? fixture.close("other")
                : fixture.unsubscribe("foo", inbox: first.ackInbox, by: "other", closing: true)
            #expect(error == "")
            #expect(fixture.storedSubscriptions == 1)
            fixture.publish(numbers: 4...5, to: "foo")
            let second = fixture.subscribe("foo", queue: "q", durable: "d", start: .first)
            #expect(
                fixture.delivered(to: second.inbox).map { [$0.sequence, UInt64($0.count)] } == [
                    [1, 1], [3, 1], [4, 0], [5, 0],
                ])
            #expect(fixture.unsubscribe("foo", inbox: second.ackInbox) == "")
            #expect(fixture.storedSubscriptions == 0)
        }
    }

    @Test("Q4 a durable and another group of the same name, and d:q by name, do not know each other")
    func sameNames() throws {
        let fixture = try EngineFixture.connected("a")
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
        let fixture = try EngineFixture.connected("a")
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
        let fixture = try EngineFixture.connected("a")
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

    @Test("Q6 a stalled member does not stall the group; when all are, an ack lets it go on")
    func stalled() throws {
        let fixture = try EngineFixture.connected("me", "other")
        let small = fixture.subscribe("foo", queue: "q", maxInFlight: 1)
        let large = fixture.subscribe("foo", queue: "q", maxInFlight: 3)
        fixture.publish(numbers: 1...6, to: "foo")
        let gotSmall = fixture.sequences(to: small.inbox)
        let gotLarge = fixture.sequences(to: large.inbox)
        #expect(gotSmall.count == 1 && gotLarge.count == 3)
        fixture.acknowledge(gotSmall[0], on: "foo", at: small.ackInbox)
        #expect(fixture.sequences(to: small.inbox) == [5])
        fixture.acknowledge(gotLarge[0], on: "foo", at: large.ackInbox)
        #expect(fixture.sequences(to: large.inbox) == [6])
    }

    @Test("Q7 a member that leaves while the other is stalled does not stall the group for good")
    func leavesWhileStalled() throws {
        let fixture = try EngineFixture.connected("a", "b")
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
        let fixture = try EngineFixture.connected("a", "b", "p")
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
        let fixture = try EngineFixture.connected("a", "b")
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
