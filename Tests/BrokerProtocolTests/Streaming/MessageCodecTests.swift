import BrokerProtocol
import Testing

/// Calls `body` with `text` as memory.
private func view<Result>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows
    -> Result
{
    try bytes.withUnsafeBytes(body)
}

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension UnsafeRawBufferPointer {
    fileprivate var text: String { String(decoding: self, as: UTF8.self) }
}

/// Writes through `encode` into memory of exactly `size` bytes.
private func written(_ size: Int, _ encode: (UnsafeMutableRawBufferPointer) -> Int) -> [UInt8] {
    var output = [UInt8](repeating: 0xEE, count: size)
    let count = output.withUnsafeMutableBytes { encode($0) }
    #expect(count == size)
    return output
}

@Suite("the codec of the streaming messages, against bytes that protoc made")
struct MessageCodecTests {
    @Test("a publish comes in as protoc writes it and goes out the same")
    func pubMsg() throws {
        let golden = try GoldenBytes.bytes(of: "PubMsg full")
        view(golden) { memory in
            let message = PubMsg(decoding: memory)!
            #expect(message.clientID.text == "me")
            #expect(message.guid.text == "G1")
            #expect(message.subject.text == "orders.new")
            #expect(message.reply.text == "r.1")
            #expect([UInt8](message.data) == [0, 1] + bytes("payload") + [0xFF])
            #expect(message.connectionID.text == "conn-9")
            #expect(written(message.encodedSize) { message.encode(into: $0) } == golden)
        }
        for name in ["PubMsg long", "PubMsg notUTF8", "PubMsg empty"] {
            let golden = try GoldenBytes.bytes(of: name)
            view(golden) { memory in
                let message = PubMsg(decoding: memory)!
                #expect(written(message.encodedSize) { message.encode(into: $0) } == golden, "\(name)")
            }
        }
    }

