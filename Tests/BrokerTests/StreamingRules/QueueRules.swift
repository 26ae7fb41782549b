import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: queue groups (10.7)")
struct QueueRules {
    private func fixture(_ change: (inout BrokerOptions) -> Void = { _ in }) throws -> EngineFixture {
        let fixture = try EngineFixture(change)
        for id in ["me", "other"] { fixture.join(id) }
        return fixture
    }

    @Test("Q1 each message goes to one member, and all members get some")
    func sharing() throws {
        let fixture = try fixture()
        let members = (0..<3).map { _ in fixture.subscribe("foo", queue: "q") }
        fixture.fill("foo", 1...30)
        let got = members.map { fixture.sequences(to: $0.inbox) }
        #expect(got.flatMap { $0 }.sorted() == Array(1...30))
        #expect(got.allSatisfy { $0.count == 10 && $0 == $0.sorted() })
    }

    @Test(
        "Q2 a group ends with its last member, however that goes",
        arguments: ["unsubscribe", "close", "client"])
    func groupEnds(how: String) throws {
        let fixture = try fixture()
        let member = fixture.subscribe("foo", by: "other", queue: "q", start: .first)
        fixture.fill("foo", 1...3)
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
            let fixture = try fixture()
            let first = fixture.subscribe("foo", by: "other", queue: "q", durable: "d", start: .first)
            fixture.fill("foo", 1...3)
            fixture.acknowledge(2, on: "foo", at: first.ackInbox)
            let error =
                closesClient
                ? fixture.close("other")
                : fixture.unsubscribe("foo", inbox: first.ackInbox, by: "other", closing: true)
            #expect(error == "")
            #expect(fixture.storedSubscriptions == 1)
            fixture.fill("foo", 4...5)
            let second = fixture.subscribe("foo", queue: "q", durable: "d", start: .first)
            #expect(
                fixture.delivered(to: second.inbox).map { [$0.sequence, UInt64($0.count)] } == [
                    [1, 1], [3, 1], [4, 0], [5, 0],
                ])
            #expect(fixture.unsubscribe("foo", inbox: second.ackInbox) == "")
            #expect(fixture.storedSubscriptions == 0)
        }
    }

    @Test("Q4 Q5 d:q and q are two groups; a new member's start is ignored")
    func coexistence() throws {
        let fixture = try fixture()
        let durable = fixture.subscribe("foo", queue: "q", durable: "d")
        let plain = fixture.subscribe("foo", queue: "q")
        fixture.fill("foo", 1...4)
        #expect(fixture.sequences(to: durable.inbox) == [1, 2, 3, 4])
        #expect(fixture.sequences(to: plain.inbox) == [1, 2, 3, 4])
        let late = fixture.subscribe("foo", queue: "q", start: .first)
        #expect(fixture.sequences(to: late.inbox) == [])
        fixture.fill("foo", 5...5)
        #expect(fixture.sequences(to: late.inbox) == [5], "the least loaded member")
    }

    @Test("Q6 a stalled member does not stall the group; when all are, an ack lets it go on")
    func stalled() throws {
        let fixture = try fixture()
        let small = fixture.subscribe("foo", queue: "q", maxInFlight: 1)
        let large = fixture.subscribe("foo", queue: "q", maxInFlight: 3)
        fixture.fill("foo", 1...6)
        let gotSmall = fixture.sequences(to: small.inbox)
        let gotLarge = fixture.sequences(to: large.inbox)
        #expect(gotSmall.count == 1 && gotLarge.count == 3)
        fixture.acknowledge(gotSmall[0], on: "foo", at: small.ackInbox)
        #expect(fixture.sequences(to: small.inbox) == [5])
        fixture.acknowledge(gotLarge[0], on: "foo", at: large.ackInbox)
        #expect(fixture.sequences(to: large.inbox) == [6])
    }

    @Test("Q6 four members drain ten thousand messages")
    func drain() throws {
        let fixture = try fixture()
        let members = (0..<4).map { _ in fixture.subscribe("foo", queue: "q", maxInFlight: 7) }
        var seen: Set<UInt64> = []
        for batch in 0..<10 {
            fixture.fill("foo", (batch * 1_000 + 1)...(batch * 1_000 + 1_000))
            var progressed = true
            while progressed {
                progressed = false
                for member in members {
                    for sequence in fixture.sequences(to: member.inbox) {
                        #expect(seen.insert(sequence).inserted)
                        fixture.acknowledge(sequence, on: "foo", at: member.ackInbox)
                        progressed = true
                    }
                }
            }
        }
        #expect(seen.count == 10_000)
    }

    @Test("Q7 R10 what a leaving member had comes to the others in 100 ms, beyond their maxInFlight")
    func leaving() throws {
        let fixture = try fixture()
        let leaver = fixture.subscribe("foo", by: "other", queue: "q", maxInFlight: 5, ackWait: 60)
        let stays = fixture.subscribe("foo", queue: "q", maxInFlight: 1, ackWait: 60)
        fixture.fill("foo", 1...8)
        let left = fixture.sequences(to: leaver.inbox)
        let kept = fixture.sequences(to: stays.inbox)
        #expect(left.count == 5 && kept.count == 1)
        #expect(fixture.unsubscribe("foo", inbox: leaver.ackInbox, by: "other") == "")
        #expect(fixture.storedSubscriptions == 1)
        fixture.advance(milliseconds: 110)
        let moved = fixture.delivered(to: stays.inbox)
        #expect(moved.map(\.sequence) == left.sorted())
        #expect(moved.allSatisfy { $0.redelivered })
        fixture.acknowledgeAll(kept + left, on: "foo", at: stays.ackInbox)
        #expect(fixture.sequences(to: stays.inbox) == [7])
    }

    @Test("R7 R8 R9 Q17 a message moves to a healthy member, keeps its count, and a late ack ends it")
    func moves() throws {
        let fixture = try fixture {
            $0.heartbeatIntervalNanoseconds = 2_000_000_000
            $0.heartbeatTimeoutNanoseconds = 500_000_000
        }
        let sick = fixture.subscribe("foo", by: "other", queue: "q", ackWait: 3)
        fixture.fill("foo", 1...1)
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

    @Test("R12 two members that crashed and came back get everything without waiting for the ack wait")
    func crashAndReturn() throws {
        let fixture = try fixture()
        let members = ["me", "other"].map {
            fixture.subscribe("foo", by: $0, queue: "q", durable: "d", ackWait: 60)
        }
        fixture.fill("foo", 1...10)
        for (id, member) in zip(["me", "other"], members) { fixture.kill(id, inboxes: [member.inbox]) }
        for id in ["me", "other"] {
            #expect(fixture.join(id, connection: "new-\(id)", heartbeatInbox: "_HB.new-\(id)") == "")
        }
        let back = ["me", "other"].map {
            fixture.subscribe("foo", by: $0, queue: "q", durable: "d", ackWait: 60)
        }
        fixture.advance(milliseconds: 200)
        #expect(Set(back.flatMap { fixture.sequences(to: $0.inbox) }) == Set(1...10))
    }
}
