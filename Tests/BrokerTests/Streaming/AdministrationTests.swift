import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

extension EngineFixture {
    /// Makes a request about a channel; its answer as text, nil while there is none.
    func ask(_ request: ChannelRequest, _ channel: String) -> String? {
        let prefix = String(decoding: request.verb.prefix(clusterID: Array("vc".utf8)), as: UTF8.self)
        return self.request(request.payload, to: prefix + channel).map { String(decoding: $0, as: UTF8.self) }
    }
}

@Suite("Channels are purged and deleted by request")
struct AdministrationTests {
    private static let storages: [EngineFixture.Storage] = [.memory, .late(seed: 5), .disk(seed: 5)]

    private func connected(
        _ storage: EngineFixture.Storage = .disk(seed: 3), _ change: (inout BrokerOptions) -> Void = { _ in }
    ) throws -> EngineFixture {
        let fixture = try EngineFixture(storage: storage, change)
        _ = fixture.connect("me")
        return fixture
    }

    private func all(of channel: String, in fixture: EngineFixture) -> [EngineFixture.Delivered] {
        let subscription = fixture.subscribe(channel, start: .first)
        fixture.advance(milliseconds: 20)
        defer { _ = fixture.unsubscribe(channel, inbox: subscription.ackInbox) }
        return fixture.delivered(to: subscription.inbox)
    }

    @Test(
        "a purge takes what it says, no more, and the next message gets the next sequence", arguments: 0..<3)
    func purge(storage: Int) throws {
        let fixture = try connected(Self.storages[storage])
        fixture.publish(numbers: 1...10, to: "foo")
        fixture.publish(numbers: 1...3, to: "bar")
        #expect(
            fixture.ask(.purge(.upTo(sequence: 4)), "foo")
                == #"{"channel":"foo","purged":4,"first_sequence":5,"last_sequence":10}"#)
        #expect(
            fixture.ask(.purge(.upTo(sequence: 4)), "foo")
                == #"{"channel":"foo","purged":0,"first_sequence":5,"last_sequence":10}"#)
        #expect(all(of: "foo", in: fixture).map(\.sequence) == [5, 6, 7, 8, 9, 10])
        #expect(
            fixture.ask(.purge(.all), "foo")
                == #"{"channel":"foo","purged":6,"first_sequence":11,"last_sequence":10}"#)
        #expect(all(of: "foo", in: fixture) == [])
        fixture.publish("next", to: "foo")
        #expect(all(of: "foo", in: fixture).map(\.sequence) == [11])
        #expect(all(of: "bar", in: fixture).count == 3)
        #expect(
            fixture.ask(.purge(.upTo(sequence: .max)), "foo")
                == #"{"channel":"foo","purged":1,"first_sequence":12,"last_sequence":11}"#)
    }

    @Test("a purge by age takes what is older, exactly", arguments: 0..<3)
    func purgeByAge(storage: Int) throws {
        let fixture = try connected(Self.storages[storage])
        for number in 1...10 {
            fixture.publish("\(number)", to: "foo")
            fixture.advance(milliseconds: 1_000)
        }
        // The first was stored 10 s ago, the fourth 7 s ago: that is not longer than 7 s.
        #expect(
            fixture.ask(.purge(.olderThan(nanoseconds: 7_000_000_000)), "foo")
                == #"{"channel":"foo","purged":3,"first_sequence":4,"last_sequence":10}"#)
        #expect(
            fixture.ask(.purge(.olderThan(nanoseconds: .max)), "foo")
                == #"{"channel":"foo","purged":0,"first_sequence":4,"last_sequence":10}"#)
        #expect(
            fixture.ask(.purge(.olderThan(nanoseconds: 1)), "foo")
                == #"{"channel":"foo","purged":7,"first_sequence":11,"last_sequence":10}"#)
    }

    @Test(
        "what was purged or deleted stays so after every crash, and sequences go on",
        arguments: Ending.allCases)
    func survives(ending: Ending) throws {
        let fixture = try connected()
        fixture.publish(numbers: 1...10, to: "foo")
        fixture.publish(numbers: 1...10, to: "bar")
        fixture.publish(numbers: 1...10, to: "gone")
        _ = fixture.ask(.purge(.upTo(sequence: 4)), "foo")
        _ = fixture.ask(.purge(.all), "bar")
        #expect(
            fixture.ask(.delete(force: false), "gone")?.hasPrefix(#"{"channel":"gone","messages":10,"#)
                == true)
        for _ in 0..<2 {
            try fixture.end(ending)
            #expect(fixture.log.channels.count == 2)
            #expect(all(of: "foo", in: fixture).map(\.sequence) == [5, 6, 7, 8, 9, 10])
            #expect(all(of: "bar", in: fixture).isEmpty)
        }
        #expect(fixture.log.recovery.damage.isEmpty)
        fixture.publish("next", to: "bar")
        fixture.publish("anew", to: "gone")
        try fixture.end(ending)
        #expect(all(of: "bar", in: fixture).map(\.sequence) == [11])
        #expect(all(of: "gone", in: fixture) == [.init(sequence: 1, data: "anew")])
    }

