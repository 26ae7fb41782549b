import BrokerProtocol
import Testing

@testable import Broker

extension ManualTransport {
    func isCongested(_ subject: UnsafeRawBufferPointer) -> Bool {
        congested.contains(String(decoding: subject, as: UTF8.self))
    }
}

@Suite("Streaming: connections that have too much pending")
struct CongestionTests {
    @Test(
        "a redelivery waits until the connection has drained, and its ack wait counts from then",
        arguments: ["", "q"])
    func redelivery(queue: String) throws {
        let fixture = try EngineFixture.connected("me")
        let subscription = fixture.subscribe("foo", queue: queue, ackWait: 1)
        fixture.publish(numbers: 1...5, to: "foo")
        #expect(fixture.sequences(to: subscription.inbox) == [1, 2, 3, 4, 5])
        fixture.transport.congested.insert(subscription.inbox)
        fixture.advance(milliseconds: 3_000)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        drain(subscription.inbox, in: fixture)
        let again = fixture.delivered(to: subscription.inbox)
        #expect(again.map(\.sequence) == [1, 2, 3, 4, 5])
        #expect(again.allSatisfy { $0.redelivered && $0.count == 1 })
        fixture.advance(milliseconds: 900)
        #expect(fixture.sequences(to: subscription.inbox) == [])
        fixture.advance(milliseconds: 200)
        #expect(fixture.sequences(to: subscription.inbox) == [1, 2, 3, 4, 5])
    }

    @Test("what a durable had pending waits too when it resumes, and comes before anything new")
    func resume() throws {
        let fixture = try EngineFixture.connected("me")
        let first = fixture.subscribe("foo", durable: "d")
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.sequences(to: first.inbox) == [1, 2, 3])
        #expect(fixture.unsubscribe("foo", inbox: first.ackInbox, closing: true) == "")
        let inbox = fixture.inbox()
        fixture.transport.congested.insert(inbox)
        let second = fixture.subscribe("foo", durable: "d", inbox: inbox)
        #expect(second.error == "")
        fixture.publish(numbers: 4...4, to: "foo")
        #expect(fixture.sequences(to: inbox) == [])
        drain(inbox, in: fixture)
        #expect(fixture.sequences(to: inbox) == [1, 2, 3, 4])
    }

    @Test("a due message goes to a member of the group whose connection is not full")
    func group() throws {
        let fixture = try EngineFixture.connected("a", "b")
        let full = fixture.subscribe("foo", by: "a", queue: "q", ackWait: 1)
        fixture.publish(numbers: 1...1, to: "foo", by: "a")
        #expect(fixture.sequences(to: full.inbox) == [1])
        let free = fixture.subscribe("foo", by: "b", queue: "q", ackWait: 60)
        fixture.publish(numbers: 2...3, to: "foo", by: "a")
        _ = fixture.sequences(to: full.inbox) + fixture.sequences(to: free.inbox)
        fixture.transport.congested.insert(full.inbox)
        fixture.advance(milliseconds: 1_500)
        #expect(fixture.sequences(to: free.inbox).contains(1))
    }

    @Test("a subscription whose connection others have filled sends nothing, whoever drains")
    func filledByOthers() throws {
        let fixture = try EngineFixture.connected("me")
        let full = fixture.subscribe("foo")
        let other = fixture.subscribe("foo")
        fixture.transport.congested = [full.inbox, other.inbox]
        fixture.publish(numbers: 1...3, to: "foo")
        #expect(fixture.sequences(to: full.inbox) == [])
        drain(other.inbox, in: fixture)
        #expect(fixture.sequences(to: other.inbox) == [1, 2, 3])
        #expect(fixture.sequences(to: full.inbox) == [])
        drain(full.inbox, in: fixture)
        #expect(fixture.sequences(to: full.inbox) == [1, 2, 3])
    }

    private func drain(_ inbox: String, in fixture: EngineFixture) {
        fixture.transport.congested.remove(inbox)
        fixture.engine.congestionEnded()
        fixture.settle()
    }
}

@Suite("Streaming: bursts over sockets", .timeLimit(.minutes(10)))
struct BurstTests {
    private static let messages = 24
    private static let size = 1_000_000

