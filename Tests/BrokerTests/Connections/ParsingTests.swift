import Testing

@testable import Broker

@Suite("operations over a socket", .timeLimit(.minutes(10)))
struct ParsingTests {
    @Test(
        "what is no operation is named and ends the connection",
        arguments: [
            "ZZZ\r\n", " PING\r\n", "\r\n", "PUBS foo 2\r\n", "PUB\r\n", "MSG foo 1 2\r\n",
            "PUB foo 2\r\nok \r\n",
        ])
    func unknown(_ input: String) async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.connect(port: core.port)
            client.send("CONNECT {\"verbose\":false}\r\n" + input)
            #expect(try await client.rest() == "-ERR 'Unknown Protocol Operation'\r\n")
        }
    }

    @Test(
        "bad arguments end the connection without a word",
        arguments: [
            "PUB foo\r\n", "PUB \r\n", "SUB foo\r\n", "UNSUB \r\n", "PUB foo -1\r\n", "HPUB foo 1 1\r\nx\r\n",
            "-ERR 'x'\r\n",
            "INFO [\r\n", "INFO []\r\n",
        ])
    func badArguments(_ input: String) async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.connect(port: core.port)
            client.send("CONNECT {\"verbose\":false}\r\n" + input)
            #expect(try await client.rest() == "")
        }
    }

    @Test("what a client may send and nobody acts on is ignored")
    func ignored() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("+OK\r\nINFO {}\r\nPONG\r\nUNSUB 99\r\n")
            #expect(try await client.untilPong() == "")
        }
    }

    @Test("limits are named")
    func limits() async throws {
        let options = CoreFixture.options {
            $0.maxPayload = 10
            $0.maxControlLine = 64
        }
        try await CoreFixture.run(options) { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB foo 1\r\nPUB foo 10\r\n0123456789\r\n")
            #expect(try await client.message().payload.text == "0123456789")
            client.send("PUB foo 11\r\n")
            #expect(try await client.rest() == "-ERR 'Maximum Payload Violation'\r\n")

            let long = try await RawClient.ready(port: core.port)
            long.send("SUB " + String(repeating: "x", count: 65))
            #expect(try await long.rest() == "-ERR 'maximum control line exceeded'\r\n")
            let connect = try await RawClient.connect(port: core.port)
            connect.send("CONNECT {\"name\":\"" + String(repeating: "x", count: 54) + "\"}\r\n")
            #expect(try await connect.rest() == "-ERR 'maximum control line exceeded'\r\n")
            let info = try await RawClient.open(port: core.port)
            #expect(try await info.line().contains("\"max_payload\":10,"))
        }
    }

    @Test("payloads are bytes, of any content and size")
    func payloads() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB foo 1\r\n")
            let hostile = Array("a\r\nPUB x 1\r\n\0\u{FF}\r\n".utf8) + [0, 0xFF]
            let large = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            for payload in [[], hostile, large] {
                client.send(Array("PUB foo \(payload.count)\r\n".utf8) + payload + [0x0D, 0x0A])
                let message = try await client.message()
                #expect(message.line == "MSG foo 1 \(payload.count)")
                #expect(message.payload == payload)
            }
        }
    }

    @Test("10,000 operations in one write are processed in order")
    func pipelined() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            client.send(
                "SUB n 1\r\n" + (0..<10_000).map { "PUB n \(String($0).count)\r\n\($0)\r\n" }.joined())
            for number in 0..<10_000 {
                #expect(try await client.message().payload.text == String(number))
            }
        }
    }

    @Test("operations arrive byte by byte")
    func bytewise() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.connect(port: core.port)
            for byte
                in "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB a.* 1\r\nHPUB a.b r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPING\r\n"
                .utf8
            {
                try await client.sendAndWait([byte])
            }
            #expect(try await client.line() == "HMSG a.b 1 r 12 14")
            #expect(try await client.bytes(16).text == "NATS/1.0\r\n\r\nhi\r\n")
            #expect(try await client.line() == "PONG")
        }
    }

    @Test("random bytes on a socket end that connection and harm nobody")
    func random() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("socket garbage: seed \(seed); replay by putting it into ParsingTests.random")
        var generator = SeededGenerator(seed: seed)
        try await CoreFixture.run { core in
            let witness = try await RawClient.ready(port: core.port)
            for _ in 0..<50 {
                let client = try await RawClient.connect(port: core.port)
                let bytes = (0..<Int.random(in: 1...200, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                client.send(bytes + Array("\r\nQUIT\r\n".utf8))
                try await client.closeOutput()
                _ = try await client.rest()
                await client.close()
            }
            #expect(try await witness.untilPong() == "")
        }
    }
}
