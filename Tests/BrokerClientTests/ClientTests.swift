import BrokerClient
import Testing

@Suite("A client against a scripted server", .timeLimit(.minutes(10)))
struct ClientTests {
    /// Where nobody listens. The port of a server that was stopped would not do: another test may have it by now.
    static let nobody = "nats://127.0.0.1:1"

    func options(_ server: ScriptedServer) throws -> ClientOptions { try options(server.url) }

    /// Options of a client that comes back quickly, and that a slow machine does not make give up.
    func options(_ urls: String...) throws -> ClientOptions {
        var options = try ClientOptions(urls.joined(separator: ","))
        options.connectTimeout = .seconds(300)
        options.reconnect.firstDelay = .milliseconds(1)
        options.reconnect.maxDelay = .milliseconds(5)
        return options
    }

    /// A client and the server's side of its connection.
    func pair(
        _ change: (inout ClientOptions) -> Void = { _ in }, info: String = ScriptedServer.info()
    ) async throws -> (server: ScriptedServer, client: Client, connection: ScriptedConnection) {
        let server = try await ScriptedServer()
        var options = try options(server)
        change(&options)
        async let connection = server.greeted(info: info)
        let client = try await Client.connect(options)
        return (server, client, try await connection)
    }

    @Test("greets with its credentials, and says what it understands")
    func greeting() async throws {
        let (server, client, connection) = try await pair {
            $0.user = "me"
            $0.password = "p\"w"
            $0.name = "tester"
            $0.echo = false
        }
        let line = connection.connectLine
        for part in [
            #""user":"me""#, #""pass":"p\"w""#, #""name":"tester""#, #""echo":false"#, #""headers":true"#,
            #""no_responders":true"#, #""verbose":false"#, #""protocol":1"#,
        ] {
            #expect(line.contains(part), "\(line)")
        }
        #expect(await client.serverInfo().serverID == "S")
        await client.close()
        await server.stop()
    }

    @Test("publishes what was given, and flush waits for the server")
    func publish() async throws {
        let (server, client, connection) = try await pair()
        try await client.publish("a.b", "hello")
        try await client.publish("a.b", [], reply: "r", headers: ["K": "v"])
        async let flushed: Void = client.flush()
        #expect(try await connection.line() == "PUB a.b 5")
        #expect(try await connection.line() == "hello")
        #expect(try await connection.line() == "HPUB a.b r 18 18")
        for expected in ["NATS/1.0", "K: v", "", "", "PING"] {
            #expect(try await connection.line() == expected)
        }
        connection.send("PONG\r\n")
        try await flushed
        await client.close()
        await server.stop()
    }

