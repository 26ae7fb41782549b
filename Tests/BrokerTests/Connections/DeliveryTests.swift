import Testing

@testable import Broker

@Suite("subscriptions and deliveries", .timeLimit(.minutes(10)))
struct DeliveryTests {
    /// Two clients, spread over loops when there are several.
    private func pair(
        loops: Int = 1, _ options: BrokerOptions = CoreFixture.options(), subscriber: String = "",
        publisher: String = "", _ body: (RawClient, RawClient) async throws -> Void
    ) async throws {
        try await CoreFixture.run(loops: loops, options) { core in
            try await body(
                try await RawClient.ready(port: core.port, subscriber),
                try await RawClient.ready(port: core.port, publisher))
        }
    }

    @Test("wildcards match by token, and the subject delivered is the published one", arguments: [1, 3])
    func wildcards(loops: Int) async throws {
        try await pair(loops: loops) { (subscriber, publisher) async throws in
            subscriber.send(
                "SUB foo.* star\r\nSUB foo.> tail\r\nSUB > all\r\nSUB foo.a literal\r\nSUB *.* two\r\n")
            _ = try await subscriber.untilPong()
            func receivers(of subject: String) async throws -> [String] {
                publisher.send("PUB \(subject) 0\r\n\r\nPUB end 0\r\n\r\n")
                var sids: [String] = []
                while true {
                    let line = try await subscriber.message().line.split(separator: " ")
                    if line[1] == "end" { return sids.sorted() }
                    #expect(line[1] == subject)
                    sids.append(String(line[2]))
                }
            }
            #expect(try await receivers(of: "foo.a") == ["all", "literal", "star", "tail", "two"])
            #expect(try await receivers(of: "foo") == ["all"])
            #expect(try await receivers(of: "foo.a.b") == ["all", "tail"])
            #expect(try await receivers(of: "Foo.a") == ["all", "two"])
            #expect(try await receivers(of: "foo.*") == ["all", "star", "tail", "two"])
            #expect(try await receivers(of: "foo..bar") == [])
            #expect(try await receivers(of: "_INBOX.x") == ["all", "two"])
        }
    }

    @Test("bad subscription subjects are refused and the connection stays")
    func invalidSubjects() async throws {
        try await pair { (client, _) async throws in
            for subject in [".", ".foo", "foo.", "foo..bar", ">.bar", "foo.>.bar"] {
                client.send("SUB \(subject) 1\r\n")
                #expect(try await client.line() == "-ERR 'Invalid Subject'")
            }
            client.send("SUB foo.bar,*,>,baz 1\r\nPUB foo.bar,*,>,baz 0\r\n\r\n")
            #expect(try await client.message().line == "MSG foo.bar,*,>,baz 1 0")
            client.send("UNSUB 1\r\nPUB foo.bar,*,>,baz 0\r\n\r\n")
            #expect(try await client.untilPong() == "")
        }
    }

    @Test("a subscription after a publish to the same subject gets the next one")
    func cachedMiss() async throws {
        try await pair { (subscriber, publisher) async throws in
            publisher.send("PUB a.b 1\r\n1\r\n")
            #expect(try await publisher.untilPong() == "")
            for (subscription, sid) in [("a.b", 1), ("a.*", 2)] {
                subscriber.send("SUB \(subscription) \(sid)\r\n")
                #expect(try await subscriber.untilPong() == "")
                publisher.send("PUB a.b 1\r\n2\r\n")
                #expect(try await subscriber.message().line == "MSG a.b \(sid) 1")
                subscriber.send("UNSUB \(sid)\r\n")
                #expect(try await subscriber.untilPong() == "")
                publisher.send("PUB a.b 1\r\n3\r\n")
                #expect(try await publisher.untilPong() == "")
                #expect(try await subscriber.untilPong() == "")
            }
        }
    }

    @Test("one connection's overlapping subscriptions each get a copy, a repeated sid is ignored")
    func overlaps() async throws {
        try await pair { (client, _) async throws in
            client.send("SUB foo 1\r\nSUB foo 2\r\nSUB * 3\r\nSUB bar 1\r\nPUB foo 0\r\n\r\n")
            var sids: [Substring] = []
            for _ in 0..<3 { sids.append(try await client.message().line.split(separator: " ")[2]) }
            #expect(sids.sorted() == ["1", "2", "3"])
            client.send("UNSUB 3\r\nPUB bar 0\r\n\r\n")
            #expect(try await client.untilPong() == "")
        }
    }

