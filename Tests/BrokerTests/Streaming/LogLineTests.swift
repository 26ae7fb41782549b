import BrokerProtocol
import Testing

@testable import Broker

@Suite("Streaming: debug and trace lines (5.6)")
struct LogLineTests {
    /// The text of the lines that a client's name begins, in order.
    private func lines(_ fixture: EngineFixture, of id: String = "me") -> [String] {
        let all = fixture.lines.all
        fixture.lines.all = []
        return all.compactMap { line in
            line.firstRange(of: "STREAM: [Client:\(id)] ").map { String(line[$0.upperBound...]) }
        }
    }

    @Test("a message is followed from its publisher to its acknowledgement")
    func message() throws {
        let fixture = try EngineFixture(logLevel: .trace)
        fixture.join("me")
        let subscription = fixture.subscribe("foo", ackWait: 1, inbox: "_INBOX.i")
        #expect(
            lines(fixture) == [
                "Connected (Inbox=_HB.me)",
                "Started new subscription, subject=foo, inbox=_INBOX.i, subid=1, sending new-only, seq=1",
            ])
        fixture.publish("a", to: "foo", guid: "G1")
        #expect(
            lines(fixture) == [
                "Received message from publisher subj=foo guid=G1",
                "Delivering msg to subid=1, subject=foo, seq=1", "Acking Publisher subj=foo guid=G1",
            ])
        fixture.advance(milliseconds: 1_000)
        #expect(lines(fixture) == ["Redelivering msg to subid=1, subject=foo, seq=1"])
        fixture.acknowledge(1, on: "foo", at: subscription.ackInbox)
        #expect(lines(fixture) == ["Processing ack for subid=1, subject=foo, seq=1"])
    }

    @Test("an acknowledgement names the client that published, of several")
    func publishers() throws {
        let fixture = try EngineFixture(storage: .disk(seed: 1), logLevel: .trace)
        for id in ["a", "b"] { fixture.join(id) }
        for (id, guid) in [("a", "1"), ("b", "2"), ("a", "3")] {
            fixture.publish("x", to: "foo", by: id, guid: guid, ackInbox: "")
        }
        fixture.settle()
        #expect(fixture.lines.count(containing: "[Client:a] Acking Publisher subj=foo guid=1") == 1)
        #expect(fixture.lines.count(containing: "[Client:b] Acking Publisher subj=foo guid=2") == 1)
        #expect(fixture.lines.count(containing: "[Client:a] Acking Publisher subj=foo guid=3") == 1)
    }

    @Test("where a subscription starts is said")
    func starts() throws {
        let fixture = try EngineFixture(logLevel: .debug)
        fixture.join("me")
        fixture.publish(numbers: 1...4, to: "foo")
        _ = lines(fixture)
        for (start, expected) in [
            (StartPosition.newOnly, "new-only, seq=5"), (.lastReceived, "last message, seq=4"),
            (.sequenceStart, "from sequence, asked_seq=2 actual_seq=2"), (.first, "from beginning, seq=1"),
            (.timeDeltaStart, "from time time='2026-01-01T00:00:01Z' seq=1"),
        ] {
            _ = fixture.subscribe("foo", start: start, sequence: 2)
            let line = lines(fixture).first ?? ""
            #expect(line.hasSuffix(", sending \(expected)"), "\(line)")
        }
    }

    @Test("what becomes of subscriptions and clients is said in the original's words")
    func lifecycle() throws {
        let fixture = try EngineFixture(logLevel: .debug) {
            $0.heartbeatIntervalNanoseconds = 1_000_000_000
            $0.heartbeatTimeoutNanoseconds = 500_000_000
        }
        fixture.join("me")
        let durable = fixture.subscribe("foo", durable: "d", ackWait: 1, inbox: "_INBOX.i")
        fixture.publish("1", to: "foo")
        #expect(fixture.unsubscribe("foo", inbox: durable.ackInbox, closing: true) == "")
        _ = lines(fixture)
        let again = fixture.subscribe("foo", durable: "d", ackWait: 1, inbox: "_INBOX.i")
        let kind = "durable subscription, subject=foo, inbox=_INBOX.i, durable=d, subid=1"
        #expect(lines(fixture) == ["Resumed \(kind)", "Redelivering to subid=1, durable=d"])
        fixture.hang("me")
        fixture.advance(milliseconds: 3_000)
        #expect(lines(fixture).contains("Skipping redelivery to subid=1 due to missed client heartbeat"))
        fixture.living.insert("me")
        fixture.advance(milliseconds: 1_000)
        #expect(fixture.unsubscribe("foo", inbox: again.ackInbox) == "")
        #expect(lines(fixture).last == "Removed \(kind)")
        let members = (1...2).map { fixture.subscribe("foo", queue: "q", inbox: "_INBOX.q\($0)") }
        #expect(fixture.unsubscribe("foo", inbox: members[1].ackInbox) == "")
        #expect(
            lines(fixture).suffix(2) == [
                "Added member to queue subscription, subject=foo, inbox=_INBOX.q2, queue=q, subid=3",
                "Removed member from queue subscription, subject=foo, inbox=_INBOX.q2, queue=q, subid=3",
            ])
        fixture.kill("me")
        #expect(fixture.join("me", connection: "new") == "")
        #expect(
            lines(fixture).filter { !$0.contains("subscription") } == [
                "Closed (Inbox=_HB.me)", "Replaced old client (Inbox=_HB.me.1)", "Connected (Inbox=_HB.me.1)",
            ])
        #expect(fixture.connect("me").error.isEmpty == false)
        #expect(lines(fixture) == ["Connect failed; already connected"])
    }
}
