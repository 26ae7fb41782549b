import Testing

@testable import Broker

@Suite("handshake and INFO", .timeLimit(.minutes(10)))
struct HandshakeTests {
    @Test("INFO is the first line and names what clients need")
    func info() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.open(port: core.port)
            let line = try await client.line()
            #expect(line.hasPrefix("INFO {\"server_id\":\"NTEST\""))
            for part in [
                "\"version\":\"2.12.0\"", "\"proto\":1", "\"headers\":true", "\"max_payload\":1048576",
                "\"client_id\":1", "\"client_ip\":\"127.0.0.1\"", "\"port\":\(core.port)",
            ] {
                #expect(line.contains(part), "\(part) in \(line)")
            }
            #expect(!line.contains("auth_required"))
            let second = try await RawClient.open(port: core.port)
            #expect(try await second.line().contains("\"client_id\":2"))
        }
    }

    @Test("the address of an IPv6 client has no brackets")
    func addressOfVersion6() async throws {
        try await CoreFixture.run(CoreFixture.options { $0.host = "::1" }) { core in
            let line = try await RawClient.open(host: "::1", port: core.port).line()
            #expect(line.contains("\"client_ip\":\"::1\""), "\(line)")
        }
    }

    @Test("INFO announces the address that the operator chose, in place of the one listened on")
    func advertised() async throws {
        let options = CoreFixture.options {
            $0.advertisedHost = "broker.example.org"
            $0.advertisedPort = 7777
        }
        try await CoreFixture.run(options) { core in
            let line = try await RawClient.open(port: core.port).line()
            #expect(line.contains("\"host\":\"broker.example.org\",\"port\":7777"), "\(line)")
            let client = try await RawClient.ready(port: core.port, "\"protocol\":1")
            #expect(try await client.line().contains("\"port\":7777"))
        }
        let hostAlone = CoreFixture.options { $0.advertisedHost = "h" }
        try await CoreFixture.run(hostAlone) { core in
            let line = try await RawClient.open(port: core.port).line()
            #expect(line.contains("\"host\":\"h\",\"port\":\(core.port)"), "\(line)")
        }
    }

    @Test("CONNECT and PING in one write give one PONG, and with protocol 1 one INFO after it")
    func connect() async throws {
        try await CoreFixture.run { core in
            let old = try await RawClient.ready(port: core.port)
            #expect(try await old.untilPong() == "")
            let new = try await RawClient.ready(port: core.port, "\"protocol\":1")
            let info = try await new.line()
            #expect(info.contains("\"connect_info\":true,\"remote_account\":\"$G\""))
            #expect(try await new.untilPong() == "")
            let verbose = try await RawClient.connect(port: core.port)
            verbose.send("CONNECT {\"verbose\":true}\r\nPING\r\n")
            #expect(try await verbose.line() == "+OK")
            #expect(try await verbose.line() == "PONG")
        }
    }

    @Test("without CONNECT everything works, verbosely")
    func defaults() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.connect(port: core.port)
            client.send("PING\r\nSUB foo 1\r\nPUB foo 5\r\nhello\r\n")
            for expected in ["PONG", "+OK", "+OK", "MSG foo 1 5", "hello"] {
                #expect(try await client.line() == expected)
            }
        }
    }

    @Test("a second CONNECT takes effect")
    func again() async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.ready(port: core.port)
            client.send(
                "SUB foo 1\r\nCONNECT {\"verbose\":true,\"pedantic\":false,\"echo\":false}\r\nPUB foo 0\r\n\r\n"
            )
            #expect(try await client.line() == "+OK")
            #expect(try await client.line() == "+OK")
            #expect(try await client.untilPong() == "")
        }
    }

    @Test(
        "a CONNECT is refused with its text, or without one",
        arguments: [
            ("CONNECT {\"protocol\":2}", "-ERR 'invalid client protocol'\r\n"),
            ("CONNECT {\"no_responders\":true}", "-ERR 'no responders requires headers support'\r\n"),
            ("CONNECT {\"account\":\"a\"}", "-ERR 'Authorization Violation'\r\n"),
            ("CONNECT {\"new_account\":true}", "-ERR 'Authorization Violation'\r\n"),
            ("CONNECT {\"verbose\":", ""), ("CONNECT []", ""), ("CONNECT {\"verbose\":1}", ""),
            ("CONNECT {} x", ""), ("CONNECT {\"name\":5}", ""), ("CONNECT", ""),
        ])
    func refused(_ line: String, _ expected: String) async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.connect(port: core.port)
            client.send(line + "\r\n")
            #expect(try await client.rest() == expected)
        }
    }

    @Test(
        "a CONNECT is accepted",
        arguments: [
            "connect {}", "CoNnEcT {}", "CONNECT{}", "CONNECT null", "CONNECT {\"unknown\":[1,{\"a\":null}]}",
            "CONNECT {\"VERBOSE\":true,\"name\":null}", "CONNECT   {}",
        ])
    func accepted(_ line: String) async throws {
        try await CoreFixture.run { core in
            let client = try await RawClient.connect(port: core.port)
            client.send(line + "\r\n")
            #expect(try await client.line() == "+OK")
        }
    }
}
