import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: duplicate checks and heartbeat inboxes (10.1)")
struct DuplicateCheckTests {
    private let registered = "stan: clientID already registered"

    /// Another process asks for the id of `me`; the tick does not end.
    private func challenge(_ fixture: EngineFixture, connection: String, reply: String) {
        fixture.send(
            fixture.connectPayload("me", connection: connection, heartbeatInbox: "_HB.\(connection)"),
            to: "_STAN.discover.vc", reply: reply)
    }

    /// What the connect request that is answered at `reply` was told; nil without an answer.
    private func answer(_ fixture: EngineFixture, at reply: String) -> String? {
        fixture.transport.take(reply).first.map { EngineFixture.connectError($0.payload) }
    }

    @Test("C5 the timer of a check that was answered does not end the next one")
    func staleTimer() throws {
        let fixture = try EngineFixture.connected("me")
        let serial = try #require(fixture.engine.client(withID: Array("me".utf8))?.serial)
        #expect(fixture.join("me", connection: "second") == registered)
        fixture.clock.now += 499_000_000
        let reply = fixture.inbox()
        challenge(fixture, connection: "third", reply: reply)
        fixture.clock.now += 1_000_000
        fixture.engine.timeReached(fixture.clock.now)
        #expect(fixture.engine.clients.keys.sorted() == [serial])
        #expect(fixture.transport.waiting(at: reply) == 0)
        fixture.settle()
        #expect(answer(fixture, at: reply) == registered)
        #expect(fixture.ping(connection: "conn-me") == "")
    }

    @Test("a second answer to an earlier check is none to the one on its way")
    func staleAnswer() throws {
        let fixture = try EngineFixture.connected("me")
        fixture.hang("me")
        let (first, second) = (fixture.inbox(), fixture.inbox())
        challenge(fixture, connection: "second", reply: first)
        let question = try #require(fixture.transport.take("_HB.me").first)
        fixture.send([], to: question.reply)
        #expect(answer(fixture, at: first) == registered)
        challenge(fixture, connection: "third", reply: second)
        fixture.send([], to: question.reply)
        fixture.advance(milliseconds: 499)
        #expect(fixture.transport.waiting(at: second) == 0)
        fixture.advance(milliseconds: 1)
        #expect(answer(fixture, at: second) == "")
    }

    @Test(
        "C3 a heartbeat inbox that nobody could publish to is refused",
        arguments: [
            "_HB.a\r\nMSG b 1 0\r\n", "_HB.a\n", "_HB a", "_HB.\ta", "_HB..a", ".a", "_HB.", "_HB.*", "_HB.>",
        ])
    func heartbeatInbox(_ inbox: String) throws {
        let fixture = try EngineFixture()
        let response = fixture.connect("me", heartbeatInbox: inbox, listens: false)
        #expect(String(decoding: response.error, as: UTF8.self) == "stan: invalid connection request")
        #expect(fixture.engine.clients.isEmpty)
    }

    @Test("a recovered client with such an inbox hears nothing: it is replaced at once, or times out")
    func recoveredInbox() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1)) {
            $0.heartbeatIntervalNanoseconds = 1_000_000_000
            $0.maxFailedHeartbeats = 2
        }
        for id in ["one", "two"] {
            var record = ClientRecord()
            record.id = Array(id.utf8)
            record.heartbeatInbox = Array("_HB.a\r\nMSG b 1 0\r\n".utf8)
            fixture.engine.journal(.clientAdded(record))
        }
        fixture.settle()
        try fixture.crash()
        #expect(fixture.engine.clients.count == 2)
        #expect(fixture.join("one") == "")
        fixture.advance(milliseconds: 5_000)
        #expect(fixture.engine.clients.values.map(\.record.heartbeatInbox) == [Array("_HB.one".utf8)])
    }
}
