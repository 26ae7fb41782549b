import BrokerClient
import BrokerProtocol
import Testing

@Suite("A streaming client against a scripted server", .timeLimit(.minutes(10)))
struct StreamingClientTests {
    /// The server's side of a streaming session.
    struct Session {
        let server: ScriptedServer
        let client: StreamingClient
        let connection: ScriptedConnection
        /// What the client said in its connect request.
        let request: ConnectRequest
        /// The ids of the client's subscriptions by subject.
        let sids: [String: String]
        let heartbeatInbox: String

        func close() async {
            await client.client.close()
            await server.stop()
        }
    }

    /// Options of a client that a slow machine does not make give up.
    func patientOptions(_ server: ScriptedServer) throws -> (ClientOptions, StreamingOptions) {
        var client = try ClientOptions(server.url)
        client.connectTimeout = .seconds(300)
        var streaming = StreamingOptions()
        streaming.requestTimeout = .seconds(300)
        streaming.publishTimeout = .seconds(300)
        return (client, streaming)
    }

    func session(
        _ change: (inout StreamingOptions) -> Void = { _ in },
        client changeClient: (inout ClientOptions) -> Void = { _ in }
    ) async throws -> Session {
        let server = try await ScriptedServer()
        var (clientOptions, options) = try patientOptions(server)
        clientOptions.reconnect.firstDelay = .milliseconds(1)
        clientOptions.reconnect.maxDelay = .milliseconds(5)
        change(&options)
        changeClient(&clientOptions)
        let (finalClientOptions, finalOptions) = (clientOptions, options)
        async let client = StreamingClient.connect(
            clusterID: "vc", clientID: "me", finalClientOptions, streaming: finalOptions)
        let connection = try await server.greeted()
        var sids: [String: String] = [:]
        for _ in 0..<4 {
            let words = try await connection.line("SUB ").split(separator: " ").map(String.init)
            sids[words[1]] = words[2]
        }
        let (inbox, body) = try await publication(connection, on: "_STAN.discover.vc")
        let request = try #require(body.withUnsafeBytes { ConnectRequest(decoding: $0) })
        var response = ConnectResponse()
        response.publishPrefix = Array("_STAN.pub.vc".utf8)
        response.subscribeRequests = Array("_STAN.sub.vc".utf8)
        response.unsubscribeRequests = Array("_STAN.unsub.vc".utf8)
        response.closeRequests = Array("_STAN.close.vc".utf8)
        response.subscriptionCloseRequests = Array("_STAN.subclose.vc".utf8)
        response.pingRequests = Array("_STAN.discover.vc.pings".utf8)
        response.pingIntervalSeconds = request.pingIntervalSeconds
        response.pingMaxOut = request.pingMaxOut
        response.protocolVersion = 1
        let muxSID = sids.first { inbox.hasPrefix($0.key.dropLast()) && $0.key.hasSuffix("*") }?.value
        send(connection, inbox, sid: try #require(muxSID), response.encoded())
        return Session(
            server: server, client: try await client, connection: connection, request: request, sids: sids,
            heartbeatInbox: String(decoding: request.heartbeatInbox, as: UTF8.self))
    }

    /// The next PUB on a subject: its reply and body. Bodies here have no line ends.
    func publication(
        _ connection: ScriptedConnection, on subject: String
    ) async throws -> (reply: String, body: [UInt8]) {
        let words = try await connection.line("PUB \(subject) ").split(separator: " ").map(String.init)
        var body = Array(try await connection.line().utf8)
        // A body may hold a line feed: a length or a tag of ten.
        let size = Int(words.last ?? "") ?? 0
        while body.count < size { body += [0x0A] + Array(try await connection.line().utf8) }
        return (words.count == 4 ? words[2] : "", body)
    }

    func send(_ connection: ScriptedConnection, _ subject: String, sid: String, _ body: [UInt8]) {
        connection.send(Array("MSG \(subject) \(sid) \(body.count)\r\n".utf8) + body + Array("\r\n".utf8))
    }

    func ack(guid: [UInt8], error: String = "") -> [UInt8] {
        guid.withUnsafeBytes { guid in
            Array(error.utf8).withUnsafeBytes { error in
                let ack = PubAck(guid: guid, error: error)
                return [UInt8](unsafeUninitializedCapacity: ack.encodedSize) { memory, count in
                    count = ack.encode(into: UnsafeMutableRawBufferPointer(memory))
                }
            }
        }
    }

    func message(sequence: UInt64, _ text: String, redelivered: Bool = false) -> [UInt8] {
        Array("orders".utf8).withUnsafeBytes { subject in
            Array(text.utf8).withUnsafeBytes { data in
                var message = MsgProto()
                message.sequence = sequence
                message.subject = subject
                message.data = data
                message.timestamp = 5
                message.redelivered = redelivered
                message.redeliveryCount = redelivered ? 1 : 0
                return [UInt8](unsafeUninitializedCapacity: message.encodedSize) { memory, count in
                    count = message.encode(into: UnsafeMutableRawBufferPointer(memory))
                }
            }
        }
    }

    func guid(_ body: [UInt8]) throws -> [UInt8] {
        try body.withUnsafeBytes { bytes in [UInt8](try #require(PubMsg(decoding: bytes)).guid) }
    }

    @Test("registers with protocol 1, its pings, and a connection id")
    func connect() async throws {
        let session = try await session()
        #expect(session.request.clientID == Array("me".utf8))
        #expect(session.request.protocolVersion == 1)
        #expect(session.request.pingIntervalSeconds == 5)
        #expect(session.request.pingMaxOut == 88)
        #expect(!session.request.connectionID.isEmpty)
        await session.close()
    }

    @Test("answers heartbeats")
    func heartbeat() async throws {
        let session = try await session()
        let sid = try #require(session.sids[session.heartbeatInbox])
        session.connection.message(session.heartbeatInbox, sid: sid, reply: "hb.1", "")
        #expect(try await session.connection.line() == "PUB hb.1 0")
        await session.close()
    }

    @Test("a publish returns when it is acknowledged, and throws the server's reason")
    func publish() async throws {
        let session = try await session()
        async let stored: Void = session.client.publish("orders", Array("a".utf8), reply: "r")
        let (acks, body) = try await publication(session.connection, on: "_STAN.pub.vc.orders")
        let sid = try #require(session.sids[acks])
        try body.withUnsafeBytes { bytes in
            let message = try #require(PubMsg(decoding: bytes))
            #expect([UInt8](message.clientID) == Array("me".utf8))
            #expect([UInt8](message.connectionID) == session.request.connectionID)
            #expect([UInt8](message.subject) == Array("orders".utf8))
            #expect([UInt8](message.data) == Array("a".utf8))
            #expect([UInt8](message.reply) == Array("r".utf8))
        }
        send(session.connection, acks, sid: sid, ack(guid: try guid(body)))
        try await stored

        let refused = Task { try await session.client.publish("orders", []) }
        let (_, second) = try await publication(session.connection, on: "_STAN.pub.vc.orders")
        send(session.connection, acks, sid: sid, Array("garbage".utf8))
        send(session.connection, acks, sid: sid, ack(guid: Array("someone.else".utf8)))
        send(session.connection, acks, sid: sid, ack(guid: try guid(second), error: "too many channels"))
        await #expect(throws: StreamingError.refused("too many channels")) { try await refused.value }
        for channel in ["", "a b", "a..b", "a.*", "a/b"] {
            await #expect(throws: StreamingError.invalidChannel(channel)) {
                try await session.client.publish(channel, [])
            }
        }
        await session.close()
    }

    @Test(
        "a publish that was sent before a loss says so at once; one that was not is sent after the reconnect")
    func lostAcknowledgement() async throws {
        let session = try await session()
        var events = session.client.events().makeAsyncIterator()
        let sent = Task { try await session.client.publish("orders", [1]) }
        _ = try await publication(session.connection, on: "_STAN.pub.vc.orders")
        await session.connection.close()
        await #expect(throws: StreamingError.acknowledgementLost) { try await sent.value }
        _ = await events.next()
        let later = Task { try await session.client.publish("orders", Array("later".utf8)) }
        let second = try await session.server.greeted()
        var sids: [String: String] = [:]
        for _ in 0..<4 {
            let words = try await second.line("SUB ").split(separator: " ").map(String.init)
            sids[words[1]] = words[2]
        }
        #expect(sids == session.sids)
        // The publish that waited, and a ping at once, in either order.
        var stored = false
        while !stored {
            let line = try await second.line("PUB ")
            let words = line.split(separator: " ").map(String.init)
            var body = Array(try await second.line().utf8)
            while body.count < (Int(words.last ?? "") ?? 0) {
                body += [0x0A] + Array(try await second.line().utf8)
            }
            if words[1] == "_STAN.pub.vc.orders" {
                send(second, words[2], sid: try #require(sids[words[2]]), ack(guid: try guid(body)))
                stored = true
            } else {
                #expect(words[1] == "_STAN.discover.vc.pings")
            }
        }
        try await later.value
        await session.close()
    }

    @Test("publishes that are not awaited are reported one by one, and flush waits for all")
    func pipelined() async throws {
        let session = try await session { $0.maxPublishesInFlight = 4 }
        let (outcomes, report) = AsyncStream.makeStream(of: Bool.self)
        let publisher = Task {
            for number in 0..<100 {
                try await session.client.publish("orders", [UInt8(number)]) { outcome in
                    if case .success = outcome { report.yield(true) } else { report.yield(false) }
                }
            }
            try await session.client.flush()
            report.finish()
        }
        for number in 0..<100 {
            let (acks, body) = try await publication(session.connection, on: "_STAN.pub.vc.orders")
            let error = number % 10 == 9 ? "no" : ""
            send(
                session.connection, acks, sid: try #require(session.sids[acks]),
                ack(guid: try guid(body), error: error))
        }
        try await publisher.value
        var all: [Bool] = []
        for await outcome in outcomes { all.append(outcome) }
        #expect(all.count == 100)
        #expect(all.filter { !$0 }.count == 10)
        await session.close()
    }

    /// Subscribes and plays the server's part.
    func subscription(
        _ session: Session, _ options: ChannelSubscriptionOptions
    ) async throws -> (subscription: ChannelSubscription, request: SubscriptionRequest, sid: String) {
        async let subscription = session.client.subscribe("orders", options)
        let words = try await session.connection.line("SUB _INBOX.").split(separator: " ").map(String.init)
        let (reply, body) = try await publication(session.connection, on: "_STAN.sub.vc")
        let request = try #require(body.withUnsafeBytes { SubscriptionRequest(decoding: $0) })
        var response = SubscriptionResponse()
        response.ackInbox = Array("_INBOX.acks".utf8)
        let mux = try #require(session.sids.first { $0.key.hasSuffix("*") }?.value)
        send(session.connection, reply, sid: mux, response.encoded())
        return (try await subscription, request, words[2])
    }

    @Test("a subscription says what it wants, and acknowledges a message when the next is asked for")
    func subscribe() async throws {
        let session = try await session()
        var options = ChannelSubscriptionOptions(start: .sequence(7), durableName: "d", queueGroup: "q")
        options.ackWait = .milliseconds(1500)
        options.maxInFlight = 3
        let (subscription, request, sid) = try await subscription(session, options)
        #expect(request.startPosition == .sequenceStart)
        #expect(request.startSequence == 7)
        #expect(request.ackWaitSeconds == 2)
        #expect(request.maxInFlight == 3)
        #expect(request.durableName == Array("d".utf8))
        #expect(request.queueGroup == Array("q".utf8))
        let inbox = String(decoding: request.inbox, as: UTF8.self)
        send(session.connection, inbox, sid: sid, message(sequence: 7, "a"))
        send(session.connection, inbox, sid: sid, message(sequence: 8, "b"))
        send(session.connection, inbox, sid: sid, message(sequence: 8, "b", redelivered: true))
        send(session.connection, inbox, sid: sid, message(sequence: 9, "c", redelivered: true))
        // Its answer comes behind all four: they wait before the consumer takes the first.
        session.connection.send("PING\r\n")
        _ = try await session.connection.line("PONG")
        var iterator = subscription.makeAsyncIterator()
        #expect(try await iterator.next()?.text == "a")
        let second = try await iterator.next()
        #expect(second?.text == "b")
        #expect(second?.isRedelivered == false)
        let (_, ackBody) = try await publication(session.connection, on: "_INBOX.acks")
        #expect(ackBody.withUnsafeBytes { Ack(decoding: $0)?.sequence } == 7)
        let third = try await iterator.next()
        #expect(third?.sequence == 9, "a copy that came while the first still waited is taken once")
        #expect(third?.redeliveryCount == 1)
        await session.close()
        #expect(try await iterator.next() == nil)
    }

    @Test("with manual acknowledgement only the consumer acknowledges")
    func manual() async throws {
        let session = try await session()
        var options = ChannelSubscriptionOptions(start: .first)
        options.manualAck = true
        let (subscription, request, sid) = try await subscription(session, options)
        let inbox = String(decoding: request.inbox, as: UTF8.self)
        for sequence in 1...3 as ClosedRange<UInt64> {
            send(session.connection, inbox, sid: sid, message(sequence: sequence, "x"))
        }
        var iterator = subscription.makeAsyncIterator()
        _ = try await iterator.next()
        _ = try await iterator.next()
        let third = try await iterator.next()
        third?.acknowledge()
        let (_, body) = try await publication(session.connection, on: "_INBOX.acks")
        #expect(body.withUnsafeBytes { Ack(decoding: $0)?.sequence } == 3)
        await session.close()
    }

    @Test("closing a subscription and unsubscribing it are two requests, by the ack inbox")
    func endings() async throws {
        let session = try await session()
        let mux = try #require(session.sids.first { $0.key.hasSuffix("*") }?.value)
        for (subject, closes) in [("_STAN.subclose.vc", true), ("_STAN.unsub.vc", false)] {
            let (subscription, _, sid) = try await subscription(session, ChannelSubscriptionOptions())
            async let ended: Void = closes ? subscription.close() : subscription.unsubscribe()
            let (reply, body) = try await publication(session.connection, on: subject)
            let request = try #require(body.withUnsafeBytes { UnsubscribeRequest(decoding: $0) })
            #expect(request.inbox == Array("_INBOX.acks".utf8))
            send(session.connection, reply, sid: mux, [])
            try await ended
            #expect(try await session.connection.line() == "UNSUB \(sid)")
            var iterator = subscription.makeAsyncIterator()
            #expect(try await iterator.next() == nil)
        }
        await session.close()
    }

    @Test(
        "whoever does not wait for the answer to a close, or cannot ask for it, receives nothing more all the same"
    )
    func endingsWithoutAnAnswer() async throws {
        let session = try await session()
        for asks in [true, false] {
            let (subscription, _, sid) = try await subscription(session, ChannelSubscriptionOptions())
            let ending = Task {
                if asks { try await subscription.close() } else { await subscription.stop() }
            }
            if asks {
                _ = try await publication(session.connection, on: "_STAN.subclose.vc")
                ending.cancel()
            }
            #expect(try await session.connection.line() == "UNSUB \(sid)")
            _ = await ending.result
            var iterator = subscription.makeAsyncIterator()
            #expect(try await iterator.next() == nil)
        }
        await session.close()
    }

    @Test("a server that does not know the client any more ends everything, and says why")
    func sessionLost() async throws {
        let session = try await session { $0.pingInterval = .seconds(1) }
        let (subscription, _, _) = try await subscription(session, ChannelSubscriptionOptions())
        let pending = Task { try await session.client.publish("orders", []) }
        _ = try await publication(session.connection, on: "_STAN.pub.vc.orders")
        // Its first ping comes after a second; a reconnect would bring it at once.
        let (pingInbox, _) = try await publication(session.connection, on: "_STAN.discover.vc.pings")
        var response = PingResponse()
        response.error = Array("client has been replaced or is no longer registered".utf8)
        send(session.connection, pingInbox, sid: try #require(session.sids[pingInbox]), response.encoded())
        let lost = StreamingError.sessionLost("client has been replaced or is no longer registered")
        await #expect(throws: lost) { try await pending.value }
        var iterator = subscription.makeAsyncIterator()
        await #expect(throws: lost) { try await iterator.next() }
        await #expect(throws: lost) { try await session.client.publish("orders", []) }
        await #expect(throws: lost) { try await session.client.subscribe("orders") }
        await session.close()
    }

    @Test("nobody at the cluster id, a refusal, and a bad client id are told apart")
    func connectFailures() async throws {
        let server = try await ScriptedServer()
        let (options, streaming) = try patientOptions(server)
        await #expect(throws: StreamingError.invalidClientID("a.b")) {
            try await StreamingClient.connect(
                clusterID: "vc", clientID: "a.b", options, streaming: streaming)
        }
        for isRefusal in [false, true] {
            let failing = Task {
                try await StreamingClient.connect(
                    clusterID: "vc", clientID: "me", options, streaming: streaming)
            }
            let connection = try await server.greeted()
            var mux = ""
            for _ in 0..<4 {
                let words = try await connection.line("SUB ").split(separator: " ").map(String.init)
                if words[1].hasSuffix("*") { mux = words[2] }
            }
            let (inbox, _) = try await publication(connection, on: "_STAN.discover.vc")
            if isRefusal {
                var response = ConnectResponse()
                response.error = Array("stan: clientID already registered".utf8)
                send(connection, inbox, sid: mux, response.encoded())
                await #expect(throws: StreamingError.refused("stan: clientID already registered")) {
                    try await failing.value
                }
            } else {
                connection.send("HMSG \(inbox) \(mux) 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
                await #expect(throws: StreamingError.noStreamingServer(clusterID: "vc")) {
                    try await failing.value
                }
            }
        }
        await server.stop()
    }
}
