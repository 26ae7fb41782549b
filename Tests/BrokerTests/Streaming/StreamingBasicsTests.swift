import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: connect, publish, subscribe")
struct StreamingBasicsTests {
    @Test("C1 a connect returns every subject, protocol 1 and the ping values")
    func connectReturnsSubjects() throws {
        let fixture = try EngineFixture()
        let response = fixture.connect("me")
        #expect(response.error.isEmpty)
        #expect(response.publishPrefix == Array("_STAN.pub.vc".utf8))
        #expect(response.pingRequests == Array("_STAN.discover.vc.pings".utf8))
        #expect(response.pingIntervalSeconds == 5)
        #expect(response.pingMaxOut == 3)
        #expect(response.protocolVersion == 1)
    }

    @Test("a message is acknowledged and delivered, and its ack empties the pending set")
    func publishDeliverAcknowledge() throws {
        let fixture = try EngineFixture()
        _ = fixture.connect("me")
        let subscription = fixture.subscribe("foo")
        #expect(subscription.error == "")
        #expect(fixture.publish("hello", to: "foo") == nil)
        #expect(fixture.delivered(to: subscription.inbox) == [.init(sequence: 1, data: "hello")])
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 31_000)
        #expect(fixture.delivered(to: subscription.inbox).isEmpty)
    }

    @Test("R1 R3 an unacknowledged message comes again every ack wait, with a rising count")
    func redelivers() throws {
        let fixture = try EngineFixture()
        _ = fixture.connect("me")
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.publish("a", to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        for round in 1...4 {
            fixture.advance(milliseconds: 1_000)
            #expect(
                fixture.delivered(to: subscription.inbox)
                    == [.init(sequence: 1, data: "a", redelivered: true, count: UInt32(round))])
        }
    }
}
