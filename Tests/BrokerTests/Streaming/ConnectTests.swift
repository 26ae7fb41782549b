import BrokerLog
import BrokerProtocol
import Glibc
import Testing

@testable import Broker

@Suite("Streaming: connect, heartbeats and pings (10.1)")
struct ConnectTests {
    private let registered = "stan: clientID already registered"

    /// Heartbeats every 5 s that may take 5 s, and 2 may fail.
    private func impatient() throws -> EngineFixture {
        try EngineFixture { options in
            options.heartbeatIntervalNanoseconds = 5_000_000_000
            options.heartbeatTimeoutNanoseconds = 5_000_000_000
            options.maxFailedHeartbeats = 2
        }
    }

    private func error(_ response: ConnectResponse) -> String {
        String(decoding: response.error, as: UTF8.self)
    }

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

    @Test("C2 a client of protocol 0 gets the subjects, no ping fields, and protocol 1")
    func protocolZero() throws {
        let response = try EngineFixture().connect("me", protocolVersion: 0)
        #expect(error(response) == "")
        #expect(response.subscribeRequests == Array("_STAN.sub.vc".utf8))
        #expect(response.pingRequests.isEmpty)
        #expect(response.pingIntervalSeconds == 0)
        #expect(response.pingMaxOut == 0)
        #expect(response.protocolVersion == 1)
    }

    @Test("C3 an undecodable connect and one without heartbeat inbox are refused")
    func invalidConnect() throws {
        let fixture = try EngineFixture()
        let text = "stan: invalid connection request"
        let garbage = try #require(fixture.request([0xFF, 0xFF, 0xFF], to: "_STAN.discover.vc"))
        #expect(EngineFixture.connectError(garbage) == text)
        #expect(error(fixture.connect("me", heartbeatInbox: "")) == text)
        #expect(error(fixture.connect("!", heartbeatInbox: "")) == text, "checked before the id")
        #expect(fixture.engine.clients.isEmpty)
    }

    @Test("C4 only letters, digits, - and _ make a client id")
    func clientIDs() throws {
        let fixture = try EngineFixture()
        for id in ["", "a b", "a:b", "a,b", "a.b", "!@#"] {
            let text = error(fixture.connect(id, heartbeatInbox: "_HB.x"))
            #expect(
                text == "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed", "\(id)"
            )
        }
        for id in ["id", "id_x", "id-x"] { #expect(fixture.join(id) == "") }
        #expect(fixture.engine.clients.count == 3)
    }

    @Test("C5 a second connect with the id of a living client is refused")
    func duplicate() throws {
        let fixture = try EngineFixture()
        #expect(fixture.join("me") == "")
        #expect(error(fixture.connect("me", connection: "other")) == registered)
        #expect(fixture.engine.clients.count == 1)
        #expect(fixture.ping(connection: "conn-me") == "")
    }

    @Test("C6 ten clients that were cut off come back at once with their ids and new inboxes")
    func massReconnect() throws {
        let fixture = try EngineFixture()
        for index in 0..<10 { fixture.join("c\(index)") }
        for index in 0..<10 { fixture.kill("c\(index)") }
        for index in 0..<10 {
            #expect(fixture.join("c\(index)", connection: "n\(index)", heartbeatInbox: "_HB.n\(index)") == "")
        }
        #expect(fixture.engine.clients.count == 10)
        let inboxes = Set(
            fixture.engine.clients.values.map { String(decoding: $0.record.heartbeatInbox, as: UTF8.self) })
        #expect(inboxes == Set((0..<10).map { "_HB.n\($0)" }))
    }