    @Test(
        "a stalled consumer goes on at once when what it waits for is purged; late acknowledgements are ignored"
    )
    func purgeUnderConsumers() throws {
        let fixture = try connected()
        let slow = fixture.subscribe("foo", durable: "d", start: .first, maxInFlight: 2, ackWait: 30)
        fixture.publish(numbers: 1...10, to: "foo")
        #expect(fixture.sequences(to: slow.inbox) == [1, 2])
        _ = fixture.ask(.purge(.upTo(sequence: 5)), "foo")
        #expect(fixture.sequences(to: slow.inbox) == [6, 7])
        fixture.acknowledge(1, on: "foo", at: slow.ackInbox)
        #expect(fixture.pending(at: slow.inbox) == [6, 7] && fixture.sequences(to: slow.inbox) == [])
        fixture.advance(milliseconds: 60_000)
        #expect(Set(fixture.sequences(to: slow.inbox)) == [6, 7], "what was purged does not come again")
        try fixture.end(.powerCut)
        #expect(fixture.pending(at: slow.inbox) == [6, 7])
        _ = fixture.ask(.purge(.all), "foo")
        fixture.publish("11", to: "foo")
        fixture.advance(milliseconds: 200)
        #expect(fixture.sequences(to: slow.inbox).last == 11)
    }

    @Test("a purge in a block that only the disk has waits for it")
    func purgeFromDisk() throws {
        let fixture = try connected()
        let text = String(repeating: "x", count: 2_000)
        for _ in 0..<20 { fixture.publishAll(Array(repeating: text, count: 50), to: "foo") }
        try fixture.end(.shutdown)
        #expect(
            fixture.ask(.purge(.upTo(sequence: 510)), "foo")
                == #"{"channel":"foo","purged":510,"first_sequence":511,"last_sequence":1000}"#)
        let bytes = fixture.log.info(of: ChannelID(rawValue: 1))?.bytes ?? 0
        try fixture.end(.kill)
        let info = try #require(fixture.log.info(of: ChannelID(rawValue: 1)))
        #expect((info.firstSequence, info.messages, info.bytes) == (511, 490, bytes))
    }

    @Test("a channel that is subscribed to is deleted by force only, and its subscriptions end with it")
    func deleteUnderConsumers() throws {
        let fixture = try connected()
        _ = fixture.connect("other")
        let plain = fixture.subscribe("foo", by: "other", start: .first)
        let durable = fixture.subscribe("foo", durable: "d", start: .first, maxInFlight: 1)
        _ = fixture.subscribe("bar", by: "other")
        fixture.publish(numbers: 1...3, to: "foo")
        let refusal = fixture.ask(.delete(force: false), "foo") ?? ""
        #expect(refusal.contains(#""error":"the channel \"foo\" has 2 subscriptions online"#), "\(refusal)")
        #expect(fixture.engine.channels.count == 2)
        let answer = fixture.ask(.delete(force: true), "foo")
        #expect(answer?.contains(#""messages":3"#) == true && answer?.contains(#""subscriptions":2"#) == true)
        #expect(!fixture.acknowledge(1, on: "foo", at: durable.ackInbox), "nobody listens for it any more")
        #expect(fixture.unsubscribe("foo", inbox: plain.ackInbox, by: "other") == "stan: unknown channel")
        #expect(fixture.lines.count(containing: "ended with the channel") == 2)
        // The name is free: a new channel, which the old subscriptions know nothing of.
        _ = fixture.delivered(to: plain.inbox)
        fixture.publish("new", to: "foo")
        fixture.advance(milliseconds: 31_000)
        #expect(fixture.sequences(to: plain.inbox) == [] && fixture.engine.subscriptions.count == 1)
        try fixture.end(.powerCut)
        #expect(fixture.engine.subscriptions.count == 1)
        #expect(fixture.subscribe("foo", durable: "d", start: .first).error == "")
        #expect(fixture.close("other") == "" && fixture.close("me") == "")
    }

    @Test("publishes on their way when their channel is deleted are acknowledged, and gone")
    func deleteUnderPublishers() throws {
        let fixture = try connected()
        fixture.publish("1", to: "foo")
        let ack = fixture.inbox()
        fixture.publish("2", to: "foo", by: "me", ackInbox: ack)
        let reply = fixture.inbox()
        fixture.send([], to: "$BROKER.API.CHANNEL.DELETE.vc.foo", reply: reply)
        fixture.publish("3", to: "foo", by: "me", ackInbox: ack)
        #expect(fixture.transport.take(reply).isEmpty, "nothing is answered before it is on disk")
        fixture.settle()
        #expect(fixture.publishAcks(at: ack).map(\.error) == ["", ""])
        #expect(fixture.transport.take(reply).count == 1)
        try fixture.end(.powerCut)
        #expect(all(of: "foo", in: fixture) == [.init(sequence: 1, data: "3")])
    }

    @Test("what cannot be done is answered with a sentence")
    func refused() throws {
        let fixture = try connected()
        fixture.publish("1", to: "foo")
        #expect(
            fixture.ask(.purge(.all), "none")
                == #"{"channel":"none","error":"there is no channel \"none\""}"#)
        #expect(fixture.ask(.delete(force: true), "none")?.contains("there is no channel") == true)
        let answer = fixture.request(Array("nonsense".utf8), to: "$BROKER.API.CHANNEL.PURGE.vc.foo") ?? []
        #expect(String(decoding: answer, as: UTF8.self).contains("should be a JSON object"))
        #expect(fixture.request([], to: "$BROKER.API.CHANNEL.PURGE.other.foo") == nil)
        fixture.disk.onCall { call, _ in call == .sync ? 5 : nil }
        #expect(fixture.ask(.purge(.all), "foo")?.contains(#""error":"#) == true)
        #expect(fixture.ask(.delete(force: true), "foo")?.contains("closed for writing") == true)
        fixture.disk.onCall { _, _ in nil }
        try fixture.crash()
        #expect(all(of: "foo", in: fixture).count == 1)
    }
}