    @Test("UNSUB with a maximum ends after that many since the SUB", arguments: [1, 3])
    func maximum(loops: Int) async throws {
        try await pair(loops: loops) { (subscriber, publisher) async throws in
            func publish(_ count: Int) async throws {
                publisher.send(String(repeating: "PUB foo 0\r\n\r\n", count: count))
                #expect(try await publisher.untilPong() == "")
            }
            func received() async throws -> Int {
                try await subscriber.untilPong().split(separator: "\r\n").count
            }
            subscriber.send("SUB foo 1\r\nUNSUB 1 2\r\n")
            #expect(try await received() == 0)
            try await publish(3)
            for _ in 0..<2 { #expect(try await subscriber.message().line == "MSG foo 1 0") }
            #expect(try await received() == 0)

            subscriber.send("SUB foo 2\r\n")
            #expect(try await received() == 0)
            try await publish(3)
            for _ in 0..<3 { _ = try await subscriber.message() }
            subscriber.send("UNSUB 2 3\r\n")
            #expect(try await received() == 0)
            try await publish(1)
            #expect(try await received() == 0)

            subscriber.send("SUB foo 3\r\nUNSUB 3 5\r\nUNSUB 3\r\n")
            #expect(try await received() == 0)
            try await publish(1)
            #expect(try await received() == 0)

            subscriber.send("SUB foo 4\r\n")
            #expect(try await received() == 0)
            try await publish(4)
            for _ in 0..<4 { _ = try await subscriber.message() }
            subscriber.send("UNSUB 4 10\r\n")
            #expect(try await received() == 0)
            try await publish(9)
            for _ in 0..<6 { _ = try await subscriber.message() }
            #expect(try await received() == 0)
        }
    }

    @Test("SUB, UNSUB and PUB in one write make a one-shot request")
    func oneShot() async throws {
        try await pair { (client, _) async throws in
            client.send("SUB r 1\r\nUNSUB 1 1\r\nPUB r 2\r\nok\r\nPUB r 2\r\nno\r\n")
            #expect(try await client.message().payload.text == "ok")
            #expect(try await client.untilPong() == "")
        }
    }

    @Test("the limit on subscriptions refuses the next one, the others work")
    func subscriptionLimit() async throws {
        try await pair(CoreFixture.options { $0.maxSubscriptions = 2 }) { (client, _) async throws in
            client.send("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPUB b 0\r\n\r\nPUB c 0\r\n\r\n")
            #expect(try await client.line() == "-ERR 'maximum subscriptions exceeded'")
            #expect(try await client.message().line == "MSG b 2 0")
            #expect(try await client.untilPong() == "")
        }
    }

    @Test("a subscription of too many tokens is refused with its subject, and the connection stays")
    func tokenLimit() async throws {
        try await pair(CoreFixture.options { $0.maxSubscriptionTokens = 3 }) { (client, _) async throws in
            client.send(
                "SUB a.b.c 1\r\nSUB a.b.c.d 2\r\nSUB a.*.c.> q 3\r\nPUB a.b.c.d 0\r\n\r\nPUB a.b.c 0\r\n\r\n")
            for subject in ["a.b.c.d", "a.*.c.>"] {
                #expect(
                    try await client.line()
                        == "-ERR 'Permissions Violation for Subscription to \"\(subject)\", too many tokens'")
            }
            #expect(try await client.message().line == "MSG a.b.c 1 0")
            #expect(try await client.untilPong() == "")
        }
    }

    @Test("a thousand subscribers each get every message in order", arguments: [1, 3])
    func fanOut(loops: Int) async throws {
        try await pair(loops: loops) { (subscriber, publisher) async throws in
            subscriber.send((0..<1000).map { "SUB fan \($0)\r\n" }.joined())
            #expect(try await subscriber.untilPong() == "")
            publisher.send((0..<10).map { "PUB fan 1\r\n\($0)\r\n" }.joined())
            var next = [String: Int]()
            for _ in 0..<10_000 {
                let message = try await subscriber.message()
                let sid = String(message.line.split(separator: " ")[2])
                #expect(message.payload.text == String(next[sid, default: 0]))
                next[sid, default: 0] += 1
            }
            #expect(next.count == 1000)
        }
    }

    @Test("no delivery after the PONG that follows UNSUB, while a publisher floods", arguments: [1, 3])
    func unsubscribeRace(loops: Int) async throws {
        try await pair(loops: loops) { (subscriber, publisher) async throws in
            for round in 0..<20 {
                subscriber.send("SUB flood \(round)\r\n")
                _ = try await subscriber.untilPong()
                publisher.send(String(repeating: "PUB flood 1\r\nx\r\n", count: 500))
                subscriber.send("UNSUB \(round)\r\n")
                _ = try await subscriber.untilPong()
                #expect(try await publisher.untilPong() == "")
                #expect(try await subscriber.untilPong() == "")
            }
        }
    }
}