    @Test("C7 C8 a client that hangs has 500 ms; meanwhile its id is refused and others are not held up")
    func duplicateCheck() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        fixture.hang("me")
        let reply = fixture.inbox()
        fixture.send(
            fixture.connectPayload("me", connection: "new", heartbeatInbox: "_HB.me"),
            to: "_STAN.discover.vc",
            reply: reply)
        fixture.settle()
        #expect(error(fixture.connect("me", connection: "third", listens: false)) == registered)
        #expect(fixture.join("other") == "")
        fixture.advance(milliseconds: 499)
        #expect(fixture.transport.take(reply).isEmpty)
        fixture.advance(milliseconds: 1)
        let answer = try #require(fixture.transport.take(reply).first)
        #expect(EngineFixture.connectError(answer.payload) == "")
        #expect(fixture.ping(connection: "new") == "")
        #expect(fixture.ping(connection: "conn-me") != "")
        #expect(fixture.engine.clients.count == 2)
    }

    @Test("C8 C18 a dead client is replaced at once, and its connection id is worth nothing any more")
    func replacement() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        _ = fixture.subscribe("foo")
        fixture.kill("me")
        #expect(fixture.join("me", connection: "new", heartbeatInbox: "_HB.new") == "")
        #expect(fixture.engine.subscriptions.isEmpty)
        #expect(fixture.ping(connection: "conn-me") == "client has been replaced or is no longer registered")
        #expect(fixture.publish("a", to: "foo", connection: "conn-me") == "stan: invalid publish request")
        #expect(fixture.publish("a", to: "foo", connection: "new") == nil)
    }

    @Test("C10 a client that answers its heartbeats stays")
    func livingClient() throws {
        let fixture = try impatient()
        fixture.join("me")
        fixture.advance(milliseconds: 100_000)
        #expect(fixture.engine.clients.count == 1)
    }

    @Test("C11 a hanging client goes after 30 s with its subscription, a dead one after 15 s")
    func deadClients() throws {
        let fixture = try impatient()
        fixture.join("hangs")
        let subscription = fixture.subscribe("foo", by: "hangs")
        fixture.hang("hangs")
        fixture.advance(milliseconds: 29_999)
        #expect(fixture.engine.clients.count == 1)
        fixture.advance(milliseconds: 1)
        #expect(fixture.engine.clients.isEmpty)
        #expect(fixture.lines.count(containing: "[Client:hangs] Timed out on heartbeats") == 1)
        fixture.join("me")
        fixture.publish("a", to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.kill("me")
        fixture.advance(milliseconds: 14_999)
        #expect(fixture.engine.clients.count == 1)
        fixture.advance(milliseconds: 1)
        #expect(fixture.engine.clients.isEmpty)
    }

    @Test("one answer sets the count of failed heartbeats back to none")
    func failuresAreInARow() throws {
        let fixture = try impatient()
        fixture.join("me")
        for _ in 0..<3 {
            fixture.hang("me")
            fixture.advance(milliseconds: 24_000)
            fixture.living.insert("me")
            fixture.settle()
            fixture.advance(milliseconds: 6_000)
        }
        #expect(fixture.engine.clients.count == 1)
    }

    @Test("C12 a heartbeat without answer yet holds nothing up")
    func heartbeatInProgress() throws {
        let fixture = try impatient()
        fixture.join("me")
        fixture.hang("me")
        fixture.advance(milliseconds: 5_000)
        let subscription = fixture.subscribe("foo")
        #expect(subscription.error == "")
        #expect(fixture.publish("a", to: "foo") == nil)
        #expect(fixture.sequences(to: subscription.inbox) == [1])
        #expect(fixture.close("me") == "")
    }

    @Test("C15 a ping is answered with nothing, or that the client was replaced")
    func pings() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        #expect(fixture.ping(connection: "conn-me") == "")
        #expect(fixture.ping(connection: "wrong") == "client has been replaced or is no longer registered")
    }

    @Test("C16 R7 failed heartbeats stop redelivery, and a ping lets it go on")
    func pingRevives() throws {
        let fixture = try impatient()
        fixture.join("me")
        let subscription = fixture.subscribe("foo", ackWait: 1)
        fixture.publish("a", to: "foo")
        fixture.hang("me")
        fixture.advance(milliseconds: 10_100)
        #expect(!fixture.sequences(to: subscription.inbox).isEmpty)
        fixture.advance(milliseconds: 3_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        #expect(fixture.publish("b", to: "foo") == nil)
        #expect(fixture.sequences(to: subscription.inbox) == [2], "new messages are still sent")
        fixture.living.insert("me")
        #expect(fixture.ping(connection: "conn-me") == "")
        fixture.advance(milliseconds: 2)
        #expect(fixture.engine.clients.values.first?.failedHeartbeats == 0)
        fixture.advance(milliseconds: 1_100)
        #expect(Set(fixture.sequences(to: subscription.inbox)) == [1, 2])
    }

    @Test("C17 an empty or undecodable ping has no answer")
    func emptyPing() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        #expect(fixture.request([], to: "_STAN.discover.vc.pings") == nil)
        #expect(fixture.request([0xFF, 0xFF], to: "_STAN.discover.vc.pings") == nil)
    }

    @Test("C22 a durable that resumes on a new connection is no longer held to have failed")
    func resumeClearsFailure() throws {
        let fixture = try impatient()
        fixture.join("me")
        _ = fixture.subscribe("foo", durable: "d", ackWait: 1)
        fixture.hang("me")
        fixture.publish("a", to: "foo")
        fixture.advance(milliseconds: 11_000)
        fixture.kill("me")
        fixture.join("me", connection: "new", heartbeatInbox: "_HB.new")
        let resumed = fixture.subscribe("foo", durable: "d", ackWait: 1)
        #expect(fixture.sequences(to: resumed.inbox) == [1])
        fixture.advance(milliseconds: 1_100)
        #expect(fixture.sequences(to: resumed.inbox) == [1])
    }

    @Test("C24 C26 a close of an unknown client, or of nobody, is refused")
    func invalidClose() throws {
        let fixture = try EngineFixture()
        #expect(fixture.close("nobody") == "stan: unknown clientID")
        let answer = try #require(fixture.request([0xFF, 0xFF], to: "_STAN.close.vc"))
        let text = answer.withUnsafeBytes { CloseResponse(decoding: $0)?.error } ?? []
        #expect(String(decoding: text, as: UTF8.self) == "stan: invalid close request")
    }

    @Test("C25 a close takes the client and its plain subscriptions away")
    func close() throws {
        let fixture = try EngineFixture()
        fixture.join("me")
        fixture.join("other")
        let subscription = fixture.subscribe("foo")
        #expect(fixture.close("me") == "")
        #expect(fixture.engine.clients.count == 1)
        #expect(fixture.engine.subscriptions.isEmpty)
        fixture.publish("a", to: "foo", by: "other")
        #expect(fixture.sequences(to: subscription.inbox) == [])
        #expect(fixture.close("me") == "stan: unknown clientID")
    }

    @Test("C23 a connect that cannot be stored is told so and registers nobody; after a restart it works")
    func storeFailure() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1))
        fixture.disk.onCall { call, _ in call == .sync ? EIO : nil }
        let refused = error(fixture.connect("me"))
        #expect(refused.contains("sync"), "\(refused)")
        #expect(fixture.engine.clients.isEmpty)
        #expect(error(fixture.connect("me")) == refused, "the log is closed: the same again")
        fixture.disk.onCall(nil)
        try fixture.crash()
        #expect(fixture.engine.clients.isEmpty)
        #expect(error(fixture.connect("me")) == "")
    }
}