    @Test("a field that this version does not know is skipped")
    func unknownFields() throws {
        try view(GoldenBytes.bytes(of: "PubMsg withUnknown")) {
            #expect(PubMsg(decoding: $0)!.subject.text == "s")
        }
        try view(GoldenBytes.bytes(of: "MsgProto withUnknown")) {
            #expect(MsgProto(decoding: $0)!.sequence == 300)
        }
        try view(GoldenBytes.bytes(of: "ConnectResponse withUnknown")) {
            #expect(ConnectResponse(decoding: $0)!.protocolVersion == 1)
        }
        // 64-bit, 32-bit and length-delimited fields with a high number, before and after a known one.
        let strange: [UInt8] =
            [0xF9, 0x07] + Array(repeating: 1, count: 8) + [0x0A, 1, 0x41] + [0xFD, 0x07, 1, 2, 3, 4]
            + [0xFA, 0x07, 0]
        view(strange) { #expect(CloseRequest(decoding: $0)!.clientID == bytes("A")) }
    }

    @Test("a publish acknowledgement comes in and goes out as protoc writes it")
    func pubAck() throws {
        for (name, error) in [("PubAck stored", ""), ("PubAck refused", "stan: invalid publish request")] {
            let golden = try GoldenBytes.bytes(of: name)
            view(golden) { memory in
                let ack = PubAck(decoding: memory)!
                #expect(ack.guid.text == "G1")
                #expect(ack.error.text == error)
                #expect(written(ack.encodedSize) { ack.encode(into: $0) } == golden)
            }
        }
    }

    @Test("a message comes in and goes out as protoc writes it, with the largest and smallest numbers")
    func msgProto() throws {
        let first = try GoldenBytes.bytes(of: "MsgProto first")
        view(first) { memory in
            let message = MsgProto(decoding: memory)!
            #expect(message.sequence == 1)
            #expect(message.timestamp == 1_790_000_000_123_456_789)
            #expect(message.redelivered == false)
            #expect(written(message.encodedSize) { message.encode(into: $0) } == first)
        }
        let again = try GoldenBytes.bytes(of: "MsgProto redelivered")
        view(again) { memory in
            let message = MsgProto(decoding: memory)!
            #expect(message.sequence == .max)
            #expect(message.subject.text == "p")
            #expect(message.reply.text == "r")
            #expect(message.data.text == "1")
            #expect(message.timestamp == -1)
            #expect(message.redelivered)
            #expect(message.redeliveryCount == .max)
            #expect(written(message.encodedSize) { message.encode(into: $0) } == again)
        }
    }

    @Test("an acknowledgement comes in and goes out as protoc writes it")
    func ack() throws {
        let golden = try GoldenBytes.bytes(of: "Ack one")
        view(golden) { memory in
            let ack = Ack(decoding: memory)!
            #expect(ack.subject.text == "orders")
            #expect(ack.sequence == 128)
            #expect(written(ack.encodedSize) { ack.encode(into: $0) } == golden)
        }
    }

    @Test("connect messages come in and go out as protoc writes them")
    func connect() throws {
        var request = ConnectRequest()
        request.clientID = bytes("me")
        request.heartbeatInbox = bytes("_INBOX.hb")
        request.protocolVersion = 1
        request.connectionID = [1, 2]
        request.pingIntervalSeconds = 5
        request.pingMaxOut = 88
        try expectBothWays("ConnectRequest full", request, ConnectRequest.init(decoding:), request.encoded())

        request = ConnectRequest()
        request.clientID = bytes("me")
        request.protocolVersion = -1
        request.pingIntervalSeconds = .min
        request.pingMaxOut = .max
        try expectBothWays(
            "ConnectRequest negative", request, ConnectRequest.init(decoding:), request.encoded())

        var response = ConnectResponse()
        response.publishPrefix = bytes("_STAN.pub.vc")
        response.subscribeRequests = bytes("_STAN.sub.vc")
        response.unsubscribeRequests = bytes("_STAN.unsub.vc")
        response.closeRequests = bytes("_STAN.close.vc")
        response.subscriptionCloseRequests = bytes("_STAN.subclose.vc")
        response.pingRequests = bytes("_STAN.discover.vc.pings")
        response.pingIntervalSeconds = 5
        response.pingMaxOut = 3
        response.protocolVersion = 1
        try expectBothWays(
            "ConnectResponse protocolOne", response, ConnectResponse.init(decoding:), response.encoded())

        response = ConnectResponse()
        response.error = bytes("stan: invalid connection request")
        try expectBothWays(
            "ConnectResponse error", response, ConnectResponse.init(decoding:), response.encoded())
    }

    @Test("subscribe messages come in and go out as protoc writes them")
    func subscribe() throws {
        var request = SubscriptionRequest()
        request.clientID = bytes("me")
        request.subject = bytes("orders")
        request.queueGroup = bytes("workers")
        request.inbox = bytes("_INBOX.m")
        request.maxInFlight = 1024
        request.ackWaitSeconds = 30
        request.durableName = bytes("dur")
        request.startPosition = .first
        request.startSequence = .max
        request.startTimeDelta = -3_600_000_000_000
        try expectBothWays(
            "SubscriptionRequest full", request, SubscriptionRequest.init(decoding:), request.encoded())

        request = SubscriptionRequest()
        request.clientID = bytes("me")
        request.subject = bytes("orders")
        request.inbox = bytes("_INBOX.m")
        request.maxInFlight = 1
        request.ackWaitSeconds = 1
        request.startPosition = .timeDeltaStart
        request.startTimeDelta = 5_000_000_000
        try expectBothWays(
            "SubscriptionRequest plain", request, SubscriptionRequest.init(decoding:), request.encoded())

        var response = SubscriptionResponse()
        response.ackInbox = bytes("_INBOX.abcdefghijklmnopqrstuv")
        try expectBothWays(
            "SubscriptionResponse ok", response, SubscriptionResponse.init(decoding:), response.encoded())
        response = SubscriptionResponse()
        response.error = bytes("stan: unknown clientID")
        try expectBothWays(
            "SubscriptionResponse error", response, SubscriptionResponse.init(decoding:), response.encoded())

        var end = UnsubscribeRequest()
        end.clientID = bytes("me")
        end.subject = bytes("orders")
        end.inbox = bytes("_INBOX.ack")
        end.durableName = bytes("dur")
        try expectBothWays("UnsubscribeRequest full", end, UnsubscribeRequest.init(decoding:), end.encoded())
    }

    @Test("close and ping messages come in and go out as protoc writes them, successes as no bytes at all")
    func closeAndPing() throws {
        var close = CloseRequest()
        close.clientID = bytes("me")
        try expectBothWays("CloseRequest one", close, CloseRequest.init(decoding:), close.encoded())
        var closed = CloseResponse()
        #expect(closed.encoded().isEmpty)
        try expectBothWays("CloseResponse ok", closed, CloseResponse.init(decoding:), closed.encoded())
        closed.error = bytes("stan: unknown clientID")
        try expectBothWays("CloseResponse error", closed, CloseResponse.init(decoding:), closed.encoded())

        var ping = Ping()
        ping.connectionID = bytes("conn-9")
        try expectBothWays("Ping one", ping, Ping.init(decoding:), ping.encoded())
        var pong = PingResponse()
        try expectBothWays("PingResponse ok", pong, PingResponse.init(decoding:), pong.encoded())
        pong.error = bytes("client has been replaced or is no longer registered")
        try expectBothWays("PingResponse replaced", pong, PingResponse.init(decoding:), pong.encoded())
    }

    private func expectBothWays<Message: Equatable>(
        _ name: String, _ message: Message, _ decode: (UnsafeRawBufferPointer) -> Message?,
        _ encoded: [UInt8]
    ) throws {
        let golden = try GoldenBytes.bytes(of: name)
        #expect(encoded == golden, "\(name)")
        view(golden) { #expect(decode($0) == message, "\(name)") }
    }
}

@Suite("hostile input to the streaming codec")
struct HostileMessageTests {
    /// Decodes as every message; true when one of them took the bytes.
    private func decodeAsEach(_ input: [UInt8]) -> [Bool] {
        input.withUnsafeBytes { bytes in
            [
                PubMsg(decoding: bytes) != nil, PubAck(decoding: bytes) != nil,
                MsgProto(decoding: bytes) != nil,
                Ack(decoding: bytes) != nil, ConnectRequest(decoding: bytes) != nil,
                ConnectResponse(decoding: bytes) != nil, Ping(decoding: bytes) != nil,
                PingResponse(decoding: bytes) != nil, SubscriptionRequest(decoding: bytes) != nil,
                SubscriptionResponse(decoding: bytes) != nil, UnsubscribeRequest(decoding: bytes) != nil,
                CloseRequest(decoding: bytes) != nil, CloseResponse(decoding: bytes) != nil,
            ]
        }
    }

    @Test(
        "is refused",
        arguments: [
            ("length beyond the end", [0x0A, 0x05, 0x41]),
            ("length of 2^64 - 1", [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
            (
                "length that a signed size would take as negative",
                [0x0A] + Array(repeating: 0x80, count: 8) + [0x80, 1]
            ),
            ("varint of eleven bytes", [0x50] + Array(repeating: 0x80, count: 10) + [0x01]),
            ("varint above 64 bits", [0x50] + Array(repeating: 0xFF, count: 9) + [0x02]),
            ("varint without end", [0x50, 0x80]),
            ("key alone", [0x0A]),
            ("field number 0", [0x02, 0x00]),
            ("group", [0x0B, 0x0C]),
            ("end of a group", [0x7C]),
            ("wire type 6", [0x0E]),
            ("wire type 7", [0x7F]),
            ("cut 64-bit field", [0xF9, 0x07, 1, 2, 3]),
            ("cut 32-bit field", [0xFD, 0x07, 1]),
            ("field number above 2^29 - 1", [0x80, 0x80, 0x80, 0x80, 0x10, 0x00]),
        ] as [(String, [UInt8])])
    func refused(_ name: String, _ input: [UInt8]) {
        #expect(decodeAsEach(input).allSatisfy { !$0 }, "\(name)")
    }

    @Test("a known field of another wire type is refused")
    func wrongWireType() {
        [UInt8]([0x08, 0x01]).withUnsafeBytes { #expect(PubMsg(decoding: $0) == nil) }
        [UInt8]([0x0A, 0x01, 0x41]).withUnsafeBytes { #expect(MsgProto(decoding: $0) == nil) }
    }

    @Test("every truncation of a whole message ends without reading past its end")
    func truncations() {
        for (_, bytes) in GoldenBytes.all {
            for length in 0..<bytes.count { _ = decodeAsEach(Array(bytes[..<length])) }
        }
    }

    @Test("random and bent bytes never crash the decoders")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("hostile messages: seed \(seed); replay by putting it into HostileMessageTests.random")
        var generator = SeededGenerator(seed: seed)
        let golden = GoldenBytes.all.map(\.bytes).filter { !$0.isEmpty }
        for round in 0..<20_000 {
            var input: [UInt8]
            if round % 2 == 0 {
                input = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
            } else {
                input = golden.randomElement(using: &generator)!
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    input[Int.random(in: 0..<input.count, using: &generator)] =
                        UInt8.random(in: 0...255, using: &generator)
                }
            }
            _ = decodeAsEach(input)
            // What was understood goes out no larger than any reading of it: the round trip is stable.
            input.withUnsafeBytes { bytes in
                guard let message = PubMsg(decoding: bytes) else { return }
                var output = [UInt8](repeating: 0, count: message.encodedSize)
                output.withUnsafeMutableBytes { _ = message.encode(into: $0) }
                output.withUnsafeBytes { again in
                    #expect(PubMsg(decoding: again).map { [UInt8]($0.data) } == [UInt8](message.data))
                }
            }
        }
    }
}
