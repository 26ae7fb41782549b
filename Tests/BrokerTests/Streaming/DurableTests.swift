import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: durables (10.6)")
struct DurableTests {
    @Test("U1 U2 U6 a resume sends what is unacknowledged first, ignores the start, and has a new ack inbox")
    func resume() throws {
        for (start, sequence) in [
            (StartPosition.first, 0), (.sequenceStart, 1), (.sequenceStart, 9), (.newOnly, 0),
        ] {
            let fixture = try EngineFixture.connected("me")
            let first = fixture.subscribe("foo", durable: "d", start: .first)
            fixture.publish(numbers: 1...3, to: "foo")
            #expect(fixture.sequences(to: first.inbox) == [1, 2, 3])
            fixture.acknowledge([1, 3], on: "foo", at: first.ackInbox)
            #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
            fixture.publish(numbers: 4...5, to: "foo")
            let second = fixture.subscribe("foo", durable: "d", start: start, sequence: UInt64(sequence))
            #expect(second.ackInbox != first.ackInbox)
            #expect(
                fixture.delivered(to: second.inbox) == [
                    .init(sequence: 2, data: "2", redelivered: true, count: 1), .init(sequence: 4, data: "4"),
                    .init(sequence: 5, data: "5"),
                ])
            #expect(fixture.sequences(to: first.inbox) == [])
            #expect(!fixture.acknowledge(2, on: "foo", at: first.ackInbox), "the old ack inbox is dead")
        }
    }

    @Test("U3 a second live registration is refused; after the close of the client it resumes")
    func duplicate() throws {
        let fixture = try EngineFixture.connected("me")
        _ = fixture.subscribe("foo", durable: "d")
        #expect(fixture.subscribe("foo", durable: "d").error == "stan: duplicate durable registration")
        #expect(fixture.storedSubscriptions == 1)
        #expect(fixture.close("me") == "")
        fixture.join("other")
        fixture.publish(numbers: 1...2, to: "foo", by: "other")
        fixture.join("me")
        #expect(fixture.sequences(to: fixture.subscribe("foo", durable: "d").inbox) == [1, 2])
    }

    @Test("U4 with replace_durable the second request wins; durable groups take both")
    func replaceDurable() throws {
        let fixture = try EngineFixture.connected("me") { $0.replaceDurable = true }
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...1, to: "foo")
        #expect(fixture.sequences(to: first.inbox) == [1])
        let second = fixture.subscribe("foo", durable: "d")
        #expect(second.error == "")
        fixture.publish(numbers: 2...2, to: "foo")
        #expect(fixture.sequences(to: second.inbox) == [1, 2])
        #expect(fixture.sequences(to: first.inbox) == [])
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox) == "stan: invalid subscription")
        for _ in 0..<2 { #expect(fixture.subscribe("bar", queue: "q", durable: "d").error == "") }
        #expect(fixture.storedSubscriptions == 3)
    }

    @Test("U7 after an unsubscribe the same name starts anew")
    func unsubscribe() throws {
        let fixture = try EngineFixture.connected("me")
        let first = fixture.subscribe("foo", durable: "d", start: .first)
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox) == "")
        #expect(fixture.storedSubscriptions == 0)
        let second = fixture.subscribe("foo", durable: "d", start: .first)
        #expect(fixture.delivered(to: second.inbox).map(\.redelivered) == [false, false, false])
    }

    @Test("U8 U9 a closed durable is silent; what came meanwhile waits for it")
    func close() throws {
        let fixture = try EngineFixture.connected("me")
        let first = fixture.subscribe("foo", durable: "d", ackWait: 1)
        fixture.publish(numbers: 1...2, to: "foo")
        fixture.acknowledge([1, 2], on: "foo", at: first.ackInbox)
        _ = fixture.delivered(to: first.inbox)
        #expect(fixture.unsubscribe("foo", inbox: first.inbox, closing: true) == "")
        fixture.publish(numbers: 3...4, to: "foo")
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.sequences(to: first.inbox) == [])
        #expect(
            fixture.delivered(to: fixture.subscribe("foo", durable: "d").inbox) == [
                .init(sequence: 3, data: "3"), .init(sequence: 4, data: "4"),
            ])
    }

    @Test(
        "U10 U12 U13 a resume ignores maxInFlight for what was pending, and new messages wait for all of it")
    func heldBack() throws {
        let fixture = try EngineFixture.connected("me")
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...50, to: "foo")
        #expect(fixture.sequences(to: first.inbox).count == 50)
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
        fixture.publish(numbers: 51...60, to: "foo")
        let second = fixture.subscribe("foo", durable: "d", maxInFlight: 1, ackWait: 2)
        fixture.publish(numbers: 61...70, to: "foo")
        let resent = fixture.delivered(to: second.inbox)
        #expect(resent.map(\.sequence) == Array(1...50))
        #expect(resent.allSatisfy { $0.redelivered && $0.count == 1 })
        fixture.advance(milliseconds: 2_000)
        #expect(fixture.sequences(to: second.inbox) == Array(1...50), "the ack timer was armed")
        fixture.acknowledge(Array(1...50), on: "foo", at: second.ackInbox)
        for sequence in 51...70 as ClosedRange<UInt64> {
            #expect(fixture.delivered(to: second.inbox) == [.init(sequence: sequence, data: "\(sequence)")])
            fixture.acknowledge(sequence, on: "foo", at: second.ackInbox)
        }
    }

    @Test("a durable that resumes while its inbox is not listened on gets each message once")
    func resumesUnheard() throws {
        let fixture = try EngineFixture.connected("me")
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...3, to: "foo")
        _ = fixture.sequences(to: first.inbox)
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
        let request = fixture.subscription("foo", durable: "d", ackWait: 1, inbox: "_INBOX.later")
        let response = fixture.subscribed(
            fixture.request(request.encoded(), to: "_STAN.sub.vc"), inbox: "_INBOX.later")
        #expect(response.error == "")
        fixture.advance(milliseconds: 10_500)
        fixture.transport.receivers.insert("_INBOX.later")
        fixture.advance(milliseconds: 200)
        #expect(fixture.sequences(to: "_INBOX.later") == [1, 2, 3])
        fixture.advance(milliseconds: 700)
        #expect(fixture.sequences(to: "_INBOX.later") == [], "the ack wait counts from when they were sent")
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: "_INBOX.later") == [1, 2, 3])
    }

    @Test("U14 one name on two channels or two clients is two durables, also where joined names collide")
    func independent() throws {
        let fixture = try EngineFixture.connected("me")
        for id in ["a", "a-c"] { fixture.join(id) }
        let all = [
            fixture.subscribe("foo", durable: "d"), fixture.subscribe("bar", durable: "d"),
            fixture.subscribe("foo", by: "a", durable: "d"), fixture.subscribe("c", by: "a", durable: "c-x"),
            fixture.subscribe("c", by: "a-c", durable: "x"),
        ]
        #expect(all.allSatisfy { $0.error == "" })
        fixture.publish(numbers: 1...1, to: "foo")
        #expect(all.map { fixture.sequences(to: $0.inbox) } == [[1], [], [1], [], []])
    }

    @Test("U15 a client that crashed resumes its durable when it connects again")
    func crash() throws {
        let fixture = try EngineFixture.connected("me")
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...2, to: "foo")
        fixture.kill("me", inboxes: [first.inbox])
        fixture.join("other")
        fixture.publish(numbers: 3...3, to: "foo", by: "other")
        #expect(fixture.join("me", connection: "new", heartbeatInbox: "_HB.new") == "")
        let second = fixture.subscribe("foo", durable: "d")
        #expect(
            fixture.delivered(to: second.inbox).map(\.count) == [1, 1, 0], "3 was never sent, nobody listened"
        )
    }

    @Test("U16 an offline durable gets what the limits kept")
    func limited() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxMessages = 3 }
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...1, to: "foo")
        fixture.acknowledge(1, on: "foo", at: first.ackInbox)
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
        fixture.publish(numbers: 2...5, to: "foo")
        #expect(fixture.sequences(to: fixture.subscribe("foo", durable: "d").inbox) == [3, 4, 5])
    }
}