@Suite("headers", .timeLimit(.minutes(10)))
struct HeaderTests {
    @Test("go through unchanged, and are stripped for those who do not take them", arguments: [1, 3])
    func roundTrip(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            let modern = try await RawClient.ready(port: core.port, "\"headers\":true")
            let old = try await RawClient.ready(port: core.port)
            let queued = try await RawClient.ready(port: core.port)
            // With three loops, one on the loop of a receiver and ones on other loops.
            var publishers: [RawClient] = []
            for _ in 0..<loops {
                publishers.append(try await RawClient.ready(port: core.port, "\"headers\":true"))
            }
            for client in [modern, old] { client.send("SUB h 1\r\n") }
            queued.send("SUB h q 1\r\n")
            for client in [modern, old, queued] { #expect(try await client.untilPong() == "") }
            let block = "NATS/1.0\r\nKey: a\r\nkey: b\r\nKey: c\r\nEmpty:\r\n\r\n"
            let size = block.utf8.count
            for publisher in publishers {
                publisher.send("HPUB h r \(size) \(size + 2)\r\n\(block)hi\r\n")
                let message = try await modern.message()
                #expect(message.line == "HMSG h 1 r \(size) \(size + 2)")
                #expect(message.payload.text == block + "hi")
                for client in [old, queued] {
                    let message = try await client.message()
                    #expect(message.line == "MSG h 1 r 2")
                    #expect(message.payload.text == "hi")
                }
                // Other blanks, no payload, no block, a block that is none.
                publisher.send("HPUB  h   \(size)\t\(size) \r\n\(block)\r\n")
                #expect(try await modern.message().line == "HMSG h 1 \(size) \(size)")
                #expect(try await old.message().line == "MSG h 1 0")
                publisher.send("HPUB h 0 2\r\nok\r\n")
                #expect(try await modern.message() == ("MSG h 1 2", Array("ok".utf8)))
                #expect(try await old.message() == ("MSG h 1 2", Array("ok".utf8)))
                publisher.send("HPUB h 3 5\r\nxyzok\r\n")
                #expect(try await modern.message() == ("HMSG h 1 3 5", Array("xyzok".utf8)))
                #expect(try await old.message() == ("MSG h 1 2", Array("ok".utf8)))
                publisher.send("PUB h 2\r\nok\r\n")
                #expect(try await modern.message().line == "MSG h 1 2")
                _ = try await old.message()
                for _ in 0..<4 { _ = try await queued.message() }
            }
        }
    }

    @Test("count against the payload limit, and must fit into the total")
    func limits() async throws {
        try await CoreFixture.run(CoreFixture.options { $0.maxPayload = 20 }) { core in
            let client = try await RawClient.ready(port: core.port, "\"headers\":true")
            client.send("HPUB h 12 21\r\n")
            #expect(try await client.rest() == "-ERR 'Maximum Payload Violation'\r\n")
            let other = try await RawClient.ready(port: core.port, "\"headers\":true")
            other.send("HPUB h 12 11\r\n")
            #expect(try await other.rest() == "")
        }
    }
}

@Suite("queue groups", .timeLimit(.minutes(10)))
struct QueueGroupTests {
    @Test("each message goes to one member, evenly, and once to each group", arguments: [1, 3])
    func spread(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            var members: [RawClient] = []
            for _ in 0..<2 { members.append(try await RawClient.ready(port: core.port)) }
            let both = try await RawClient.ready(port: core.port)
            let publisher = try await RawClient.ready(port: core.port)
            // Different subjects, one group by name; a second group; a plain one.
            members[0].send("SUB w.* q 1\r\n")
            members[1].send("SUB w.x q 1\r\n")
            both.send("SUB w.x other 1\r\nSUB w.x 2\r\n")
            for client in members + [both] { #expect(try await client.untilPong() == "") }
            publisher.send(String(repeating: "PUB w.x 0\r\n\r\n", count: 1000))
            #expect(try await publisher.untilPong() == "")
            for _ in 0..<2000 { _ = try await both.message() }
            var counts: [Int] = []
            for member in members {
                counts.append(try await member.untilPong().split(separator: "\r\n").count)
            }
            #expect(counts.reduce(0, +) == 1000)
            for count in counts { #expect(count > 350 && count < 650, "\(counts)") }
        }
    }

    @Test("a member gets reply and headers as they were sent", arguments: [1, 3])
    func whole(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            let member = try await RawClient.ready(port: core.port, "\"headers\":true")
            member.send("SUB w q 1\r\n")
            #expect(try await member.untilPong() == "")
            let publisher = try await RawClient.ready(port: core.port, "\"headers\":true")
            publisher.send("HPUB w r.1 21 23\r\nNATS/1.0\r\nAb: c d\r\n\r\nhi\r\nPUB w r.2 2\r\nho\r\n")
            let first = try await member.message()
            #expect(first.line == "HMSG w 1 r.1 21 23")
            #expect(first.payload.text == "NATS/1.0\r\nAb: c d\r\n\r\nhi")
            #expect(try await member.message() == ("MSG w 1 r.2 2", Array("ho".utf8)))
        }
    }

