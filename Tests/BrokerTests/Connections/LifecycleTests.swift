import Testing

@testable import Broker

@Suite("authentication", .timeLimit(.minutes(10)))
struct AuthenticationTests {
    @Test(
        "a user with a password",
        arguments: [
            ("\"user\":\"u\",\"pass\":\"p\"", true), ("\"user\":\"u\",\"pass\":\"x\"", false),
            ("\"user\":\"x\",\"pass\":\"p\"", false), ("\"user\":\"u\"", false),
            ("\"user\":\"\",\"pass\":\"\"", false),
            ("\"auth_token\":\"p\"", false), ("\"user\":\"u\",\"pass\":\"p\",\"auth_token\":\"wrong\"", true),
            ("\"user\":\"u\",\"pass\":\"pp\"", false),
        ])
    func user(_ credentials: String, _ accepted: Bool) async throws {
        let options = CoreFixture.options {
            $0.user = "u"
            $0.password = "p"
        }
        try await check(options, credentials, accepted)
    }

    @Test(
        "a token",
        arguments: [
            ("\"auth_token\":\"t0ken\"", true), ("\"auth_token\":\"t0kem\"", false),
            ("\"auth_token\":\"\"", false),
            ("\"user\":\"t0ken\"", false), ("\"verbose\":false", false),
        ])
    func token(_ credentials: String, _ accepted: Bool) async throws {
        try await check(CoreFixture.options { $0.token = "t0ken" }, credentials, accepted)
    }

    private func check(_ options: BrokerOptions, _ credentials: String, _ accepted: Bool) async throws {
        try await CoreFixture.run(options) { core in
            let client = try await RawClient.open(port: core.port)
            #expect(try await client.line().contains("\"auth_required\":true"))
            client.send("CONNECT {\(credentials),\"verbose\":false}\r\nPING\r\n")
            if accepted {
                #expect(try await client.line() == "PONG")
                client.send("CONNECT {\"verbose\":false}\r\n")
            }
            #expect(try await client.rest() == "-ERR 'Authorization Violation'\r\n")
        }
    }

    @Test(
        "any operation before CONNECT is a violation", arguments: ["PING\r\n", "SUB a 1\r\n", "FOO\r\n", "P"])
    func firstOperation(_ input: String) async throws {
        try await CoreFixture.run(CoreFixture.options { $0.token = "t" }) { core in
            let client = try await RawClient.connect(port: core.port)
            client.send(input)
            #expect(try await client.rest() == "-ERR 'Authorization Violation'\r\n")
        }
    }

    @Test("silence is ended by the authentication timeout")
    func timeout() async throws {
        let options = CoreFixture.options {
            $0.token = "t"
            $0.authTimeoutNanoseconds = 100_000_000
        }
        try await CoreFixture.run(options) { core in
            let silent = try await RawClient.connect(port: core.port)
            #expect(try await silent.rest() == "-ERR 'Authentication Timeout'\r\n")
        }
    }

    @Test("a client that authenticated has no timeout any more")
    func inTime() async throws {
        let options = CoreFixture.options {
            $0.token = "t"
            $0.authTimeoutNanoseconds = 60_000_000_000
        }
        try await CoreFixture.run(options) { core in
            _ = try await RawClient.ready(port: core.port, "\"auth_token\":\"t\"")
            let deadlines = try await core.onLoop(0) { core in
                core.state.pointee.connections.all.map { $0.pointee.authenticationDeadline }
            }
            #expect(deadlines == [.max])
        }
    }

    @Test("credentials sent to an open broker are accepted")
    func open() async throws {
        try await CoreFixture.run { core in
            _ = try await RawClient.ready(
                port: core.port, "\"user\":\"u\",\"pass\":\"p\",\"auth_token\":\"t\"")
        }
    }

    @Test("the comparison of secrets tells equal from different, whatever the lengths")
    func comparison() {
        #expect(Credentials.isSame([1, 2, 3], [1, 2, 3]))
        #expect(Credentials.isSame([], []))
        for (given, wanted) in [([1], [1, 2]), ([1, 2], [1]), ([], [1]), ([1], []), ([1, 1], [1])]
            as [([UInt8], [UInt8])]
        {
            #expect(!Credentials.isSame(given, wanted))
        }
    }
}

