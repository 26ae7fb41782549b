import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: what waits for the disk or for its client (L13, 3.11)")
struct WaitingRules {
    @Test("L13 a channel is not deleted under a publish or a subscribe that waits for the disk")
    func inactivityRace() throws {
        for subscribes in [false, true] {
            let fixture = try EngineFixture(storage: .disk(seed: 1)) {
                $0.maxInactivityNanoseconds = 1_000_000_000
            }
            fixture.join("me")
            fixture.fill("foo", 1...1)
            let ackInbox = fixture.inbox()
            let inbox = fixture.inbox()
            var request = SubscriptionRequest()
            request.clientID = Array("me".utf8)
            request.subject = Array("foo".utf8)
            request.inbox = Array(inbox.utf8)
            request.maxInFlight = 10
            request.ackWaitSeconds = 30
            if subscribes {
                fixture.send(request.encoded(), to: "_STAN.sub.vc", reply: ackInbox)
            } else {
                fixture.submit("2", to: "foo", guid: "g", ackInbox: ackInbox)
            }
            fixture.clock.now += 1_000_000_000
            fixture.engine.timeReached(fixture.clock.now)
            fixture.settle()
            #expect(fixture.transport.take(ackInbox).count == 1)
            fixture.fill("foo", 3...3)
            let expected: [UInt64] = subscribes ? [2] : [1, 2, 3]
            let got = subscribes ? inbox : fixture.subscribe("foo", start: .first).inbox
            #expect(fixture.sequences(to: got) == expected)
        }
    }

    @Test(
        "while its client is away after a restart nothing is sent; it comes when somebody listens",
        arguments: [false, true])
    func away(crashes: Bool) throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1))
        fixture.join("me")
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.fill("foo", 1...2)
        _ = fixture.delivered(to: subscription.inbox)
        fixture.advance(milliseconds: 60)
        if crashes {
            try fixture.crash(clientsAreAway: true)
        } else {
            try fixture.restart(clientsAreAway: true)
        }
        fixture.advance(milliseconds: 3_000)
        #expect(fixture.pending(at: subscription.inbox) == [1, 2])
        fixture.transport.receivers.insert(subscription.inbox)
        fixture.advance(milliseconds: 200)
        #expect(fixture.delivered(to: subscription.inbox).map(\.count) == [1, 1])
    }
}
