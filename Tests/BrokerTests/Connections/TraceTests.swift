import Testing

@testable import Broker

@Suite("trace lines of connections", .timeLimit(.minutes(10)))
struct TraceTests {
    /// The lines of one connection that says `input`, without its address and number.
    private func lines(
        _ input: String, _ options: BrokerOptions = CoreFixture.options()
    ) async throws -> [String] {
        let lines = LogLines()
        try await CoreFixture.run(options, logger: lines.logger(.trace)) { core in
            let client = try await RawClient.connect(port: core.port)
            client.send(input)
            _ = try await client.untilPong()
            await client.close()
            while try await core.counters().connections > 0 { await Task.yield() }
        }
        return lines.all.compactMap { (line: String) -> String? in
            guard line.hasPrefix("trace: 127.0.0.1:"), let start = line.firstRange(of: "cid:1 - ") else {
                return nil
            }
            return String(line[start.upperBound...]).replacing(#/^".*" - /#, with: "")
        }
    }

    @Test("what came in, what went out and what ended, in its order")
    func session() async throws {
        let got = try await lines(
            "CONNECT {\"verbose\":false,\"headers\":true,\"name\":\"x\"}\r\nSUB a 1\r\nSUB a.* q 2\r\nPUB a 2\r\nhi\r\n"
                + "PUB  a\trep  3\r\nyou\r\nHPUB a 12 14\r\nNATS/1.0\r\n\r\nho\r\nUNSUB 2 1\r\nPUB a.b 3\r\n\u{0}\"z\r\n"
                + "UNSUB 1\r\nSUB b..c 4\r\nPUB none 0\r\n\r\n")
        #expect(
            got == [
                #"<<- [CONNECT {"verbose":false,"headers":true,"name":"x"}]"#, "<<- [SUB a 1]",
                "<<- [SUB a.* q 2]", "<<- [PUB a 2]", #"<<- MSG_PAYLOAD: ["hi"]"#, "->> [MSG a 1 2]",
                #"->> MSG_PAYLOAD: ["hi"]"#, "<<- [PUB a rep 3]", #"<<- MSG_PAYLOAD: ["you"]"#,
                "->> [MSG a 1 rep 3]", #"->> MSG_PAYLOAD: ["you"]"#, "<<- [HPUB a 12 14]",
                #"<<- MSG_PAYLOAD: ["NATS/1.0\r\n\r\nho"]"#, "->> [HMSG a 1 12 14]",
                #"->> MSG_PAYLOAD: ["NATS/1.0\r\n\r\nho"]"#, "<<- [UNSUB 2 1]", "<<- [PUB a.b 3]",
                #"<<- MSG_PAYLOAD: ["\x00\"z"]"#, "->> [MSG a.b 2 3]", #"->> MSG_PAYLOAD: ["\x00\"z"]"#,
                "<-> [DELSUB 2]", "<<- [UNSUB 1]", "<-> [DELSUB 1]", "<<- [SUB b..c 4]",
                "->> [-ERR Invalid Subject]", "<<- [PUB none 0]", "<<- [PING]", "->> [PONG]",
            ])
    }

    @Test("a receiver without headers is shown what it gets; what is left at the end is named")
    func stripped() async throws {
        let lines = LogLines()
        try await CoreFixture.run(logger: lines.logger(.trace)) { core in
            let old = try await RawClient.ready(port: core.port)
            old.send("SUB h 7\r\n")
            #expect(try await old.untilPong() == "")
            let new = try await RawClient.ready(port: core.port, "\"headers\":true")
            new.send("HPUB h 12 14\r\nNATS/1.0\r\n\r\nho\r\n")
            #expect(try await new.untilPong() == "")
            await old.close()
            while try await core.counters().connections > 1 { await Task.yield() }
        }
        #expect(lines.count(containing: "cid:1 - ->> [MSG h 7 2]") == 1, "\(lines.all)")
        #expect(lines.count(containing: #"cid:1 - ->> MSG_PAYLOAD: ["ho"]"#) == 1)
        #expect(lines.count(containing: "cid:1 - <-> [DELSUB 7]") == 1)
    }

    @Test("after CONNECT a client's lines name its library, and the user that it got in as")
    func label() async throws {
        func label(_ credentials: String, _ change: (inout BrokerOptions) -> Void) async throws -> String? {
            let lines = LogLines()
            try await CoreFixture.run(CoreFixture.options(change), logger: lines.logger(.trace)) { core in
                let client = try await RawClient.ready(
                    port: core.port, #""version":"1","lang":"c","name":"n""# + credentials)
                await client.close()
                while try await core.counters().connections > 0 { await Task.yield() }
            }
            let line = lines.all.first { $0.contains("<<- [PING]") }
            return line?.replacing(#/^.*cid:1 - /#, with: "").replacing(" - <<- [PING]", with: "")
        }
        func one(_ options: inout BrokerOptions) {
            options.user = "u"
            options.password = "p"
        }
        #expect(try await label(#","user":"u","pass":"p""#, one) == #""v1:c:n" - "$G/user:u""#)
        #expect(try await label(#","user":"u","pass":"p""#) { _ in } == #""v1:c:n""#)
        #expect(try await label(#","auth_token":"t""#) { $0.token = "t" } == #""v1:c:n""#)
    }

    @Test("verbose answers are shown")
    func verbose() async throws {
        let got = try await lines("SUB a 1\r\n")
        #expect(got.prefix(2) == ["<<- [SUB a 1]", "->> [OK]"])
    }

    @Test("a long payload is shown up to the length that was set")
    func longPayload() async throws {
        let got = try await lines(
            "CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 6\r\nabcdef\r\nPUB a 5\r\nabcde\r\n",
            CoreFixture.options { $0.maxTracedMessageBytes = 5 })
        #expect(
            got.filter { $0.contains("abc") }.map { $0.suffix(11) }
                == [
                    #"["abcde..."]"#, #"["abcde..."]"#, #"D: ["abcde"]"#, #"D: ["abcde"]"#,
                ].map { $0.suffix(11) })
    }

    @Test(
        "no secret of a CONNECT is shown, however it is spelled",
        arguments: [
            #"{"user":"u","pass":"s3cret"}"#, #"{"PASS":"s3cret","auth_token":"s3cret"}"#,
            #"{"\u0070ass":"s3cret"}"#, #"{"pass":{"a":"s3cret"}}"#,
            #"{"jwt":"s3cret","sig":"s3cret","nkey":"s3cret"}"#,
            #"{"pass":"s3cret""#,
        ])
    func secrets(connect: String) async throws {
        let lines = LogLines()
        try await CoreFixture.run(logger: lines.logger(.trace)) { core in
            let client = try await RawClient.connect(port: core.port)
            client.send("CONNECT \(connect)\r\n")
            client.send("PING\r\n")
            _ = try? await client.line()
            await client.close()
            while try await core.counters().connections > 0 { await Task.yield() }
        }
        #expect(lines.count(containing: "<<- [CONNECT ") == 1)
        #expect(lines.count(containing: "s3cret") == 0, "\(lines.all)")
    }
}