@Suite("lifecycle of connections", .timeLimit(.minutes(10)))
struct LifecycleTests {
    @Test(
        "connections above the limit are told so; a place that is given up can be taken", arguments: [1, 3])
    func connectionLimit(loops: Int) async throws {
        try await CoreFixture.run(loops: loops, CoreFixture.options { $0.maxConnections = 1 }) { core in
            let first = try await RawClient.ready(port: core.port)
            for _ in 0..<3 {
                let second = try await RawClient.connect(port: core.port)
                #expect(try await second.rest() == "-ERR 'maximum connections exceeded'\r\n")
            }
            await first.close()
            // The broker sees the end a moment later.
            while true {
                let next = try await RawClient.connect(port: core.port)
                next.send("CONNECT {\"verbose\":false}\r\nPING\r\n")
                if (try? await next.line()) == "PONG" { break }
                await next.close()
            }
        }
    }

    @Test("a client that publishes and closes at once loses nothing", arguments: [1, 3])
    func closeAfterPublish(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            let subscriber = try await RawClient.ready(port: core.port)
            subscriber.send("SUB a 1\r\n")
            #expect(try await subscriber.untilPong() == "")
            let publisher = try await RawClient.ready(port: core.port)
            // The last message is not whole: it is discarded.
            publisher.send(String(repeating: "PUB a 2\r\nok\r\n", count: 5000) + "PUB a 10\r\nhalf")
            try await publisher.closeOutput()
            #expect(try await publisher.rest() == "")
            for _ in 0..<5000 { #expect(try await subscriber.message().line == "MSG a 1 2") }
            #expect(try await subscriber.untilPong() == "")
        }
    }

