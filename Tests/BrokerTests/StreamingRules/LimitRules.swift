import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: limits (10.8)")
struct LimitRules {
    private func fixture(
        storage: EngineFixture.Storage = .memory, _ change: (inout BrokerOptions) -> Void = { _ in }
    ) throws -> EngineFixture {
        let fixture = try EngineFixture(storage: storage, change)
        fixture.join("me")
        return fixture
    }

    @Test("L1 one channel too many is refused to publishers and subscribers; 0 is unlimited")
    func channels() throws {
        let one = try fixture { $0.maxChannels = 1 }
        #expect(one.attempt("a", to: "foo") == nil)
        #expect(one.attempt("a", to: "bar") == "too many channels")
        #expect(one.subscribe("bar").error == "too many channels")
        #expect(one.subscribe("foo").error == "")
        #expect(one.attempt("a", to: "foo") == nil)
        let unlimited = try fixture { $0.maxChannels = 0 }
        for index in 0..<300 { #expect(unlimited.attempt("a", to: "c\(index)") == nil) }
    }

    @Test("L2 one subscription too many of any kind is refused; an offline durable counts and may resume")
    func subscriptions() throws {
        let fixture = try fixture { $0.maxSubscriptionsPerChannel = 1 }
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
        let fixture = try fixture { $0.maxMessages = 3 }
        for index in 1...10 { #expect(fixture.attempt("\(index)", to: "foo") == nil) }
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [8, 9, 10])
        #expect(fixture.lines.count(containing: "Reached limits for store \"foo\" (msgs=3/3") == 1)
    }

    @Test("L4 max_bytes keeps at least the newest message")
    func bytes() throws {
        let fixture = try fixture { $0.maxBytes = 1 }
        for index in 1...3 { #expect(fixture.attempt("\(index)", to: "foo") == nil) }
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [3])
    }

    @Test("L5 age and count together; the sequence goes on")
    func age() throws {
        let fixture = try fixture {
            $0.maxAgeNanoseconds = 5_000_000_000
            $0.maxMessages = 2
        }
        fixture.fill("foo", 1...3)
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [2, 3])
        fixture.advance(milliseconds: 7_000)
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [])
        fixture.fill("foo", 4...4)
        #expect(fixture.sequences(to: fixture.subscribe("foo", start: .first).inbox) == [4])
    }

    @Test("L11 a live subscription keeps a channel, a publish prolongs it, an offline durable does not")
    func inactivity() throws {
        let fixture = try fixture { $0.maxInactivityNanoseconds = 1_000_000_000 }
        let durable = fixture.subscribe("foo", durable: "d")
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.engine.channels.count == 1)
        #expect(fixture.unsubscribe("foo", inbox: durable.ackInbox, closing: true) == "")
        fixture.advance(milliseconds: 900)
        fixture.fill("foo", 1...1)
        fixture.advance(milliseconds: 900)
        #expect(fixture.engine.channels.count == 1)
        fixture.advance(milliseconds: 200)
        #expect(fixture.engine.channels.isEmpty)
        #expect(fixture.lines.count(containing: "Channel \"foo\" has been deleted") == 1)
        fixture.fill("foo", 1...1)
        #expect(fixture.sequences(to: fixture.subscribe("foo", durable: "d", start: .first).inbox) == [1])
    }

    @Test("L12 inactivity counts from the client's close and from a restart, and the deletion is kept")
    func inactivityOverRestart() throws {
        let fixture = try fixture(storage: .disk(seed: 1)) { $0.maxInactivityNanoseconds = 1_000_000_000 }
        _ = fixture.subscribe("foo")
        fixture.fill("foo", 1...3)
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
        fixture.fill("foo", 1...1)
        #expect(fixture.sequences(to: subscription.inbox) == [1])
    }
}
