import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: publishers that are paused, and the clocks of clients meanwhile")
struct BackPressureTests {
    /// Publishes 34 MiB that the disk does not take.
    private func fill(_ fixture: EngineFixture) {
        let data = String(repeating: "x", count: 1 << 20)
        for _ in 0..<34 {
            fixture.publish(data, to: "bulk", ackInbox: "")
            while fixture.engine.endOfTick() {}
        }
    }

    /// Lets time pass while the disk does nothing and nothing that clients send is read.
    private func wait(_ fixture: EngineFixture, tenthsOfASecond: Int) {
        for _ in 0..<tenthsOfASecond {
            fixture.clock.now += 100_000_000
            fixture.engine.timeReached(fixture.clock.now)
            while fixture.engine.endOfTick() {}
        }
    }

    @Test("the clocks go on at last where one pause follows on another")
    func oftenPaused() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1), journalSizeBytes: 64 << 20) {
            $0.heartbeatIntervalNanoseconds = 1_000_000_000
            $0.heartbeatTimeoutNanoseconds = 1_000_000_000
            $0.maxFailedHeartbeats = 2
            $0.maxMessages = 1
        }
        fixture.join("me")
        fixture.join("gone")
        fixture.hang("gone")
        for _ in 0..<6 {
            fill(fixture)
            #expect(fixture.engine.publishersArePaused)
            wait(fixture, tenthsOfASecond: 40)
            fixture.settle()
            #expect(!fixture.engine.publishersArePaused)
            // Too short for what is waited for after a pause: a second here.
            fixture.advance(milliseconds: 500)
        }
        let gone = fixture.engine.clients.values.first { client in client.id == Array("gone".utf8) }
        #expect(gone?.failedHeartbeats != 0)
    }

    @Test("while publishers are paused no client fails and nothing is redelivered; then the clocks go on")
    func clocks() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1), journalSizeBytes: 64 << 20) {
            $0.heartbeatIntervalNanoseconds = 1_000_000_000
            $0.heartbeatTimeoutNanoseconds = 1_000_000_000
            $0.maxFailedHeartbeats = 2
        }
        fixture.join("me")
        let subscription = fixture.subscribe("foo", ackWait: 2)
        fixture.publish("1", to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        // A heartbeat and a duplicate check are on their way when reading stops.
        fixture.clock.now += 1_000_000_000
        fixture.engine.timeReached(fixture.clock.now)
        let challenge = fixture.inbox()
        fixture.send(
            fixture.connectPayload("me", connection: "second", heartbeatInbox: "_HB.second"),
            to: "_STAN.discover.vc", reply: challenge)
        #expect(fixture.transport.waiting(at: "_HB.me") == 2)
        fill(fixture)
        #expect(fixture.engine.publishersArePaused && fixture.transport.publishersArePaused)
        wait(fixture, tenthsOfASecond: 600)
        #expect(fixture.engine.clients.values.map(\.failedHeartbeats) == [0])
        #expect(fixture.engine.subscriptions.count == 1)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        #expect(fixture.transport.waiting(at: challenge) == 0)

        fixture.settle()
        #expect(!fixture.engine.publishersArePaused && !fixture.transport.publishersArePaused)
        let answer = try #require(fixture.transport.take(challenge).first)
        #expect(EngineFixture.connectError(answer.payload) == "stan: clientID already registered")
        // The acknowledgement lay behind much else in the socket.
        fixture.advance(milliseconds: 900)
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        fixture.advance(milliseconds: 10_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        #expect(fixture.ping(connection: "conn-me") == "")

        fixture.publish("2", to: "foo")
        fixture.advance(milliseconds: 2_000)
        #expect(fixture.delivered(to: subscription.inbox).map(\.redelivered) == [false, true])
        fixture.hang("me")
        fixture.advance(milliseconds: 10_000)
        #expect(fixture.engine.clients.isEmpty)
    }

    @Test("what was not acknowledged before a pause is redelivered after it")
    func redelivery() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1), journalSizeBytes: 64 << 20)
        fixture.join("me")
        let subscription = fixture.subscribe("foo", ackWait: 2)
        fixture.publish("1", to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        fill(fixture)
        wait(fixture, tenthsOfASecond: 40)
        fixture.settle()
        fixture.advance(milliseconds: 999)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 1)
        #expect(
            fixture.delivered(to: subscription.inbox)
                == [.init(sequence: 1, data: "1", redelivered: true, count: 1)])
    }

    @Test("acknowledgements that wait with long guids pause publishers as data does")
    func longGUIDs() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1))
        let inbox = fixture.inbox()
        let guid = String(repeating: "g", count: 1_000_000)
        for _ in 0..<100 { fixture.publish("", to: "foo", guid: guid, ackInbox: inbox) }
        while fixture.engine.endOfTick() {}
        #expect(fixture.engine.publishersArePaused && fixture.transport.publishersArePaused)
        #expect(fixture.transport.waiting(at: inbox) == 0)
        fixture.settle()
        #expect(fixture.transport.waiting(at: inbox) == 100)
        #expect(!fixture.engine.publishersArePaused && !fixture.transport.publishersArePaused)
        let capacity = fixture.engine.acknowledgements.capacity
        #expect(capacity < 1 << 20)
    }

    @Test("the queue of acknowledgements gives the memory of a burst back when it is empty")
    func memoryIsGivenBack() {
        var queue = AcknowledgementQueue()
        let usual = queue.capacity
        let reply = Array("_INBOX.a".utf8)
        let guid = [UInt8](repeating: 7, count: 1 << 20)
        for position in 1...8 as ClosedRange<UInt64> {
            reply.withUnsafeBytes { reply in
                guid.withUnsafeBytes { guid in
                    queue.append(
                        position: position, sequence: position, channel: 1, reply: reply, guid: guid)
                }
            }
        }
        #expect(queue.bytes > 8 << 20)
        #expect(queue.capacity > 8 << 20)
        for _ in 0..<8 { queue.removeFirst() }
        #expect(queue.bytes == 0)
        #expect(queue.capacity == usual)
    }
}
