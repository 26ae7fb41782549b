import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

/// How the broker ends before it starts again.
enum Ending: CaseIterable {
    case shutdown, kill, powerCut
}

extension EngineFixture {
    /// Ends and starts the broker; `away`: nobody listens on any inbox.
    func end(_ ending: Ending, away: Bool = false) throws {
        // Deliveries and acknowledgements are on disk after 50 ms at the latest.
        advance(milliseconds: 60)
        switch ending {
        case .shutdown: try restart(clientsAreAway: away)
        case .kill: try crash(.process, clientsAreAway: away)
        case .powerCut: try crash(.dropAll, clientsAreAway: away)
        }
    }
}

@Suite("Streaming: what survives a restart (3.11)")
struct RestartTests {
    @Test(
        "C13 C14 C19 clients are there with all they said, answer pings, and the dead time out",
        arguments: Ending.allCases)
    func clients(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7)) {
            $0.heartbeatIntervalNanoseconds = 1_000_000_000
            $0.maxFailedHeartbeats = 2
        }
        _ = fixture.connect("dead", connection: "gone")
        _ = fixture.connect("closed")
        #expect(fixture.close("closed") == "")
        let before = Set(fixture.engine.clients.values.map(\.record.id))
        try fixture.end(ending)
        #expect(Set(fixture.engine.clients.values.map(\.record.id)) == before)
        let record = try #require(fixture.engine.client(withID: Array("me".utf8))?.record)
        #expect(record.connectionID == Array("conn-me".utf8))
        #expect((record.protocolVersion, record.pingIntervalSeconds, record.pingMaxOut) == (1, 5, 3))
        #expect(fixture.ping(connection: "conn-me") == "")
        #expect(fixture.ping(connection: "conn-closed") != "")
        #expect(fixture.publish("1", to: "foo") == nil)
        fixture.kill("dead")
        fixture.advance(milliseconds: 2_900)
        #expect(fixture.engine.clients.count == 2)
        fixture.advance(milliseconds: 200)
        #expect(fixture.engine.clients.count == 1)
    }

    @Test("C21 the memory store forgets its clients: pings and publishes say so")
    func memoryStore() throws {
        let fixture = try EngineFixture()
        _ = fixture.connect("me")
        fixture.publish("1", to: "foo")
        try fixture.restart()
        #expect(fixture.ping(connection: "conn-me") == "client has been replaced or is no longer registered")
        #expect(fixture.publish("2", to: "foo") == "stan: invalid publish request")
    }

    @Test("every kind of subscription goes on where it was, on its old inboxes", arguments: Ending.allCases)
    func subscriptions(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        let all = [
            fixture.subscribe("foo"), fixture.subscribe("foo", durable: "d"),
            fixture.subscribe("foo", queue: "q"),
            fixture.subscribe("foo", queue: "q", durable: "dq"),
        ]
        fixture.publish(numbers: 1...3, to: "foo")
        for subscription in all {
            #expect(fixture.sequences(to: subscription.inbox) == [1, 2, 3])
            fixture.acknowledge(1...3, on: "foo", at: subscription.ackInbox)
        }
        try fixture.end(ending, away: true)
        fixture.transport.receivers.insert("_HB.me")
        #expect(fixture.publish("4", to: "foo") == nil)
        fixture.advance(milliseconds: 500)
        for subscription in all { fixture.transport.receivers.insert(subscription.inbox) }
        fixture.advance(milliseconds: 100)
        for subscription in all {
            #expect(fixture.delivered(to: subscription.inbox) == [.init(sequence: 4, data: "4")])
            fixture.acknowledge(4, on: "foo", at: subscription.ackInbox)
        }
        #expect(fixture.engine.subscriptions.values.allSatisfy { $0.member.pending.isEmpty })
        fixture.advance(milliseconds: 40_000)
        #expect(all.allSatisfy { fixture.sequences(to: $0.inbox).isEmpty })
    }

    @Test(
        "R3 R16 R17 D13 what is overdue comes at once to who had it, the rest when it is due",
        arguments: Ending.allCases)
    func pendingAfterRestart(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        _ = fixture.connect("b")
        let one = fixture.subscribe("foo", queue: "q", ackWait: 3)
        let two = fixture.subscribe("foo", by: "b", queue: "q", ackWait: 3)
        fixture.publish(numbers: 1...2, to: "foo")
        fixture.advance(milliseconds: 2_000)
        fixture.publish(numbers: 3...4, to: "foo")
        let (mine, yours) = (fixture.sequences(to: one.inbox), fixture.sequences(to: two.inbox))
        #expect(mine.count == 2 && yours.count == 2)
        fixture.advance(milliseconds: 100)
        try fixture.end(ending, away: true)
        fixture.clock.now += 1_500_000_000
        fixture.transport.receivers = ["_HB.me", "_HB.b", one.inbox, two.inbox]
        fixture.advance(milliseconds: 110)
        for (inbox, had) in [(one.inbox, mine), (two.inbox, yours)] {
            let again = fixture.delivered(to: inbox)
            #expect(again.map(\.sequence) == had.filter { $0 <= 2 })
            #expect(again.allSatisfy { $0.redelivered && $0.count == 1 })
        }
        fixture.publish("5", to: "foo")
        #expect((fixture.sequences(to: one.inbox) + fixture.sequences(to: two.inbox)) == [5])
        fixture.advance(milliseconds: 1_400)
        let due = fixture.sequences(to: one.inbox) + fixture.sequences(to: two.inbox)
        #expect(due.sorted() == [3, 4])
    }

    @Test(
        "R3 R17 only what is older than the ack wait comes at once; counts begin again",
        arguments: Ending.allCases)
    func overdue(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", "other", storage: .disk(seed: 1))
        let subscription = fixture.subscribe("foo", ackWait: 10)
        fixture.publish(numbers: 1...2, to: "foo")
        fixture.advance(milliseconds: 21_000)
        #expect(fixture.delivered(to: subscription.inbox).map(\.count) == [0, 0, 1, 1, 2, 2])
        fixture.publish(numbers: 3...3, to: "foo")
        fixture.advance(milliseconds: 1_000)
        _ = fixture.delivered(to: subscription.inbox)
        try fixture.end(ending)
        fixture.advance(milliseconds: 110)
        let atOnce = fixture.delivered(to: subscription.inbox)
        #expect(atOnce.map(\.sequence) == [1, 2])
        #expect(atOnce.map(\.count) == [1, 1])
        fixture.publish(numbers: 4...4, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [4])
        fixture.advance(milliseconds: 8_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 2_000)
        #expect(fixture.sequences(to: subscription.inbox).contains(3))
        fixture.acknowledge([1, 2, 3, 4], on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 20_000)
        #expect(fixture.sequences(to: subscription.inbox).filter { $0 < 3 } == [])
    }

    @Test("a recovered subscription whose client stays away gets each pending message once when it is back")
    func awayForManyAckWaits() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.publish(numbers: 1...3, to: "foo")
        _ = fixture.sequences(to: subscription.inbox)
        try fixture.end(.kill, away: true)
        fixture.transport.receivers = ["_HB.me"]
        fixture.advance(milliseconds: 8_000)
        fixture.transport.receivers.insert(subscription.inbox)
        fixture.advance(milliseconds: 150)
        #expect(fixture.delivered(to: subscription.inbox).map(\.count) == [1, 1, 1])
        fixture.advance(milliseconds: 800)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 200)
        #expect(fixture.delivered(to: subscription.inbox).map(\.count) == [2, 2, 2])
    }

    @Test("U5 U9 U11 a closed durable stays closed and silent, and resumes", arguments: Ending.allCases)
    func closedDurable(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        var subscription = fixture.subscribe("foo", durable: "d")
        var next = 1
        for round in 0..<4 {
            fixture.publish("\(next)", to: "foo")
            #expect(fixture.sequences(to: subscription.inbox).last == UInt64(next))
            fixture.acknowledge(UInt64(next), on: "foo", at: subscription.ackInbox)
            next += 1
            if round % 2 == 0 {
                #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox, closing: true) == "")
            } else {
                #expect(fixture.close("me") == "")
            }
            try fixture.end(ending)
            if round % 2 == 1 { _ = fixture.connect("me") }
            fixture.publish("\(next)", to: "foo")
            fixture.advance(milliseconds: 31_000)
            #expect(fixture.sequences(to: subscription.inbox) == [])
            subscription = fixture.subscribe("foo", durable: "d", start: .first)
            #expect(
                fixture.delivered(to: subscription.inbox) == [.init(sequence: UInt64(next), data: "\(next)")])
            fixture.acknowledge(UInt64(next), on: "foo", at: subscription.ackInbox)
            next += 1
        }
    }

    @Test(
        "Q8 Q9 a member that left is gone, and the group goes on behind its highest message",
        arguments: Ending.allCases)
    func leftMember(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        _ = fixture.connect("b")
        let one = fixture.subscribe("foo", queue: "q", durable: "d")
        let two = fixture.subscribe("foo", by: "b", queue: "q", durable: "d")
        fixture.publish(numbers: 1...2, to: "foo")
        let highest = fixture.sequences(to: one.inbox) == [2] ? one : two
        let other = highest.inbox == one.inbox ? two : one
        _ = fixture.sequences(to: two.inbox)
        fixture.acknowledge(1...2, on: "foo", at: highest.ackInbox)
        let leaver = highest.inbox == one.inbox ? "me" : "b"
        #expect(fixture.unsubscribe("foo", inbox: highest.ackInbox, by: leaver) == "")
        try fixture.end(ending)
        #expect(fixture.engine.channels.values.first?.subscriptionCount == 1)
        fixture.publish("3", to: "foo")
        fixture.advance(milliseconds: 150)
        #expect(fixture.sequences(to: other.inbox) == [3])
        #expect(fixture.sequences(to: highest.inbox) == [])
    }

    @Test(
        "Q10 Q16 any client takes over a durable group's shadow: pending first, then new ones",
        arguments: Ending.allCases, [false, true])
    func shadow(ending: Ending, restarts: Bool) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        _ = fixture.connect("b")
        let one = fixture.subscribe("foo", queue: "q", durable: "d")
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.sequences(to: one.inbox) == [1, 2, 3])
        fixture.acknowledge(2, on: "foo", at: one.ackInbox)
        #expect(fixture.close("me") == "")
        if restarts { try fixture.end(ending) }
        fixture.publish("4", to: "foo", by: "b")
        let two = fixture.subscribe("foo", by: "b", queue: "q", durable: "d")
        fixture.advance(milliseconds: 150)
        let got = fixture.delivered(to: two.inbox)
        #expect(got.map(\.sequence) == [1, 3, 4])
        #expect(got.map(\.redelivered) == [true, true, false])
    }

    @Test("R8 a message that moved to another member is there after a restart", arguments: Ending.allCases)
    func movedMessage(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        _ = fixture.connect("b")
        let one = fixture.subscribe("foo", queue: "q", ackWait: 1)
        let two = fixture.subscribe("foo", by: "b", queue: "q", ackWait: 1)
        fixture.publish("1", to: "foo")
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: one.inbox) == [1] && fixture.sequences(to: two.inbox) == [1])
        try fixture.end(ending)
        let holders = fixture.engine.subscriptions.values.filter { $0.member.pending.contains(1) }
        #expect(holders.map(\.member.clientID) == [Array("b".utf8)])
        fixture.acknowledge(1, on: "foo", at: one.ackInbox)
        #expect(fixture.engine.subscriptions.values.allSatisfy { $0.member.pending.isEmpty })
    }

    @Test("D15 5,000 delivered and 2,000 acknowledged leave 3,000 pending", arguments: Ending.allCases)
    func exactCounts(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        let subscription = fixture.subscribe("foo", durable: "d", maxInFlight: 5_000)
        fixture.publish(numbers: 1...5_000, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox).count == 5_000)
        for sequence in 1...2_000 as ClosedRange<UInt64> {
            fixture.acknowledge(sequence * 2, on: "foo", at: subscription.ackInbox, settling: false)
        }
        try fixture.end(ending)
        let member = try #require(fixture.engine.subscriptions.values.first?.member)
        #expect(member.pending.count == 3_000)
        #expect(!member.pending.contains(4_000) && member.pending.contains(3_999))
    }

    @Test(
        "L5 L12 sequences go on behind what expired or was deleted, and limits are applied",
        arguments: Ending.allCases)
    func limits(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7)) {
            $0.maxAgeNanoseconds = 2_000_000_000
        }
        fixture.publish(numbers: 1...3, to: "foo")
        fixture.advance(milliseconds: 4_000)
        let foo = try #require(fixture.log.channels.first)
        #expect(fixture.log.info(of: foo)?.messages == 0)
        try fixture.end(ending)
        let subscription = fixture.subscribe("foo", start: .first)
        fixture.publish("4", to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [4])
    }

    @Test(
        "D12 a subscriber that acknowledges nothing over a restart goes on where it was",
        arguments: Ending.allCases)
    func blockedSubscriber(ending: Ending) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        let subscription = fixture.subscribe("foo", maxInFlight: 1)
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        try fixture.end(ending)
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 150)
        #expect(fixture.sequences(to: subscription.inbox) == [2])
        fixture.acknowledge(2, on: "foo", at: subscription.ackInbox)
        #expect(fixture.sequences(to: subscription.inbox) == [3])
    }

    @Test("Q11 of two shadows of one group in the store the one that got further is kept")
    func twoShadows() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        fixture.publish(numbers: 1...6, to: "foo")
        let channel = try #require(fixture.log.channels.first)
        for (id, lastSent) in [(70, 2), (71, 5), (72, 3)] as [(UInt64, UInt64)] {
            var record = SubscriptionRecord()
            record.id = id
            record.channel = channel.rawValue
            record.queueGroup = Array("q".utf8)
            record.durableName = Array("d".utf8)
            record.maxInFlight = 10
            record.ackWaitSeconds = 30
            record.lastSent = lastSent
            record.isClosed = true
            fixture.engine.journal(.subscriptionPut(record))
        }
        fixture.settle()
        try fixture.crash()
        #expect(fixture.storedSubscriptions == 1)
        #expect(fixture.lines.count(containing: "Two shadows of durable queue group d:q on foo") == 2)
        let subscription = fixture.subscribe("foo", queue: "q", durable: "d", start: .first)
        #expect(fixture.sequences(to: subscription.inbox) == [6])
        #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox, closing: true) == "")
        try fixture.restart()
        #expect(fixture.lines.count(containing: "Two shadows") == 2, "only one is left in the store")
    }

    @Test("Q12 a group's member whose client is unknown is dropped with one warning, and for good")
    func ghost() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 7))
        let member = fixture.subscribe("foo", queue: "q", durable: "d")
        fixture.publish("1", to: "foo")
        #expect(fixture.sequences(to: member.inbox) == [1])
        fixture.acknowledge(1, on: "foo", at: member.ackInbox)
        let channel = try #require(fixture.log.channels.first)
        var record = SubscriptionRecord()
        record.id = 90
        record.channel = channel.rawValue
        record.clientID = Array("ghost".utf8)
        record.queueGroup = Array("q".utf8)
        record.durableName = Array("d".utf8)
        record.inbox = Array("_INBOX.ghost".utf8)
        record.maxInFlight = 10
        record.ackWaitSeconds = 30
        fixture.engine.journal(.subscriptionPut(record))
        fixture.settle()
        let warning =
            "Not recovering ghost durable queue subscriber: [ghost]:[d:q] subject=foo inbox=_INBOX.ghost"
        for _ in 0..<2 {
            fixture.advance(milliseconds: 60)
            try fixture.crash()
            #expect(fixture.lines.count(containing: warning) == 1)
            #expect(fixture.storedSubscriptions == 1)
        }
        fixture.advance(milliseconds: 150)
        fixture.publish("2", to: "foo")
        #expect(fixture.sequences(to: member.inbox) == [2])
    }
}