    @Test("what a client is owed is sent before its half-closed connection ends")
    func halfClose() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB a 1\r\nPUB a 2\r\nok\r\nPING\r\n")
            try await client.closeOutput()
            #expect(try await client.rest() == "MSG a 1 2\r\nok\r\nPONG\r\n")
        }
    }

    @Test("the interests of a connection end with it", arguments: [1, 3])
    func disconnect(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            let responder = try await RawClient.ready(port: core.port)
            responder.send("SUB help 1\r\nSUB help.* q 2\r\n")
            #expect(try await responder.untilPong() == "")
            await responder.close()
            while try await core.counters().subscriptions > 0 { await Task.yield() }
            let requester = try await RawClient.ready(
                port: core.port, "\"headers\":true,\"no_responders\":true")
            requester.send("SUB r 1\r\nPUB help r 0\r\n\r\n")
            #expect(try await requester.message().line.hasPrefix("HMSG r 1 36"))
        }
    }

    @Test("a thousand connections come and go without leaving a trace", arguments: [1, 3])
    func comeAndGo(loops: Int) async throws {
        try await CoreFixture.run(loops: loops) { core in
            for _ in 0..<20 {
                var clients: [RawClient] = []
                for _ in 0..<50 {
                    let client = try await RawClient.connect(port: core.port)
                    client.send("SUB a.* 1\r\nSUB b 2\r\nPUB a.x 4\r\nha")
                    clients.append(client)
                }
                for client in clients { await client.close() }
            }
            while true {
                let counters = try await core.counters()
                if counters.connections == 0, counters.subscriptions == 0 { break }
                await Task.yield()
            }
            #expect(try await core.counters().totalConnections == 1000)
            for loop in 0..<loops {
                let left = try await core.onLoop(loop) { core in
                    (core.state.pointee.connections.count, core.state.pointee.router.count)
                }
                #expect(left.0 == 0)
            }
        }
    }

    @Test("a client that answers no ping is called stale")
    func stale() async throws {
        let options = CoreFixture.options { $0.pingIntervalNanoseconds = 50_000_000 }
        try await CoreFixture.run(options) { core in
            let silent = try await RawClient.ready(port: core.port)
            #expect(try await silent.rest() == "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n")
            #expect(try await core.counters().staleConnections == 1)
        }
    }

    @Test(
        "a client that does not read is cut off by its pending bytes, others are not harmed",
        arguments: [1, 3])
    func slowConsumer(loops: Int) async throws {
        let options = CoreFixture.options { $0.maxPending = 1 << 20 }
        try await CoreFixture.run(loops: loops, options) { core in
            let slow = try await RawClient.open(port: core.port, reading: false)
            try await slow.sendAndWait(Array("CONNECT {\"verbose\":false}\r\nSUB flood 1\r\n".utf8))
            while try await core.counters().subscriptions < 1 { await Task.yield() }
            let healthy = try await RawClient.ready(port: core.port)
            healthy.send("SUB flood 1\r\n")
            #expect(try await healthy.untilPong() == "")
            let publisher = try await RawClient.ready(port: core.port)
            let block =
                Array("PUB flood 65536\r\n".utf8) + [UInt8](repeating: 0x78, count: 65_536) + [0x0D, 0x0A]
            var published = 0
            while try await core.counters().slowConsumers == 0 {
                publisher.send(block)
                #expect(try await publisher.untilPong() == "")
                published += 1
                try #require(published < 2000, "never cut off")
            }
            for _ in 0..<published { #expect(try await healthy.message().payload.count == 65_536) }
            #expect(try await healthy.untilPong() == "")
            #expect(try await core.counters().slowConsumers == 1)
            // What remains of it in the kernel is read until its end.
            try await slow.startReading()
            _ = try await slow.rest()
            #expect(try await core.counters().connections == 2)
        }
    }

    @Test("a write that takes longer than its deadline ends the connection")
    func writeDeadline() async throws {
        let options = CoreFixture.options { $0.writeDeadlineNanoseconds = 100_000_000 }
        try await CoreFixture.run(options) { core in
            let slow = try await RawClient.open(port: core.port, reading: false)
            try await slow.sendAndWait(Array("CONNECT {\"verbose\":false}\r\nSUB flood 1\r\n".utf8))
            while try await core.counters().subscriptions < 1 { await Task.yield() }
            let publisher = try await RawClient.ready(port: core.port)
            for _ in 0..<10 {
                publisher.send(
                    Array("PUB flood 1000000\r\n".utf8) + [UInt8](repeating: 0x78, count: 1_000_000) + [
                        0x0D, 0x0A,
                    ])
            }
            #expect(try await publisher.untilPong() == "")
            while try await core.counters().slowConsumers == 0 { await Task.yield() }
            try await slow.startReading()
            _ = try await slow.rest()
            #expect(try await publisher.untilPong() == "")
        }
    }

    @Test(
        "a publisher that is faster than its subscriber is slowed down, and nobody is cut off",
        arguments: [1, 3])
    func stall(loops: Int) async throws {
        let options = CoreFixture.options { $0.maxPending = 8 << 20 }
        try await CoreFixture.run(loops: loops, options) { core in
            let reader = try await RawClient.open(port: core.port, reading: false)
            try await reader.sendAndWait(Array("CONNECT {\"verbose\":false}\r\nSUB flood 1\r\n".utf8))
            while try await core.counters().subscriptions < 1 { await Task.yield() }
            let publisher = try await RawClient.ready(port: core.port)
            let block =
                Array("PUB flood 65536\r\n".utf8) + [UInt8](repeating: 0x78, count: 65_536) + [0x0D, 0x0A]
            // Until three quarters of what may be pending are.
            var published = 0
            while try await core.counters().stalledClients == 0 {
                publisher.send(block)
                #expect(try await publisher.untilPong() == "")
                published += 1
                try #require(published < 2000, "never slowed down")
            }
            try await reader.startReading()
            #expect(try await reader.line().hasPrefix("INFO"))
            for _ in 0..<published { #expect(try await reader.message().payload.count == 65_536) }
            #expect(try await core.counters().slowConsumers == 0)
        }
    }

    @Test("shutdown ends all clients without an error, after what they are owed", arguments: [1, 3])
    func shutdown(loops: Int) async throws {
        var clients: [RawClient] = []
        try await CoreFixture.run(loops: loops) { core in
            for _ in 0..<5 {
                let client = try await RawClient.ready(port: core.port)
                client.send("SUB a 1\r\n")
                #expect(try await client.untilPong() == "")
                clients.append(client)
            }
            clients[0].send("PUB a 2\r\nok\r\n")
            #expect(try await clients[0].untilPong().hasPrefix("MSG a 1 2"))
            for client in clients.dropFirst() { #expect(try await client.message().line == "MSG a 1 2") }
        }
        for client in clients {
            #expect(try await client.rest().split(separator: "\r\n").allSatisfy { $0 == "PING" })
        }
    }

    @Test("silent connections are cheap and keep nobody from working")
    func silent() async throws {
        try await CoreFixture.run { core in
            var silent: [RawClient] = []
            for _ in 0..<300 { silent.append(try await RawClient.open(port: core.port)) }
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB a 1\r\nPUB a 0\r\n\r\n")
            #expect(try await client.message().line == "MSG a 1 0")
            #expect(try await core.counters().connections == 301)
            for other in silent { await other.close() }
        }
    }
}

@Suite("when clients are pinged (times on a manual clock)")
struct KeepAliveTests {
    private static let second: UInt64 = 1_000_000_000

    @Test("the first ping comes between 2.0 and 2.4 s after CONNECT")
    func first() {
        for (jitter, expected) in [(0.0, 2_000_000_000), (0.999, 2_399_600_000)] as [(Double, UInt64)] {
            var keepAlive = KeepAlive(interval: 120 * Self.second, maximumOut: 2, now: 0)
            #expect(keepAlive.nextCheck == 120 * Self.second)
            keepAlive.connected(now: 0, jitter: jitter)
            keepAlive.hasSentFirstPong = true
            #expect(keepAlive.nextCheck == expected)
            #expect(keepAlive.timeReached(keepAlive.nextCheck) == .sendPing)
            #expect(keepAlive.nextCheck == expected + 120 * Self.second)
        }
    }

    @Test("an interval below 2 s counts from the start: two pings, then stale")
    func short() {
        var keepAlive = KeepAlive(interval: 300_000_000, maximumOut: 2, now: 0)
        keepAlive.connected(now: 0, jitter: 0)
        keepAlive.hasSentFirstPong = true
        #expect(keepAlive.nextCheck == 300_000_000)
        #expect(keepAlive.timeReached(300_000_000) == .sendPing)
        #expect(keepAlive.timeReached(600_000_000) == .sendPing)
        #expect(keepAlive.timeReached(900_000_000) == .stale)
    }

    @Test("before our first PONG there is no ping within 2 s")
    func grace() {
        var keepAlive = KeepAlive(interval: 300_000_000, maximumOut: 2, now: 0)
        keepAlive.connected(now: 0, jitter: 0)
        var now: UInt64 = 0
        while true {
            now = keepAlive.nextCheck
            if keepAlive.timeReached(now) == .sendPing { break }
        }
        #expect(now == 2 * Self.second)
    }

    @Test("activity spares the ping once the round trip is known, for an hour")
    func activity() {
        var keepAlive = KeepAlive(interval: 120 * Self.second, maximumOut: 2, now: 0)
        keepAlive.connected(now: 0, jitter: 0)
        keepAlive.hasSentFirstPong = true
        keepAlive.lastActivity = 1 * Self.second
        #expect(keepAlive.timeReached(2 * Self.second) == .sendPing)
        keepAlive.receivedPong(now: 2 * Self.second)
        keepAlive.lastActivity = 100 * Self.second
        #expect(keepAlive.timeReached(122 * Self.second) == .nothing)
        #expect(keepAlive.timeReached(242 * Self.second) == .sendPing)
        keepAlive.receivedPong(now: 242 * Self.second)
        keepAlive.lastActivity = 3_900 * Self.second
        #expect(keepAlive.timeReached(3_901 * Self.second) == .sendPing)
    }

    @Test("a PONG forgives all pings before it")
    func pong() {
        var keepAlive = KeepAlive(interval: Self.second, maximumOut: 2, now: 0)
        keepAlive.hasSentFirstPong = true
        #expect(keepAlive.timeReached(1 * Self.second) == .sendPing)
        #expect(keepAlive.timeReached(2 * Self.second) == .sendPing)
        keepAlive.receivedPong(now: 2 * Self.second)
        #expect(keepAlive.pingsOut == 0)
        #expect(keepAlive.timeReached(3 * Self.second) == .sendPing)
        #expect(keepAlive.timeReached(4 * Self.second) == .sendPing)
        #expect(keepAlive.timeReached(5 * Self.second) == .stale)
    }
}