    @Test(
        "clients that read get 24 MB at once, new and again, though only 12 MiB may be pending",
        arguments: [1, 3])
    func burst(loops: Int) async throws {
        let options = CoreFixture.options {
            $0.store = .memory
            $0.clusterID = "vc"
            $0.maxPending = 12 << 20
            // Only what is asked for comes.
            $0.heartbeatIntervalNanoseconds = 3_600_000_000_000
        }
        try await CoreFixture.run(loops: loops, options) { core in
            let streaming = try await StreamingService.start(
                options: options, listener: core, logger: LogLines().logger())
            // One on each loop.
            var clients: [RawClient] = []
            for number in 0..<loops {
                let client = try await RawClient.ready(port: core.port)
                client.send("SUB reply.\(number) 1\r\nSUB inbox.\(number) 2\r\n")
                #expect(try await client.untilPong() == "")
                var connect = ConnectRequest()
                connect.clientID = Array("c\(number)".utf8)
                connect.heartbeatInbox = Array("hb.\(number)".utf8)
                let answer = try await request(connect.encoded(), "_STAN.discover.vc", client, number)
                let response = answer.withUnsafeBytes { ConnectResponse(decoding: $0) }
                #expect(response?.error == [])
                clients.append(client)
            }
            for number in 1...Self.messages {
                let answer = try await request(Self.publish(number), "_STAN.pub.vc.foo", clients[0], 0)
                let errorSize = answer.withUnsafeBytes { PubAck(decoding: $0)?.error.count }
                #expect(errorSize == 0)
            }
            for (number, client) in clients.enumerated() {
                let first = try await subscribe(client, number)
                #expect(try await Self.received(by: client) == Array(1...UInt64(Self.messages)))
                var close = UnsubscribeRequest()
                close.clientID = Array("c\(number)".utf8)
                close.subject = Array("foo".utf8)
                close.inbox = first.ackInbox
                _ = try await request(close.encoded(), "_STAN.subclose.vc", client, number)
                _ = try await subscribe(client, number)
                #expect(try await Self.received(by: client) == Array(1...UInt64(Self.messages)))
            }
            #expect(try await core.counters().slowConsumers == 0)
            try await streaming.stop()
        }
    }

    /// The answer to a request of client `number`.
    private func request(
        _ payload: [UInt8], _ subject: String, _ client: RawClient, _ number: Int
    ) async throws -> [UInt8] {
        client.send(
            Array("PUB \(subject) reply.\(number) \(payload.count)\r\n".utf8) + payload + [0x0D, 0x0A])
        let answer = try await client.message()
        #expect(answer.line.hasPrefix("MSG reply.\(number) 1 "))
        return answer.payload
    }

    private func subscribe(_ client: RawClient, _ number: Int) async throws -> SubscriptionResponse {
        var request = SubscriptionRequest()
        request.clientID = Array("c\(number)".utf8)
        request.subject = Array("foo".utf8)
        request.inbox = Array("inbox.\(number)".utf8)
        request.durableName = Array("d".utf8)
        request.maxInFlight = 1_024
        request.ackWaitSeconds = 3_600
        request.startPosition = .first
        let answer = try await self.request(request.encoded(), "_STAN.sub.vc", client, number)
        let decoded = answer.withUnsafeBytes { SubscriptionResponse(decoding: $0) }
        let response = try #require(decoded)
        #expect(response.error == [])
        return response
    }

    /// A message of client `c0` to channel `foo`.
    private static func publish(_ number: Int) -> [UInt8] {
        let fields = [Array("c0".utf8), Array("g\(number)".utf8), Array("foo".utf8)]
        // The codec's strings are views.
        return (fields.flatMap { $0 } + [UInt8](repeating: 0x78, count: size)).withUnsafeBytes { bytes in
            var start = 0
            func next(_ count: Int) -> UnsafeRawBufferPointer {
                defer { start += count }
                return UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
            }
            var message = PubMsg()
            message.clientID = next(fields[0].count)
            message.guid = next(fields[1].count)
            message.subject = next(fields[2].count)
            message.data = next(size)
            return [UInt8](unsafeUninitializedCapacity: message.encodedSize) { memory, count in
                count = message.encode(into: UnsafeMutableRawBufferPointer(memory))
            }
        }
    }

    /// The sequences of the next messages in the client's inbox.
    private static func received(by client: RawClient) async throws -> [UInt64] {
        var sequences: [UInt64] = []
        for _ in 0..<messages {
            let payload = try await client.message().payload
            sequences.append(payload.withUnsafeBytes { MsgProto(decoding: $0)?.sequence ?? 0 })
        }
        return sequences
    }
}