    @Test("the publisher with echo off is passed over for another member")
    func echo() async throws {
        try await CoreFixture.run { core in
            let publisher = try await RawClient.ready(port: core.port, "\"echo\":false")
            publisher.send("SUB w q 1\r\nPUB w 0\r\n\r\n")
            #expect(try await publisher.untilPong() == "")
            let other = try await RawClient.ready(port: core.port)
            other.send("SUB w q 1\r\n")
            #expect(try await other.untilPong() == "")
            publisher.send(String(repeating: "PUB w 0\r\n\r\n", count: 50))
            for _ in 0..<50 { _ = try await other.message() }
            #expect(try await publisher.untilPong() == "")
        }
    }

    @Test("after a member's last message the others take over", arguments: [1, 3])
    func maximum(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            let one = try await RawClient.ready(port: core.port)
            let rest = try await RawClient.ready(port: core.port)
            let publisher = try await RawClient.ready(port: core.port)
            one.send("SUB w q 1\r\nUNSUB 1 1\r\n")
            rest.send("SUB w q 1\r\n")
            for client in [one, rest] { #expect(try await client.untilPong() == "") }
            for _ in 0..<100 {
                publisher.send("PUB w 0\r\n\r\n")
                #expect(try await publisher.untilPong() == "")
            }
            let first = try await one.untilPong().split(separator: "\r\n").count
            #expect(first == 1)
            for _ in 0..<(100 - first) { _ = try await rest.message() }
        }
    }

    @Test("members that leave lose nothing for the others", arguments: [1, 3])
    func leaving(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            let leaving = try await RawClient.ready(port: core.port)
            let staying = try await RawClient.ready(port: core.port)
            let publisher = try await RawClient.ready(port: core.port)
            for client in [leaving, staying] {
                client.send("SUB w q 1\r\n")
                #expect(try await client.untilPong() == "")
            }
            leaving.send("UNSUB 1\r\n")
            #expect(try await leaving.untilPong() == "")
            publisher.send(String(repeating: "PUB w 0\r\n\r\n", count: 100))
            for _ in 0..<100 { _ = try await staying.message() }
        }
    }

    @Test("the system's queue name is refused")
    func reserved() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB foo _sys_ 1\r\n")
            #expect(
                try await client.line()
                    == "-ERR 'Permissions Violation for Subscription to \"foo\" using queue \"_sys_\"'")
            client.send("SUB foo q..x 1\r\nPUB foo r 0\r\n\r\n")
            #expect(try await client.message().line == "MSG foo 1 r 0")
        }
    }
}

@Suite("echo, requests, no responders", .timeLimit(.minutes(10)))
struct RequestTests {
    @Test("a request without a responder is answered by the broker, to the requester alone")
    func noResponders() async throws {
        try await CoreFixture.run { core in
            let other = try await RawClient.ready(port: core.port)
            other.send("SUB _INBOX.> 1\r\n")
            #expect(try await other.untilPong() == "")
            let client = try await RawClient.ready(port: core.port, "\"headers\":true,\"no_responders\":true")
            client.send("SUB _INBOX.x.* 7\r\nUNSUB 7 1\r\n")
            for _ in 0..<2 {
                client.send("PUB help _INBOX.x.1 2\r\nhi\r\n")
                let message = try await client.message()
                #expect(message.line == "HMSG _INBOX.x.1 7 36 36")
                #expect(message.payload.text == "NATS/1.0 503\r\nNats-Subject: help\r\n\r\n")
            }
            // Without a reply, and without a subscription for it: nothing.
            client.send("PUB help 2\r\nhi\r\nPUB help elsewhere 2\r\nhi\r\n")
            #expect(try await client.untilPong() == "")
            #expect(try await other.untilPong() == "")
        }
    }

