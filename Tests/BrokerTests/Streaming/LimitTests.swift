import BrokerLog
import BrokerProtocol
import Glibc
import Testing

@testable import Broker

@Suite("Streaming: limits (10.8)")
struct LimitTests {
    @Test("L1 one channel too many is refused to publishers and subscribers; 0 is unlimited")
    func channels() throws {
        let one = try EngineFixture.connected("me") { $0.maxChannels = 1 }
        #expect(one.publish("a", to: "foo") == nil)
        #expect(one.publish("a", to: "bar") == "too many channels")
        #expect(one.subscribe("bar").error == "too many channels")
        #expect(one.subscribe("foo").error == "")
        #expect(one.publish("a", to: "foo") == nil)
        let unlimited = try EngineFixture.connected("me") { $0.maxChannels = 0 }
        for index in 0..<300 { #expect(unlimited.publish("a", to: "c\(index)") == nil) }
    }

    @Test("L2 one subscription too many of any kind is refused; an offline durable counts and may resume")
    func subscriptions() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxSubscriptionsPerChannel = 1 }
        let first = fixture.subscribe("foo", durable: "d")
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
        for (queue, durable) in [("", ""), ("", "e"), ("q", ""), ("q", "d")] {
            #expect(
                fixture.subscribe("foo", queue: queue, durable: durable).error
                    == "too many subscriptions per channel")
        }
        #expect(fixture.storedSubscriptions == 1)
        #expect(fixture.subscribe("foo", durable: "d").error == "")
        #expect(fixture.subscribe("bar").error == "")
    }

    @Test("L3 max_msgs keeps the newest and publishers succeed; the warning comes once")
    func messages() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxMessages = 3 }
        for index in 1...10 { #expect(fixture.publish("\(index)", to: "foo") == nil) }
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [8, 9, 10])
        #expect(fixture.lines.count(containing: "Reached limits for store \"foo\" (msgs=3/3") == 1)
    }

    @Test("L4 max_bytes keeps at least the newest message")
    func bytes() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxBytes = 1 }
        for index in 1...3 { #expect(fixture.publish("\(index)", to: "foo") == nil) }
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [3])
    }

    @Test("L5 age and count together; the sequence goes on")
    func age() throws {
        let fixture = try EngineFixture.connected("me") {
            $0.maxAgeNanoseconds = 5_000_000_000
            $0.maxMessages = 2
        }
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [2, 3])
        fixture.advance(milliseconds: 7_000)
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [])
        fixture.publish(numbers: 4...4, to: "foo")
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [4])
    }

    @Test("L11 a live subscription keeps a channel, a publish prolongs it, an offline durable does not")
    func inactivity() throws {
        let fixture = try EngineFixture.connected("me") { $0.maxInactivityNanoseconds = 1_000_000_000 }
        let durable = fixture.subscribe("foo", durable: "d")
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.engine.channels.count == 1)
        #expect(fixture.unsubscribe("foo", inbox: durable.ackInbox, closing: true) == "")
        fixture.advance(milliseconds: 900)
        fixture.publish(numbers: 1...1, to: "foo")
        fixture.advance(milliseconds: 900)
        #expect(fixture.engine.channels.count == 1)
        fixture.advance(milliseconds: 200)
        #expect(fixture.engine.channels.isEmpty)
        #expect(fixture.lines.count(containing: "Channel \"foo\" has been deleted") == 1)
        fixture.publish(numbers: 1...1, to: "foo")
        #expect(fixture.sequences(to: fixture.subscribe("foo", durable: "d", start: .first).inbox) == [1])
    }

    @Test("L12 inactivity counts from the client's close and from a restart, and the deletion is kept")
    func inactivityOverRestart() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1)) {
            $0.maxInactivityNanoseconds = 1_000_000_000
        }
        _ = fixture.subscribe("foo")
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.close("me") == "")
        fixture.advance(milliseconds: 500)
        try fixture.restart()
        fixture.advance(milliseconds: 900)
        #expect(fixture.engine.channels.count == 1)
        fixture.advance(milliseconds: 200)
        #expect(fixture.engine.channels.isEmpty)
        try fixture.crash()
        #expect(fixture.engine.channels.isEmpty)
        fixture.join("me")
        let subscription = fixture.subscribe("foo", start: .first)
        fixture.publish(numbers: 1...1, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1])
    }

    @Test("L13 a channel is not deleted under a publish or a subscribe that waits for the disk")
    func inactivityRace() throws {
        for subscribes in [false, true] {
            let fixture = try EngineFixture(storage: .disk(seed: 1)) {
                $0.maxInactivityNanoseconds = 1_000_000_000
            }
            fixture.join("me")
            fixture.publish(numbers: 1...1, to: "foo")
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
                fixture.publish("2", to: "foo", guid: "g", ackInbox: ackInbox)
            }
            fixture.clock.now += 1_000_000_000
            fixture.engine.timeReached(fixture.clock.now)
            fixture.settle()
            #expect(fixture.transport.take(ackInbox).count == 1)
            fixture.publish(numbers: 3...3, to: "foo")
            let expected: [UInt64] = subscribes ? [2] : [1, 2, 3]
            let got = subscribes ? inbox : fixture.subscribe("foo", start: .first).inbox
            #expect(fixture.sequences(to: got) == expected)
        }
    }

    @Test(
        "L6 messages that were old already when the broker started expire at once, the others in their time")
    func oldMessages() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1)) {
            $0.maxAgeNanoseconds = 60_000_000_000
        }
        fixture.publish(numbers: 1...3, to: "foo")
        fixture.advance(milliseconds: 40_000)
        fixture.publish(numbers: 4...5, to: "foo")
        fixture.clock.now += 30_000_000_000
        try fixture.restart()
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [4, 5])
        fixture.advance(milliseconds: 40_000)
        let channel = try #require(fixture.log.channels.first)
        let info = try #require(fixture.log.info(of: channel))
        #expect((info.messages, info.firstSequence, info.lastSequence) == (0, 6, 5))
    }

    @Test(
        "L7 a clock that steps back brings nothing back that expired, and time does not go back in a channel")
    func clockStepsBack() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1)) {
            $0.maxAgeNanoseconds = 5_000_000_000
        }
        fixture.publish(numbers: 1...2, to: "foo")
        fixture.advance(milliseconds: 7_000)
        fixture.clock.wallOffset -= 3_600_000_000_000
        let subscription = fixture.subscribe("foo", start: .first)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.publish(numbers: 3...4, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [3, 4])
        try fixture.restart()
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [3, 4])
        let channel = try #require(fixture.log.channels.first)
        #expect(fixture.log.info(of: channel)?.firstSequence == 3)
    }

    @Test(
        "L9 limits that were lowered apply at the next start, and one message is kept",
        arguments: [true, false])
    func lowered(byCount: Bool) throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1))
        fixture.publish(numbers: 1...10, to: "foo")
        try fixture.restart { if byCount { $0.maxMessages = 4 } else { $0.maxBytes = 1 } }
        let expected: [UInt64] = byCount ? [7, 8, 9, 10] : [10]
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == expected)
        fixture.publish("11", to: "foo")
        try fixture.restart { options in
            options.maxMessages = 1_000
            options.maxBytes = 0
        }
        let kept = fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox)
        #expect(kept == (byCount ? [8, 9, 10, 11] : [11]), "what went does not come back")
    }

    @Test("L10 the banner lists the limits in columns, with a star at the defaults")
    func banner() throws {
        let lines = LogLines()
        var options = BrokerOptions()
        func shown() -> [String] {
            lines.all = []
            StartBanner(options: options, version: "1", logger: lines.logger()).ready()
            return lines.all.compactMap { $0.hasPrefix("info: STREAM: ") ? String($0.dropFirst(14)) : nil }
        }
        options.directory = "/data"
        #expect(
            shown() == [
                "Message store is FILE", "Store location: /data", "---------- Store Limits ----------",
                "Channels:                  100 *", "--------- Channels Limits --------",
                "  Subscriptions:          1000 *", "  Messages     :       1000000 *",
                "  Bytes        :     976.56 MB *", "  Age          :     unlimited *",
                "  Inactivity   :     unlimited *", "----------------------------------",
                "Streaming Server is ready",
            ])
        options.maxChannels = 0
        options.maxMessages = 0
        options.maxBytes = 3_000_000
        options.maxAgeNanoseconds = 3_600_000_000_000
        options.maxInactivityNanoseconds = 1_500_000_000
        let changed = shown()
        for line in [
            "Channels:            unlimited", "  Messages     :     unlimited",
            "  Bytes        :       2.86 MB",
            "  Age          :        1h0m0s", "  Inactivity   :          1.5s",
        ] {
            #expect(changed.contains(line), "\(line) in \(changed)")
        }
    }

    @Test("L14 a deletion that fails is tried again after another period, and the channel lives on meanwhile")
    func failedDeletion() throws {
        let fixture = try EngineFixture.connected("me", storage: .disk(seed: 1)) {
            $0.maxInactivityNanoseconds = 1_000_000_000
        }
        fixture.publish("1", to: "foo")
        fixture.disk.onCall { call, _ in call == .sync ? EIO : nil }
        fixture.publish("2", to: "bar")
        for period in 1...3 {
            fixture.advance(milliseconds: 1_000)
            #expect(fixture.lines.count(containing: "Channel \"foo\" could not be deleted") == period)
            #expect(fixture.engine.channels.values.contains { $0.name == Array("foo".utf8) })
        }
        let subscription = fixture.subscribe("foo", start: .first)
        #expect(subscription.error != "", "nothing can be stored, and that is said")
    }
}
