import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: durables (10.6)")
struct EngineDurableTests {
    private func connected(_ change: (inout BrokerOptions) -> Void = { _ in }) throws -> EngineFixture {
        let fixture = try EngineFixture(change)
        _ = fixture.connect("me")
        return fixture
    }

    @Test("U1 U2 U6 a resume sends what is pending first, ignores the start, and has a new ack inbox")
    func resume() throws {
        let fixture = try connected()
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...4, to: "foo")
        #expect(fixture.sequences(to: first.inbox) == [1, 2, 3, 4])
        fixture.acknowledge([2, 4], on: "foo", at: first.ackInbox)
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
        fixture.publish(numbers: 5...6, to: "foo")
        for start in [StartPosition.first, .sequenceStart, .newOnly] {
            let again = fixture.subscribe("foo", durable: "d", start: start, sequence: 100)
            #expect(again.error == "" && again.ackInbox != first.ackInbox)
            let messages = fixture.delivered(to: again.inbox)
            #expect(messages.prefix(2).map(\.sequence) == [1, 3])
            #expect(messages.prefix(2).allSatisfy { $0.redelivered })
            #expect(messages.map(\.sequence) == [1, 3, 5, 6])
            #expect(!fixture.acknowledge(1, on: "foo", at: first.ackInbox), "the old ack inbox is dead")
            #expect(fixture.unsubscribe("foo", inbox: again.ackInbox, closing: true) == "")
        }
    }

    @Test("U3 a second subscribe of a live durable is refused; after its client closed it resumes")
    func duplicate() throws {
        let fixture = try connected()
        let first = fixture.subscribe("foo", durable: "d")
        #expect(fixture.subscribe("foo", durable: "d").error == "stan: duplicate durable registration")
        fixture.publish("1", to: "foo")
        #expect(fixture.sequences(to: first.inbox) == [1])
        #expect(fixture.close("me") == "")
        _ = fixture.connect("me")
        let again = fixture.subscribe("foo", durable: "d")
        #expect(fixture.delivered(to: again.inbox).map(\.redelivered) == [true])
    }

    @Test("U4 with replace_durable the second subscribe wins, but not in a queue group")
    func replaceDurable() throws {
        let fixture = try connected { $0.replaceDurable = true }
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish("1", to: "foo")
        #expect(fixture.sequences(to: first.inbox) == [1])
        let second = fixture.subscribe("foo", durable: "d")
        #expect(second.error == "")
        fixture.publish("2", to: "foo")
        #expect(fixture.sequences(to: first.inbox) == [])
        #expect(fixture.sequences(to: second.inbox) == [1, 2])
        #expect(fixture.engine.subscriptions.count == 1)
        let one = fixture.subscribe("bar", queue: "q", durable: "d")
        let two = fixture.subscribe("bar", queue: "q", durable: "d")
        fixture.publish(numbers: 1...2, to: "bar")
        #expect(fixture.sequences(to: one.inbox).count == 1)
        #expect(fixture.sequences(to: two.inbox).count == 1)
    }

    @Test("U7 an unsubscribe deletes the durable: the same name starts anew")
    func unsubscribe() throws {
        let fixture = try connected()
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish("1", to: "foo")
        _ = fixture.sequences(to: first.inbox)
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox) == "")
        #expect(fixture.engine.channels.values.first?.subscriptionCount == 0)
        let again = fixture.subscribe("foo", durable: "d")
        #expect(fixture.sequences(to: again.inbox) == [])
        fixture.publish("2", to: "foo")
        #expect(fixture.delivered(to: again.inbox) == [.init(sequence: 2, data: "2")])
    }

    @Test("U8 U9 an offline durable gets nothing and later everything")
    func offline() throws {
        let fixture = try connected()
        let first = fixture.subscribe("foo", durable: "d")
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
        fixture.publish(numbers: 1...3, to: "foo")
        fixture.advance(milliseconds: 60_000)
        #expect(fixture.sequences(to: first.inbox) == [])
        let again = fixture.subscribe("foo", durable: "d")
        #expect(fixture.delivered(to: again.inbox).map(\.redelivered) == [false, false, false])
    }

    @Test("U10 U12 U13 many pending, a small limit: all pending first, then new ones one by one")
    func manyPending() throws {
        let fixture = try connected()
        let first = fixture.subscribe("foo", durable: "d", maxInFlight: 2_000)
        fixture.publish(numbers: 1...1_500, to: "foo")
        #expect(fixture.sequences(to: first.inbox).count == 1_500)
        #expect(fixture.close("me") == "")
        _ = fixture.connect("me")
        let again = fixture.subscribe("foo", durable: "d", maxInFlight: 1, ackWait: 1)
        fixture.publish("new", to: "foo")
        #expect(fixture.sequences(to: again.inbox) == Array(1...1_500))
        fixture.advance(milliseconds: 1_100)
        #expect(fixture.sequences(to: again.inbox).count == 1_500, "the ack timer runs")
        fixture.acknowledge(1...1_499, on: "foo", at: again.ackInbox)
        #expect(fixture.sequences(to: again.inbox) == [])
        fixture.acknowledge(1_500, on: "foo", at: again.ackInbox)
        #expect(fixture.delivered(to: again.inbox) == [.init(sequence: 1_501, data: "new")])
    }

    @Test("a durable that resumes while its inbox is not listened on gets each message once")
    func resumesUnheard() throws {
        let fixture = try connected()
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

    @Test("U14 the same name on two channels or of two clients is two durables, however they are joined")
    func independent() throws {
        let fixture = try connected()
        _ = fixture.connect("me-c")
        let subscriptions = [
            fixture.subscribe("c", durable: "d"), fixture.subscribe("e", durable: "d"),
            fixture.subscribe("c", by: "me-c", durable: "d"),
            fixture.subscribe("c", durable: "c-d"), fixture.subscribe("c", by: "me-c", durable: "x"),
        ]
        #expect(subscriptions.allSatisfy { $0.error == "" })
        fixture.publish("1", to: "c")
        #expect(subscriptions.map { fixture.sequences(to: $0.inbox).count } == [1, 0, 1, 1, 1])
    }

    @Test("U15 a client that crashed resumes its durable when it connects with the same id")
    func clientCrash() throws {
        let fixture = try connected()
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish("1", to: "foo")
        _ = fixture.sequences(to: first.inbox)
        fixture.kill("me", inboxes: [first.inbox])
        #expect(fixture.connect("me", connection: "new").error.isEmpty)
        let again = fixture.subscribe("foo", durable: "d")
        #expect(fixture.sequences(to: again.inbox) == [1])
    }
}
