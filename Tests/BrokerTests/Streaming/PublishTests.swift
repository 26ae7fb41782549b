import BrokerLog
import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: publish (10.2)")
struct PublishTests {
    private let invalid = "stan: invalid publish request"

    @Test("P1 an acknowledgement carries the guid")
    func guid() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        let inbox = fixture.inbox()
        fixture.publish("a", to: "foo", guid: "guid-1", ackInbox: inbox)
        fixture.settle()
        #expect(fixture.publishAcks(at: inbox) == [.init(guid: "guid-1")])
    }

    @Test("P3 P4 P5 P15 what is wrong is refused and takes no sequence")
    func refusals() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        #expect(fixture.publish("a", to: "foo", guid: "") == invalid)
        for channel in ["foo.*", "foo.>", "foo/bar"] {
            #expect(fixture.publish("a", to: channel) == invalid, "\(channel)")
        }
        #expect(fixture.publish("a", to: "foo", by: "nobody") == invalid)
        #expect(fixture.publish("a", to: "foo", connection: "nobody") == invalid)
        #expect(fixture.engine.channels.isEmpty)
        #expect(fixture.publish("a", to: "foo") == nil)
        #expect(fixture.publish("a", to: "foo", guid: "") == invalid)
        #expect(fixture.publish("b", to: "foo") == nil)
        #expect(fixture.engine.channels.values.first?.lastSequence == 2)
    }

    @Test("a connection id alone names the client")
    func connectionID() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        #expect(fixture.publish("a", to: "foo", by: "nobody", connection: "conn-me") == nil)
    }

    @Test("P6 garbage gets an error with an empty guid, a control message nothing")
    func garbage() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        let inbox = fixture.inbox()
        fixture.send([0xFF, 0xFF, 0xFF], to: "_STAN.pub.vc.foo", reply: inbox)
        fixture.settle()
        #expect(fixture.publishAcks(at: inbox) == [.init(guid: "", error: invalid)])
        // A varint where PubMsg has a string: CtrlMsg type 4.
        fixture.send([0x08, 0x04], to: "_STAN.pub.vc.foo", reply: inbox)
        fixture.settle()
        #expect(fixture.publishAcks(at: inbox) == [])
    }

    @Test("the subject must end in the channel that the message names")
    func subjectMustMatch() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        let inbox = fixture.inbox()
        let message: [UInt8] =
            [0x0A, 2] + Array("me".utf8) + [0x12, 1] + Array("g".utf8) + [0x1A, 3] + Array("bar".utf8)
        fixture.send(message, to: "_STAN.pub.vc.foo", reply: inbox)
        fixture.settle()
        #expect(fixture.publishAcks(at: inbox) == [.init(guid: "g", error: invalid)])
    }

    @Test("P7 P8 empty data and a reply subject arrive as they were sent")
    func emptyDataAndReply() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        let subscription = fixture.subscribe("foo")
        fixture.publish("", to: "foo", guid: "g", ackInbox: "", reply: "answer.here")
        fixture.settle()
        let message = try #require(fixture.transport.take(subscription.inbox).first)
        message.payload.withUnsafeBytes { bytes in
            let proto = MsgProto(decoding: bytes)
            #expect(proto?.data.isEmpty == true)
            #expect(proto.map { String(decoding: $0.reply, as: UTF8.self) } == "answer.here")
        }
    }

    @Test(
        "P9 P11 P17 sequences have no gaps and acknowledgements come in order",
        arguments: [1, 2, 3] as [UInt64])
    func order(seed: UInt64) throws {
        let fixture = try EngineFixture(storage: .late(seed: seed))
        for client in ["a", "b", "c"] { fixture.join(client) }
        let foo = fixture.subscribe("foo", by: "a", start: .first)
        let bar = fixture.subscribe("bar", by: "a", start: .first)
        let inbox = fixture.inbox()
        for index in 0..<300 {
            fixture.clock.now += 1_000
            let channel = index % 3 == 0 ? "foo" : "bar"
            fixture.publish(
                "\(index)", to: channel, by: ["a", "b", "c"][index % 3], guid: "\(index)", ackInbox: inbox)
            if index % 7 == 0 { _ = fixture.engine.endOfTick() }
        }
        // This log answers some reads only when it is asked again.
        for _ in 0..<200 { fixture.settle() }
        #expect(fixture.publishAcks(at: inbox) == (0..<300).map { .init(guid: "\($0)") })
        var last: Int64 = .min
        let arrived = fixture.transport.take(bar.inbox)
        for message in arrived {
            let time = message.payload.withUnsafeBytes { MsgProto(decoding: $0)?.timestamp ?? .min }
            #expect(time >= last)
            last = time
        }
        #expect(
            fixture.delivered(to: foo.inbox).map(\.data) == (0..<300).filter { $0 % 3 == 0 }.map { "\($0)" })
        #expect(arrived.count == 200)
    }

    @Test("P10 a thousand publishes followed by a close are all stored")
    func publishThenClose() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1))
        fixture.join("me")
        let inbox = fixture.inbox()
        for index in 0..<1_000 { fixture.publish("x", to: "foo", guid: "\(index)", ackInbox: inbox) }
        #expect(fixture.close("me") == "")
        #expect(fixture.publishAcks(at: inbox).count { $0.error.isEmpty } == 1_000)
        #expect(fixture.engine.channels.values.first?.lastSequence == 1_000)
    }

    @Test("P13 the same guid twice is two messages")
    func sameGUID() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        _ = fixture.publish("a", to: "foo", guid: "same")
        _ = fixture.publish("a", to: "foo", guid: "same")
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [1, 2])
    }

    @Test("P14 L1 in a batch only the messages for a channel too many fail")
    func batch() throws {
        let fixture = try EngineFixture { $0.maxChannels = 1 }
        fixture.join("me")
        let inbox = fixture.inbox()
        for (index, channel) in ["foo", "bar", "foo", "bar", "foo"].enumerated() {
            fixture.publish("x", to: channel, guid: "\(index)", ackInbox: inbox)
        }
        fixture.settle()
        let acks = fixture.publishAcks(at: inbox)
        #expect(acks.filter { $0.error.isEmpty }.map(\.guid) == ["0", "2", "4"])
        #expect(acks.filter { $0.error == "too many channels" }.map(\.guid) == ["1", "3"])
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [1, 2, 3])
    }

    @Test("P16 a channel that differs from another in case alone is refused")
    func caseConflict() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        fixture.publish("a", to: "foo")
        let text =
            "rejecting channel \"Foo\" because channel \"foo\" alreay exists (different cases not allowed)"
        #expect(fixture.publish("a", to: "Foo") == text)
        #expect(fixture.subscribe("Foo").error == text)
    }

    @Test("an acknowledgement does not come before the disk has the message")
    func ackMeansDurable() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1))
        fixture.join("me")
        let subscription = fixture.subscribe("foo")
        let inbox = fixture.inbox()
        fixture.publish("a", to: "foo", guid: "g", ackInbox: inbox)
        while fixture.engine.endOfTick() {}
        #expect(fixture.publishAcks(at: inbox) == [])
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.settle()
        #expect(fixture.publishAcks(at: inbox) == [.init(guid: "g")])
        #expect(fixture.sequences(to: subscription.inbox) == [1])
    }
}