    @Test("a bad subject, reply, header or size never reaches the wire")
    func refused() async throws {
        let (server, client, connection) = try await pair()
        for subject in ["", "a b", "a..b", ".a", "a.", "a.*", ">", "a\r\nPUB b 0", "a\u{0C}b"] {
            await #expect(throws: ClientError.invalidSubject(subject)) {
                try await client.publish(subject, "x")
            }
        }
        await #expect(throws: ClientError.invalidSubject("r 1")) {
            try await client.publish("a", "x", reply: "r 1")
        }
        await #expect(throws: ClientError.invalidHeader("a:")) {
            try await client.publish("a", "x", headers: ["a:": "b"])
        }
        await #expect(throws: ClientError.payloadTooLarge(size: 1025, limit: 1024)) {
            try await client.publish("a", [UInt8](repeating: 0, count: 1025))
        }
        await #expect(throws: ClientError.invalidSubject("a.>.b")) { try await client.subscribe("a.>.b") }
        await #expect(throws: ClientError.invalidQueueGroup("q q")) {
            try await client.subscribe("a", queueGroup: "q q")
        }
        try await client.publish("fine", "")
        #expect(try await connection.line() == "PUB fine 0")
        await client.close()
        await server.stop()
    }

    @Test("a subscription gets its messages in order, and ends when it is unsubscribed")
    func subscribe() async throws {
        let (server, client, connection) = try await pair()
        let subscription = try await client.subscribe("a.*", queueGroup: "q")
        #expect(try await connection.line() == "SUB a.* q 1")
        connection.message("a.x", sid: "1", reply: "back", "one")
        connection.send("HMSG a.y 1 18 21\r\nNATS/1.0\r\nK: v\r\n\r\ntwo\r\n")
        connection.message("a.z", sid: "99", "nobody's")
        var iterator = subscription.makeAsyncIterator()
        let first = try await iterator.next()
        #expect(first?.text == "one")
        #expect(first?.reply == "back")
        let second = try await iterator.next()
        #expect(second?.subject == "a.y")
        #expect(second?.headers["K"] == "v")
        await subscription.unsubscribe()
        #expect(try await connection.line() == "UNSUB 1")
        #expect(try await iterator.next() == nil)
        await client.close()
        await server.stop()
    }

    @Test("unsubscribing after n messages counts them here too")
    func autoUnsubscribe() async throws {
        let (server, client, connection) = try await pair()
        let subscription = try await client.subscribe("a")
        await subscription.unsubscribe(after: 2)
        #expect(try await connection.line() == "SUB a 1")
        #expect(try await connection.line() == "UNSUB 1 2")
        for text in ["1", "2", "3"] { connection.message("a", sid: "1", text) }
        var received: [String] = []
        for try await message in subscription { received.append(message.text) }
        #expect(received == ["1", "2"])
        await client.close()
        await server.stop()
    }

    @Test("dropping a subscription unsubscribes it")
    func dropped() async throws {
        let (server, client, connection) = try await pair()
        do {
            let subscription = try await client.subscribe("a")
            #expect(subscription.subject == "a")
        }
        #expect(try await connection.line() == "SUB a 1")
        #expect(try await connection.line() == "UNSUB 1")
        await client.close()
        await server.stop()
    }

    @Test("a request gets its own answer, no responders is an error, and silence a timeout")
    func requests() async throws {
        let (server, client, connection) = try await pair()
        async let answer = client.request("svc", "q", timeout: .seconds(30))
        let subscribe = try await connection.line("SUB _INBOX.")
        #expect(subscribe.hasSuffix(".* 1"))
        let inbox = try #require(
            try await connection.line("PUB svc ").split(separator: " ").dropFirst(2).first)
        _ = try await connection.line("q")
        connection.message(inbox + "0", sid: "1", "not yours")
        connection.message(String(inbox), sid: "1", "mine")
        #expect(try await answer.text == "mine")

        let nobody = Task { try await client.request("svc", "q", timeout: .seconds(30)) }
        let second = try #require(
            try await connection.line("PUB svc ").split(separator: " ").dropFirst(2).first)
        connection.send("HMSG \(second) 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
        await #expect(throws: ClientError.noResponders) { try await nobody.value }
        await #expect(throws: ClientError.timeout) {
            try await client.request("svc", "q", timeout: .milliseconds(1))
        }

        let cancelled = Task { try await client.request("svc", "q", timeout: .seconds(30)) }
        cancelled.cancel()
        await #expect(throws: ClientError.cancelled) { try await cancelled.value }
        await client.close()
        await server.stop()
    }

    @Test("a request's time limit covers the wait for room in the client's buffer")
    func requestWithoutRoom() async throws {
        let (server, client, connection) = try await pair { $0.maxPendingBytes = 1 }
        var events = client.events().makeAsyncIterator()
        await connection.close()
        _ = await events.next()
        // Nobody greets the next connection: this fills the buffer for good.
        try await client.publish("a", "x")
        await #expect(throws: ClientError.timeout) {
            try await client.request("svc", "q", timeout: .milliseconds(1))
        }
        await client.close()
        await server.stop()
    }

    @Test("answers the server's PING")
    func pong() async throws {
        let (server, client, connection) = try await pair()
        connection.send("PING\r\n")
        #expect(try await connection.line("PONG") == "PONG")
        await client.close()
        await server.stop()
    }

    @Test(
        "after a loss it connects again, subscribes again, and sends what was published meanwhile, in this order"
    )
    func reconnect() async throws {
        let (server, client, connection) = try await pair()
        var events = client.events().makeAsyncIterator()
        let kept = try await client.subscribe("kept")
        let counted = try await client.subscribe("counted")
        await counted.unsubscribe(after: 3)
        let gone = try await client.subscribe("gone")
        await gone.unsubscribe()
        for _ in 0..<5 { _ = try await connection.line() }
        connection.message("counted", sid: "2", "1")
        var iterator = counted.makeAsyncIterator()
        #expect(try await iterator.next()?.text == "1")

        let lost = Task { try await client.flush() }
        #expect(try await connection.line() == "PING")
        await connection.close()
        await #expect(throws: ClientError.connectionLost) { try await lost.value }
        guard case .disconnected = await events.next() else {
            Issue.record("a loss is an event")
            return
        }
        try await client.publish("meanwhile", "1")
        let second = try await server.greeted()
        #expect(try await second.line() == "SUB kept 1")
        #expect(try await second.line() == "SUB counted 2")
        #expect(try await second.line() == "UNSUB 2 2")
        #expect(try await second.line() == "PUB meanwhile 1")
        #expect(await events.next() == .reconnected(server: "127.0.0.1:\(server.port)"))
        second.message("kept", sid: "1", "still here")
        var keptMessages = kept.makeAsyncIterator()
        #expect(try await keptMessages.next()?.text == "still here")
        await client.close()
        await server.stop()
    }

    @Test("a flush that is asked for while there is no connection waits for the next one")
    func flushWhileDisconnected() async throws {
        let (server, client, connection) = try await pair()
        var events = client.events().makeAsyncIterator()
        await connection.close()
        _ = await events.next()
        async let flushed: Void = client.flush()
        let second = try await server.greeted()
        #expect(try await second.line() == "PING")
        second.send("PONG\r\n")
        try await flushed
        await client.close()
        await server.stop()
    }

    @Test("the first connect tells why it failed")
    func firstConnect() async throws {
        let server = try await ScriptedServer()
        let address = "127.0.0.1:\(server.port)"
        let refused = Task { try await Client.connect(options(server)) }
        let connection = try await server.connection()
        connection.send("INFO \(ScriptedServer.info())\r\n")
        _ = try await connection.line("CONNECT")
        connection.send("-ERR 'Authorization Violation'\r\n")
        await connection.close()
        await #expect(throws: ClientError.authorization("Authorization Violation")) {
            try await refused.value
        }

        let tls = Task { try await Client.connect(options(server)) }
        try await server.connection().send("INFO \(ScriptedServer.info(",\"tls_required\":true"))\r\n")
        await #expect(throws: ClientError.tlsRequired(server: address)) { try await tls.value }

        let nonsense = Task { try await Client.connect(options(server)) }
        try await server.connection().send("HTTP/1.1 400 Bad Request\r\n\r\n")
        await #expect(throws: ClientError.self) { try await nonsense.value }
        await server.stop()
        let error = await #expect(throws: ClientError.self) {
            try await Client.connect(options(Self.nobody))
        }
        #expect(error == .noServer(["127.0.0.1:1: Connection refused"]))
    }

    @Test("a second server serves when the first does not answer")
    func failover() async throws {
        let server = try await ScriptedServer()
        var options = try options(Self.nobody, server.url)
        options.reconnect.maxRounds = 0
        async let greeted = server.greeted()
        let client = try await Client.connect(options)
        let connection = try await greeted
        try await client.publish("served", "1")
        #expect(try await connection.line() == "PUB served 1")
        await client.close()
        await server.stop()
    }

    @Test("a client that may not reconnect closes on a loss, and everything that waits ends")
    func noReconnect() async throws {
        let (server, client, connection) = try await pair { $0.reconnect.maxRounds = 0 }
        let subscription = try await client.subscribe("a")
        let waiting = Task {
            var iterator = subscription.makeAsyncIterator()
            return try await iterator.next()
        }
        await connection.close()
        await #expect(throws: ClientError.connectionLost) { try await waiting.value }
        await #expect(throws: ClientError.connectionLost) { try await client.publish("a", "x") }
        await server.stop()
    }

    @Test("the same refusal of the credentials twice in a row closes the client")
    func authorizationTwice() async throws {
        let (server, client, connection) = try await pair()
        let events = client.events()
        await connection.close()
        for _ in 0..<2 {
            let next = try await server.connection()
            next.send("INFO \(ScriptedServer.info())\r\n")
            _ = try await next.line("CONNECT")
            next.send("-ERR 'Authorization Violation'\r\n")
            await next.close()
        }
        var last: ClientEvent?
        for await event in events { last = event }
        #expect(last == .closed(reason: .authorization("Authorization Violation")))
        await client.close()
        await server.stop()
    }

    @Test("a refused subscription ends with the server's words, the others live on")
    func permission() async throws {
        let (server, client, connection) = try await pair()
        let refused = try await client.subscribe("secret")
        let other = try await client.subscribe("other")
        let text = "Permissions Violation for Subscription to \"secret\""
        connection.send("-ERR '\(text)'\r\n")
        var iterator = refused.makeAsyncIterator()
        await #expect(throws: ClientError.permission(text)) { try await iterator.next() }
        connection.message("other", sid: "2", "x")
        var others = other.makeAsyncIterator()
        #expect(try await others.next()?.text == "x")
        await client.close()
        await server.stop()
    }

    @Test("a consumer that falls behind stops the reading, not the memory, and nothing is lost")
    func backPressure() async throws {
        let (server, client, connection) = try await pair { $0.subscriptionBufferBytes = 64 << 10 }
        var events = client.events().makeAsyncIterator()
        let subscription = try await client.subscribe("a")
        _ = try await connection.line("SUB")
        let payload = String(repeating: "x", count: 1000)
        let count = 20_000
        let sender = Task {
            for number in 0..<count {
                let body = "\(number) \(payload)"
                try await connection.channel.writeAndFlush(
                    connection.channel.allocator.buffer(string: "MSG a 1 \(body.utf8.count)\r\n\(body)\r\n")
                ).get()
            }
        }
        #expect(await events.next() == .readingPaused(subject: "a"))
        var expected = 0
        for try await message in subscription {
            #expect(message.text.hasPrefix("\(expected) "))
            expected += 1
            if expected == count { break }
        }
        try await sender.value
        await client.close()
        await server.stop()
    }

    @Test("drain lets consumers take what had been sent to them, and sends what was published")
    func drain() async throws {
        let (server, client, connection) = try await pair()
        let subscription = try await client.subscribe("a")
        _ = try await connection.line("SUB a 1")
        try await client.publish("last", "words")
        let drained = Task { try await client.drain() }
        #expect(try await connection.line() == "PUB last 5")
        #expect(try await connection.line() == "words")
        #expect(try await connection.line() == "UNSUB 1")
        #expect(try await connection.line() == "PING")
        connection.message("a", sid: "1", "on its way")
        connection.send("PONG\r\n")
        var received: [String] = []
        for try await message in subscription { received.append(message.text) }
        #expect(received == ["on its way"])
        #expect(try await connection.line() == "PING")
        connection.send("PONG\r\n")
        try await drained.value
        await #expect(throws: ClientError.closed) { try await client.publish("a", "x") }
        await server.stop()
    }

    @Test("two tasks' worth of publishers lose nothing and keep each one's order")
    func manyPublishers() async throws {
        let (server, client, connection) = try await pair { $0.maxPendingBytes = 4096 }
        let perTask = 2_000
        async let lines: [String] = {
            var payloads: [String] = []
            for _ in 0..<(4 * perTask) {
                _ = try await connection.line("PUB s ")
                payloads.append(try await connection.line())
            }
            return payloads
        }()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<4 {
                group.addTask {
                    for number in 0..<perTask { try await client.publish("s", "\(task) \(number)") }
                }
            }
            try await group.waitForAll()
        }
        let payloads = try await lines
        for task in 0..<4 {
            let own = payloads.filter { $0.hasPrefix("\(task) ") }
            #expect(own == (0..<perTask).map { "\(task) \($0)" })
        }
        await client.close()
        await server.stop()
    }

    @Test("a server that sends what is no protocol is left, and another connection tried")
    func violation() async throws {
        let (server, client, connection) = try await pair()
        var events = client.events().makeAsyncIterator()
        connection.send("MSG a 1 2\r\nabcdef\r\n")
        guard case .disconnected(let reason) = await events.next() else {
            Issue.record("it must be left")
            return
        }
        #expect(reason.contains("does not end where its size says"))
        _ = try await server.greeted()
        await client.close()
        await server.stop()
    }

    @Test("members of a cluster that the server names are tried too")
    func discovery() async throws {
        let other = try await ScriptedServer()
        let (server, client, connection) = try await pair()
        var events = client.events().makeAsyncIterator()
        connection.send("INFO \(ScriptedServer.info(",\"connect_urls\":[\"127.0.0.1:\(other.port)\"]"))\r\n")
        #expect(await events.next() == .discoveredServers(["127.0.0.1:\(other.port)"]))
        await server.stop()
        await connection.close()
        _ = try await other.greeted()
        await client.close()
        await other.stop()
    }
}