    @Test("the requester's own subscription with echo off does not count")
    func ownSubscription() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(
                port: core.port, "\"headers\":true,\"no_responders\":true,\"echo\":false")
            client.send("SUB help 1\r\nSUB r 2\r\nPUB help r 0\r\n\r\n")
            #expect(try await client.message().line == "HMSG r 2 36 36")
            let old = try await RawClient.ready(port: core.port)
            old.send("SUB r 2\r\nPUB nobody r 0\r\n\r\n")
            #expect(try await old.untilPong() == "")
        }
    }

    @Test("requests and answers cross loops", arguments: [1, 3])
    func reply(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            let responder = try await RawClient.ready(port: core.port)
            let requester = try await RawClient.ready(
                port: core.port, "\"headers\":true,\"no_responders\":true")
            responder.send("SUB help q 1\r\n")
            #expect(try await responder.untilPong() == "")
            requester.send("SUB _INBOX.a.* 1\r\n")
            for number in 0..<100 {
                requester.send("PUB help _INBOX.a.\(number) 1\r\n?\r\n")
                let request = try await responder.message()
                #expect(request.line == "MSG help 1 _INBOX.a.\(number) 1")
                responder.send("PUB _INBOX.a.\(number) 2\r\nok\r\n")
                #expect(try await requester.message().line == "MSG _INBOX.a.\(number) 1 2")
            }
        }
    }

    @Test("of several answers to a request with a subscription for one, the first wins", arguments: [1, 3])
    func firstAnswer(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            var responders: [RawClient] = []
            for _ in 0..<3 {
                let responder = try await RawClient.ready(port: core.port)
                responder.send("SUB help 1\r\n")
                #expect(try await responder.untilPong() == "")
                responders.append(responder)
            }
            let requester = try await RawClient.ready(port: core.port)
            requester.send("SUB _INBOX.old 1\r\nUNSUB 1 1\r\nPUB help _INBOX.old 1\r\n?\r\n")
            for responder in responders { _ = try await responder.message() }
            for (number, responder) in responders.enumerated() {
                responder.send("PUB _INBOX.old 1\r\n\(number)\r\n")
                #expect(try await responder.untilPong() == "")
            }
            #expect(try await requester.message().payload.text == "0")
            #expect(try await requester.untilPong() == "")
        }
    }

    @Test("reserved names are refused with their text, and the connection stays")
    func reserved() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB > 1\r\n")
            for (line, error) in [
                ("PUB foo _R_.x 0", "Publish with Reply of \"_R_.x\""),
                ("PUB foo _GR_.x 0", "Publish with Reply of \"_GR_.x\""),
                ("PUB foo $JS.ACK.a\"b 0", "Publish with Reply of \"$JS.ACK.a\\\"b\""),
                ("PUB _GR_.x 0", "Publish to \"_GR_.x\""), ("PUB $NRG.x 0", "Publish to \"$NRG.x\""),
            ] {
                client.send(line + "\r\n\r\n")
                #expect(try await client.line() == "-ERR 'Permissions Violation for \(error)'")
            }
            client.send("PUB _R_.x 0\r\n\r\nPUB a _R_ 0\r\n\r\n")
            #expect(try await client.message().line == "MSG _R_.x 1 0")
            #expect(try await client.message().line == "MSG a 1 _R_ 0")
        }
    }

    @Test("verbose answers everything but PING, pedantic complains and delivers all the same")
    func verboseAndPedantic() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.connect(port: core.port)
            client.send(
                "CONNECT {\"verbose\":true,\"pedantic\":true,\"headers\":true}\r\nSUB foo.* 1\r\nPING\r\n"
                    + "PUB foo.a 0\r\n\r\nHPUB foo.a 0 0\r\n\r\nSUB .x 2\r\nUNSUB 9\r\nPUB foo.* 0\r\n\r\nPUB x..y 0\r\n\r\n"
            )
            for expected in [
                "+OK", "+OK", "PONG", "+OK", "MSG foo.a 1 0", "", "+OK", "MSG foo.a 1 0", "",
                "-ERR 'Invalid Subject'",
                "+OK", "-ERR 'Invalid Publish Subject'", "+OK", "MSG foo.* 1 0", "",
                "-ERR 'Invalid Publish Subject'",
                "+OK",
            ] {
                #expect(try await client.line() == expected)
            }
        }
    }
}
