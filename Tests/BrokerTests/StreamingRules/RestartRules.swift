import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: restart over a simulated disk (C13 C14 C19 R3 R16 R17 U5 U9 U11 Q8 Q9 Q10)")
struct RestartRules {
    /// On a disk; deliveries and acks are journaled before a test goes on.
    private func fixture(_ change: (inout BrokerOptions) -> Void = { _ in }) throws -> EngineFixture {
        let fixture = try EngineFixture(storage: .disk(seed: 1), change)
        for id in ["me", "other"] { fixture.join(id) }
        return fixture
    }

    /// In good order, or with everything lost that was not synced.
    private func restart(_ fixture: EngineFixture, crashes: Bool) throws {
        fixture.advance(milliseconds: 60)
        if crashes { try fixture.crash() } else { try fixture.restart() }
        fixture.advance(milliseconds: 110)
    }

    @Test("C13 C14 C19 clients are there as they were, and dead ones time out", arguments: [false, true])
    func clients(crashes: Bool) throws {
        let fixture = try fixture {
            $0.heartbeatIntervalNanoseconds = 5_000_000_000
            $0.heartbeatTimeoutNanoseconds = 5_000_000_000
            $0.maxFailedHeartbeats = 2
        }
        let before = Set(fixture.engine.clients.values.map { "\($0.record)" })
        try restart(fixture, crashes: crashes)
        #expect(Set(fixture.engine.clients.values.map { "\($0.record)" }) == before)
        #expect(
            fixture.engine.clients.values.allSatisfy {
                $0.record.pingIntervalSeconds == 5 && $0.record.pingMaxOut == 3
            })
        #expect(fixture.pinged("conn-me") == "")
        #expect(fixture.attempt("a", to: "foo", connection: "conn-me") == nil)
        fixture.kill("other")
        fixture.advance(milliseconds: 16_000)
        #expect(fixture.engine.clients.values.map { String(decoding: $0.id, as: UTF8.self) } == ["me"])
    }

    @Test("a memory store forgets its clients (C21)")
    func memory() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        try fixture.crash()
        #expect(fixture.pinged("conn-me") == "client has been replaced or is no longer registered")
        #expect(fixture.attempt("a", to: "foo") == "stan: invalid publish request")
    }

    @Test(
        "R3 R17 only what is older than the ack wait comes at once; counts begin again",
        arguments: [false, true])
    func overdue(crashes: Bool) throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo", ackWait: 10)
        fixture.fill("foo", 1...2)
        fixture.advance(milliseconds: 21_000)
        #expect(fixture.delivered(to: subscription.inbox).map(\.count) == [0, 0, 1, 1, 2, 2])
        fixture.fill("foo", 3...3)
        fixture.advance(milliseconds: 1_000)
        _ = fixture.delivered(to: subscription.inbox)
        try restart(fixture, crashes: crashes)
        let atOnce = fixture.delivered(to: subscription.inbox)
        #expect(atOnce.map(\.sequence) == [1, 2])
        #expect(atOnce.map(\.count) == [1, 1])
        fixture.fill("foo", 4...4)
        #expect(fixture.sequences(to: subscription.inbox) == [4])
        fixture.advance(milliseconds: 8_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 2_000)
        #expect(fixture.sequences(to: subscription.inbox).contains(3))
        fixture.acknowledgeAll([1, 2, 3, 4], on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 20_000)
        #expect(fixture.sequences(to: subscription.inbox).filter { $0 < 3 } == [])
    }

    @Test("R16 pending messages of a group go to the member that had them", arguments: [false, true])
    func sameMember(crashes: Bool) throws {
        let fixture = try fixture()
        let members = ["me", "other"].map { fixture.subscribe("foo", by: $0, queue: "q", ackWait: 5) }
        fixture.fill("foo", 1...10)
        let before = members.map { fixture.sequences(to: $0.inbox) }
        fixture.advance(milliseconds: 4_900)
        if crashes { try fixture.crash() } else { try fixture.restart() }
        // Nobody was there until their messages were overdue.
        fixture.clock.now += 1_000_000_000
        fixture.advance(milliseconds: 110)
        #expect(members.map { fixture.sequences(to: $0.inbox) } == before)
        fixture.fill("foo", 11...12)
        #expect(members.flatMap { fixture.sequences(to: $0.inbox) }.sorted() == [11, 12])
    }

    @Test(
        "a plain subscription goes on where it was; an acked message does not come again",
        arguments: [false, true])
    func continues(crashes: Bool) throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo")
        fixture.fill("foo", 1...3)
        fixture.acknowledgeAll([1, 2, 3], on: "foo", at: subscription.ackInbox)
        _ = fixture.delivered(to: subscription.inbox)
        try restart(fixture, crashes: crashes)
        fixture.fill("foo", 4...4)
        #expect(fixture.sequences(to: subscription.inbox) == [4])
        fixture.acknowledge(4, on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 60_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
    }

    @Test("U5 a durable resumes over closes and restarts", arguments: [false, true])
    func durableCycles(crashes: Bool) throws {
        let fixture = try fixture()
        var expected: UInt64 = 0
        for round in 0..<4 {
            let subscription = fixture.subscribe("foo", durable: "d", start: .first)
            fixture.fill("foo", (2 * round + 1)...(2 * round + 2))
            let got = fixture.sequences(to: subscription.inbox)
            #expect(
                got == (expected == 0 ? [1, 2] : [expected, expected + 1, expected + 2]), "round \(round)")
            // The last one stays pending.
            expected = UInt64(2 * round + 2)
            fixture.acknowledgeAll(got.filter { $0 != expected }, on: "foo", at: subscription.ackInbox)
            if round % 2 == 0 {
                #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox, closing: true) == "")
            } else {
                #expect(fixture.close("me") == "")
            }
            try restart(fixture, crashes: crashes)
            if round % 2 == 1 { #expect(fixture.join("me") == "") }
        }
    }

    @Test(
        "U9 U11 a durable closed by its connected client stays silent over a restart",
        arguments: [false, true])
    func closedStaysClosed(crashes: Bool) throws {
        let fixture = try fixture()
        let subscription = fixture.subscribe("foo", durable: "d", ackWait: 1)
        fixture.fill("foo", 1...1)
        _ = fixture.delivered(to: subscription.inbox)
        #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox, closing: true) == "")
        try restart(fixture, crashes: crashes)
        fixture.fill("foo", 2...2)
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        #expect(fixture.sequences(to: fixture.subscribe("foo", durable: "d").inbox) == [1, 2])
    }

    @Test(
        "Q8 Q9 a group goes on after the highest that a leaving member had; the record is gone",
        arguments: [false, true])
    func leaverHadHighest(crashes: Bool) throws {
        let fixture = try fixture()
        let stays = fixture.subscribe("foo", queue: "q", durable: "d")
        let leaver = fixture.subscribe("foo", by: "other", queue: "q", durable: "d")
        fixture.fill("foo", 1...2)
        let both = [stays, leaver].map { fixture.sequences(to: $0.inbox) }
        #expect(both == [[1], [2]])
        fixture.acknowledge(1, on: "foo", at: stays.ackInbox)
        fixture.acknowledge(2, on: "foo", at: leaver.ackInbox)
        #expect(fixture.unsubscribe("foo", inbox: leaver.ackInbox, by: "other", closing: true) == "")
        try restart(fixture, crashes: crashes)
        #expect(fixture.storedSubscriptions == 1)
        fixture.fill("foo", 3...3)
        #expect(fixture.delivered(to: stays.inbox) == [.init(sequence: 3, data: "3")])
    }

    @Test("R8 a message that moved to another member stays there over a restart", arguments: [false, true])
    func moved(crashes: Bool) throws {
        let fixture = try fixture()
        let leaver = fixture.subscribe("foo", by: "other", queue: "q", ackWait: 60)
        fixture.fill("foo", 1...1)
        let stays = fixture.subscribe("foo", queue: "q", ackWait: 60)
        #expect(fixture.close("other") == "")
        fixture.advance(milliseconds: 200)
        #expect(fixture.sequences(to: stays.inbox) == [1])
        try restart(fixture, crashes: crashes)
        #expect(fixture.pending(at: stays.inbox) == [1])
        #expect(fixture.sequences(to: leaver.inbox) == [1])
    }

    @Test("Q10 another client takes a shadow over after a restart: pending first", arguments: [false, true])
    func shadow(crashes: Bool) throws {
        let fixture = try fixture()
        let first = fixture.subscribe("foo", queue: "q", durable: "d")
        fixture.fill("foo", 1...3)
        fixture.acknowledge(2, on: "foo", at: first.ackInbox)
        #expect(fixture.close("me") == "")
        fixture.fill("foo", 4...4, by: "other")
        try restart(fixture, crashes: crashes)
        #expect(fixture.storedSubscriptions == 1)
        let second = fixture.subscribe("foo", by: "other", queue: "q", durable: "d")
        #expect(fixture.delivered(to: second.inbox).map(\.sequence) == [1, 3, 4])
    }
}
