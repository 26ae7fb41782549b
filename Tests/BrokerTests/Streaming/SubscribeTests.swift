import BrokerLog
import BrokerProtocol
import Glibc
import Testing

@testable import Broker

@Suite("Streaming: subscribe requests (10.3)")
struct SubscribeTests {
    @Test("S1-S8 what is wrong with a request is told, in the order of the checks")
    func refusals() throws {
        let fixture = try EngineFixture.connected("me")
        #expect(fixture.subscribeError([0xFF, 0xFF]) == "stan: invalid subscription request")
        #expect(fixture.subscribe("*", by: "", maxInFlight: 0, ackWait: 0).error == "stan: clientID missing")
        for wait in [0, -1] as [Int32] {
            let text = fixture.subscribe("*", maxInFlight: 0, ackWait: wait).error
            #expect(text == "stan: invalid ack wait time, should be >= 1s")
        }
        #expect(fixture.subscribe("*", maxInFlight: 0).error == "stan: invalid MaxInflight, should be >= 1")
        for start in [5, -1] as [Int32] {
            #expect(
                fixture.subscribe("*", start: StartPosition(rawValue: start)).error
                    == "stan: invalid start position")
        }
        for channel in ["", "*", "a.*", "a.>", ".a", "a.", "a..b", "a/b"] {
            #expect(fixture.subscribe(channel, by: "nobody").error == "stan: invalid subject", "\(channel)")
        }
        #expect(fixture.subscribe("foo", by: "nobody").error == "stan: unknown clientID")
        #expect(fixture.engine.channels.isEmpty, "the checks create no channel")
        #expect(
            fixture.subscribe("foo", queue: "q", durable: "a:b").error
                == "stan: durable name of a durable queue subscriber can't contain the character ':'")
        #expect(fixture.engine.channels.count == 1, "a later failure leaves the channel")
        #expect(fixture.subscribe("foo", durable: "a:b").error == "")
        #expect(fixture.close("me") == "")
        #expect(fixture.subscribe("foo", durable: "a:b").error == "stan: unknown clientID")
    }

    @Test("S9 the response comes before the first message, and not before the disk")
    func responseFirst() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1))
        fixture.join("me")
        fixture.publish(numbers: 1...10, to: "foo")
        var request = SubscriptionRequest()
        request.clientID = Array("me".utf8)
        request.subject = Array("foo".utf8)
        request.inbox = Array(fixture.inbox("_INBOX.both").utf8)
        request.maxInFlight = 100
        request.ackWaitSeconds = 30
        request.startPosition = .first
        fixture.send(request.encoded(), to: "_STAN.sub.vc", reply: "_INBOX.both")
        fixture.publish("11", to: "foo", guid: "g", ackInbox: "")
        while fixture.engine.endOfTick() {}
        #expect(fixture.transport.take("_INBOX.both").isEmpty)
        fixture.settle()
        let answers = fixture.transport.take("_INBOX.both")
        #expect(answers.count == 12)
        let response = answers.first?.payload.withUnsafeBytes { SubscriptionResponse(decoding: $0) }
        #expect(response?.ackInbox.isEmpty == false)
    }

    @Test("S10-S13 start positions")
    func startPositions() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxMessages = 3 }
        let empty = fixture.subscribe("empty", start: .lastReceived)
        let beyond = fixture.subscribe("empty", start: .sequenceStart, sequence: 9)
        fixture.publish(numbers: 1...1, to: "empty")
        #expect(fixture.sequences(to: empty.inbox) == [1])
        #expect(fixture.sequences(to: beyond.inbox) == [1])
        fixture.publish(numbers: 1...5, to: "foo")
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [3, 4, 5])
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .lastReceived).inbox) == [5])
        for (sequence, expected) in [
            (0, [3, 4, 5]), (1, [3, 4, 5]), (4, [4, 5]), (5, [5]), (6, []), (99, []),
        ] as [(UInt64, [UInt64])] {
            let subscription = fixture.subscribe("foo", start: .sequenceStart, sequence: sequence)
            #expect(fixture.sequences(to: subscription.inbox) == expected, "from \(sequence)")
        }
        let new = fixture.subscribe("foo")
        #expect(fixture.sequences(to: new.inbox) == [])
        fixture.publish(numbers: 6...6, to: "foo")
        #expect(fixture.sequences(to: new.inbox) == [6])
    }

    @Test("S14 time deltas: from before the first, between, after the last, none and negative")
    func timeDelta() throws {
        let fixture = try EngineFixture.connected("me")
        for number in 1...3 {
            fixture.publish(numbers: number...number, to: "foo")
            fixture.advance(milliseconds: 10_000)
        }
        for (seconds, expected) in [
            (100, [1, 2, 3]), (30, [1, 2, 3]), (25, [2, 3]), (20, [2, 3]), (10, [3]), (5, []), (0, []),
            (-5, []),
        ] as [(Int64, [UInt64])] {
            let subscription = fixture.subscribe(
                "foo", start: .timeDeltaStart, timeDelta: seconds * 1_000_000_000)
            #expect(fixture.sequences(to: subscription.inbox) == expected, "\(seconds) s ago")
        }
        for delta in [Int64.min, .max] {
            #expect(fixture.subscribe("foo", start: .timeDeltaStart, timeDelta: delta).error == "")
        }
    }

    @Test("S15 L5 when every message expired, each start is the next new message")
    func allExpired() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxAgeNanoseconds = 5_000_000_000 }
        fixture.publish(numbers: 1...2, to: "foo")
        fixture.advance(milliseconds: 3_000)
        fixture.publish(numbers: 3...3, to: "foo")
        fixture.advance(milliseconds: 3_100)
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [3])
        fixture.advance(milliseconds: 10_000)
        let all = [
            fixture.subscribe("foo", start: .first), fixture.subscribe("foo", start: .lastReceived),
            fixture.subscribe("foo", start: .sequenceStart, sequence: 2),
            fixture.subscribe("foo", start: .timeDeltaStart, timeDelta: 1 << 40),
        ]
        for subscription in all { #expect(fixture.sequences(to: subscription.inbox) == []) }
        fixture.publish(numbers: 4...4, to: "foo")
        for subscription in all { #expect(fixture.sequences(to: subscription.inbox) == [4]) }
    }

    @Test("S17 S21 S22 S25 unsubscribe and close find their subscription and say what is wrong")
    func unsubscribe() throws {
        let fixture = try EngineFixture.connected("me")
        fixture.join("other")
        for closing in [false, true] {
            let subscription = fixture.subscribe("foo")
            let second = fixture.subscribe("foo")
            #expect(subscription.ackInbox != second.ackInbox)
            let subject = closing ? "_STAN.subclose.vc" : "_STAN.unsub.vc"
            let answer = try #require(fixture.request([], to: subject))
            let error = answer.withUnsafeBytes { SubscriptionResponse(decoding: $0)?.error } ?? []
            #expect(String(decoding: error, as: UTF8.self) == "stan: invalid unsubscribe request")
            let ack = subscription.ackInbox
            #expect(fixture.unsubscribe("bar", inbox: ack, closing: closing) == "stan: unknown channel")
            #expect(fixture.unsubscribe("foo", inbox: "x", closing: closing) == "stan: invalid subscription")
            #expect(
                fixture.unsubscribe("foo", inbox: ack, by: "other", closing: closing)
                    == "stan: unknown clientID")
            #expect(fixture.unsubscribe("foo", inbox: ack, closing: closing) == "")
            #expect(fixture.unsubscribe("foo", inbox: second.inbox, closing: closing) == "")
            #expect(fixture.unsubscribe("foo", inbox: ack, closing: closing) == "stan: invalid subscription")
            #expect(fixture.storedSubscriptions == 0)
        }
    }

    @Test("S19 a close right behind a subscribe leaves nothing behind")
    func closeBehindSubscribe() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1))
        fixture.join("me")
        var request = SubscriptionRequest()
        request.clientID = Array("me".utf8)
        request.subject = Array("foo".utf8)
        request.inbox = Array(fixture.inbox().utf8)
        request.maxInFlight = 1
        request.ackWaitSeconds = 30
        fixture.send(request.encoded(), to: "_STAN.sub.vc", reply: fixture.inbox())
        #expect(fixture.close("me") == "")
        #expect(fixture.engine.subscriptions.isEmpty)
        #expect(fixture.storedSubscriptions == 0)
    }

    @Test("S23 an ack right before a close of any kind is honoured", arguments: ["sub", "client"])
    func ackBeforeClose(what: String) throws {
        let fixture = try EngineFixture.connected("me")
        let subscription = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...1, to: "foo")
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        if what == "sub" {
            #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox, closing: true) == "")
        } else {
            #expect(fixture.close("me") == "")
            fixture.join("me")
        }
        #expect(fixture.sequences(to: fixture.subscribe("foo", durable: "d").inbox) == [])
    }

    @Test("S16 a subscribe that cannot be stored is told so and leaves nothing behind", arguments: ["", "d"])
    func storeFailure(durable: String) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1))
        fixture.publish("1", to: "foo")
        fixture.disk.onCall { call, _ in call == .sync ? EIO : nil }
        let refused = fixture.subscribe("foo", durable: durable, start: .first)
        #expect(refused.error.contains("sync"), "\(refused.error)")
        #expect(fixture.storedSubscriptions == 0)
        #expect(fixture.engine.subscriptions.isEmpty)
        #expect(fixture.engine.client(withID: Array("me".utf8))?.subscriptions == [])
        #expect(fixture.sequences(to: refused.inbox) == [])
        fixture.disk.onCall(nil)
        try fixture.crash()
        #expect(fixture.storedSubscriptions == 0)
        let again = fixture.subscribe("foo", durable: durable, start: .first)
        #expect(fixture.sequences(to: again.inbox) == [1])
    }

    @Test("S20 the backlog of one subscription does not delay the response to another")
    func backlogBesideSubscribe() throws {
        let fixture = try EngineFixture.connected("me")
        fixture.publish(numbers: 1...5_000, to: "foo")
        let (backlog, answer) = (fixture.inbox(), fixture.inbox())
        let first = fixture.subscription("foo", start: .first, maxInFlight: 5_000, inbox: backlog)
        fixture.send(first.encoded(), to: "_STAN.sub.vc", reply: fixture.inbox())
        let second = fixture.subscription("bar", inbox: fixture.inbox())
        fixture.send(second.encoded(), to: "_STAN.sub.vc", reply: answer)
        fixture.settle()
        let response = try #require(fixture.transport.take(answer).first)
        let messages = fixture.transport.take(backlog)
        #expect(messages.count == 5_000)
        #expect(messages.count { $0.order < response.order } <= 1_024, "one turn at most comes before it")
    }
}
