import Testing

@testable import BrokerClient

@Suite("Addresses and headers")
struct AddressAndHeaderTests {
    @Test("addresses in every form")
    func addresses() throws {
        #expect(try ServerURL("localhost") == ServerURL(host: "localhost"))
        #expect(try ServerURL("nats://h:1/") == ServerURL(host: "h", port: 1))
        #expect(try ServerURL("[::1]:9") == ServerURL(host: "::1", port: 9))
        let url = try ServerURL("NATS://me:p%40ss:w@h")
        #expect(url.user == "me")
        #expect(url.password == "p@ss:w")
        #expect(try ServerURL("nats://s3cret@h").token == "s3cret")
        #expect(try ServerURL.list("a, b:2,nats://c").map(\.address) == ["a:4222", "b:2", "c:4222"])
    }

    @Test(
        "what is no address says why",
        arguments: [
            "", "nats://", "h:0", "h:65536", "h:x", "http://h", "tls://h", "[::1", "[::1]x", "a b", "::1",
            "u:p@", "h:-1",
            "a\r\nb", "h/x",
        ])
    func badAddresses(text: String) {
        #expect(throws: ClientError.self) { try ServerURL(text) }
    }

    @Test("no error and no description shows a password")
    func redaction() throws {
        #expect("\(try ServerURL("nats://me:secret@h"))" == "nats://[REDACTED]@h:4222")
        let error = #expect(throws: ClientError.self) { try ServerURL("nats://me:secret@h:x") }
        #expect(error.map { "\($0)" }?.contains("secret") == false)
    }

    @Test("headers keep order, case and repetitions, and survive the wire")
    func headers() throws {
        var headers: Headers = ["B": "1", "b": "2"]
        headers.append("B", "")
        let block = try headers.encoded()
        #expect(String(decoding: block, as: UTF8.self) == "NATS/1.0\r\nB: 1\r\nb: 2\r\nB: \r\n\r\n")
        #expect(Headers(block: block) == headers)
        #expect(headers.all("B") == ["1", ""])
        headers["B"] = nil
        #expect(headers["B"] == nil)
    }

    @Test("a status line is read")
    func status() {
        #expect(Headers(block: Array("NATS/1.0 503\r\n\r\n".utf8)).status == 503)
        let idle = Headers(block: Array("NATS/1.0 100 Idle Heartbeat\r\nX:  y\r\n\r\n".utf8))
        #expect(idle.status == 100)
        #expect(idle["Description"] == "Idle Heartbeat")
        #expect(idle["X"] == "y")
    }

    @Test(
        "headers that would forge other lines are refused",
        arguments: [
            ("", "x"), ("a:b", "x"), ("a b", "x"), ("a\r\nb", "x"), ("a", "x\r\ny: z"), ("a", "\n"),
            ("é", "x"),
        ])
    func badHeaders(name: String, value: String) {
        var headers = Headers()
        headers.append(name, value)
        #expect(throws: ClientError.invalidHeader(name)) { try headers.encoded() }
    }

    @Test("the delay before a reconnect doubles up to its bound and is spread by half")
    func backOff() {
        var policy = ReconnectPolicy()
        policy.firstDelay = .milliseconds(50)
        policy.maxDelay = .seconds(2)
        var generator = SeededGenerator()
        for (round, longest) in [(0, 50), (1, 100), (2, 200), (5, 1600), (6, 2000), (1_000_000, 2000)] {
            for _ in 0..<100 {
                let delay = policy.delay(round: round, using: &generator)
                #expect(delay <= .milliseconds(longest) && delay >= .milliseconds(longest) / 2)
            }
        }
    }
}
