import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: responses that wait for the disk")
struct HeldResponseTests {
    @Test(
        "the response to an earlier subscribe lets no message flow to a later one of the same durable",
        arguments: ["", "q"])
    func earlierIncarnation(queue: String) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1))
        let before = fixture.subscribe("foo", queue: queue, durable: "d")
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.sequences(to: before.inbox) == [1, 2, 3])
        #expect(fixture.unsubscribe("foo", inbox: before.ackInbox, closing: true) == "")

        let (one, two) = (fixture.inbox("_INBOX.one"), fixture.inbox("_INBOX.two"))
        func subscribe(_ inbox: String) {
            let request = fixture.subscription("foo", queue: queue, durable: "d", inbox: inbox)
            // The answer goes to the inbox too, so that the order shows.
            fixture.send(request.encoded(), to: "_STAN.sub.vc", reply: inbox)
            while fixture.engine.endOfTick() {}
        }
        subscribe(one)
        // On disk, but the loop has not heard of it when the client, tired of waiting, tries again.
        while fixture.log.stepCommit() {}
        var close = UnsubscribeRequest()
        close.clientID = Array("me".utf8)
        close.subject = Array("foo".utf8)
        close.inbox = Array(one.utf8)
        fixture.send(close.encoded(), to: "_STAN.subclose.vc", reply: fixture.inbox())
        subscribe(two)
        #expect(fixture.transport.waiting(at: one) == 1, "the response alone")
        #expect(fixture.transport.waiting(at: two) == 0)

        fixture.settle()
        #expect(fixture.transport.waiting(at: one) == 1)
        let answers = fixture.transport.take(two)
        let response = answers.first?.payload.withUnsafeBytes { SubscriptionResponse(decoding: $0) }
        #expect(response?.ackInbox.starts(with: "_INBOX.".utf8) == true)
        let sequences = answers.dropFirst().map { message in
            message.payload.withUnsafeBytes { MsgProto(decoding: $0)?.sequence }
        }
        #expect(sequences == [1, 2, 3])
    }

    @Test("a shutdown acknowledges what it stores and answers, and leaves delivering to the next start")
    func shutdown() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1))
        let subscription = fixture.subscribe("foo")
        let (acks, late) = (fixture.inbox(), fixture.inbox("_INBOX.late"))
        for number in 1...3 { fixture.publish("\(number)", to: "foo", guid: "\(number)", ackInbox: acks) }
        let request = fixture.subscription("foo", durable: "d", start: .first, inbox: late)
        let reply = fixture.inbox()
        fixture.send(request.encoded(), to: "_STAN.sub.vc", reply: reply)
        try fixture.restart()
        #expect(fixture.publishAcks(at: acks) == (1...3).map { .init(guid: "\($0)") })
        #expect(fixture.subscribed(fixture.transport.take(reply).first?.payload, inbox: late).error == "")
        fixture.advance(milliseconds: 200)
        for inbox in [subscription.inbox, late] {
            // Before and after the stop together.
            #expect(
                fixture.delivered(to: inbox) == (1...3).map { .init(sequence: UInt64($0), data: "\($0)") })
        }
    }
}
