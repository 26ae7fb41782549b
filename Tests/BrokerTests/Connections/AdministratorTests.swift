import Testing

@testable import Broker

@Suite("who may delete and purge channels", .timeLimit(.minutes(10)))
struct AdministratorTests {
    /// Whether a client that presents `credentials` may make a request; nil when it does not get in.
    private func may(_ credentials: String, _ change: (inout BrokerOptions) -> Void) async throws -> Bool? {
        try await CoreFixture.run(CoreFixture.options(change)) { core in
            let client = try await RawClient.connect(port: core.port)
            client.send("CONNECT {\"verbose\":false,\"pedantic\":false\(credentials)}\r\nPING\r\n")
            guard try await client.line() == "PONG" else { return nil }
            client.send(
                "SUB inbox 1\r\nPUB $BROKER.API.CHANNEL.DELETE.vc.foo inbox 2\r\n{}\r\nPUB inbox 2\r\nme\r\n")
            let line = try await client.line()
            guard line.hasPrefix("-ERR") else {
                #expect(line == "MSG inbox 1 2")
                return true
            }
            #expect(
                line == "-ERR 'Permissions Violation for Publish to \"$BROKER.API.CHANNEL.DELETE.vc.foo\"'")
            let answer = try await client.message().payload.text
            #expect(answer.hasPrefix("{\"error\":\"this client may not delete or purge channels;"))
            #expect(try await client.message().payload.text == "me")
            return false
        }
    }

    @Test("everybody, unless there is a token for it")
    func everybody() async throws {
        #expect(try await may("") { _ in } == true)
        #expect(try await may(",\"auth_token\":\"x\"") { _ in } == true)
        #expect(try await may(",\"auth_token\":\"t\"") { $0.token = "t" } == true)
    }

    @Test("with a token for it, who presents that, and nobody else")
    func token() async throws {
        func guarded(_ options: inout BrokerOptions) { options.administratorToken = "secret" }
        #expect(try await may("", guarded) == false)
        #expect(try await may(",\"auth_token\":\"secreT\"", guarded) == false)
        #expect(try await may(",\"auth_token\":\"\"", guarded) == false)
        #expect(try await may(",\"auth_token\":\"secret\"", guarded) == true)
        func both(_ options: inout BrokerOptions) {
            options.administratorToken = "secret"
            options.user = "u"
            options.password = "p"
        }
        #expect(try await may("", both) == nil)
        #expect(try await may(",\"auth_token\":\"wrong\"", both) == nil)
        #expect(try await may(",\"user\":\"u\",\"pass\":\"p\"", both) == false)
        #expect(try await may(",\"auth_token\":\"secret\"", both) == true)
        #expect(
            try await may("") {
                $0.administratorToken = ""
            } == false)
    }

    @Test("a client that sends no CONNECT has no more right than one that presents nothing")
    func withoutConnect() async throws {
        let options = CoreFixture.options { $0.administratorToken = "secret" }
        try await CoreFixture.run(options) { core in
            let client = try await RawClient.connect(port: core.port)
            client.send("PUB $BROKER.API.CHANNEL.PURGE.vc.foo 0\r\n\r\n")
            #expect(
                try await client.line()
                    == "-ERR 'Permissions Violation for Publish to \"$BROKER.API.CHANNEL.PURGE.vc.foo\"'")
        }
    }

    @Test("a reply subject makes no request, of whoever answers")
    func reply() async throws {
        let options = CoreFixture.options { $0.administratorToken = "secret" }
        try await CoreFixture.run(options) { core in
            let client = try await RawClient.ready(port: core.port)
            client.send("SUB a 1\r\nPUB a $BROKER.API.CHANNEL.DELETE.vc.foo 0\r\n\r\nPUB a 2\r\nme\r\n")
            #expect(
                try await client.line()
                    == "-ERR 'Permissions Violation for Publish with Reply of \"$BROKER.API.CHANNEL.DELETE.vc.foo\"'"
            )
            #expect(try await client.message().payload.text == "me")
        }
    }

    @Test(
        "the engine, whose answers go where clients say, makes no request either", arguments: ["", "secret"])
    func engine(token: String) async throws {
        let options = CoreFixture.options { $0.administratorToken = token.isEmpty ? nil : token }
        let subject = "$BROKER.API.CHANNEL.DELETE.vc.foo"
        try await CoreFixture.run(options) { core in
            try await core.onLoop(0) { core in
                core.listen(on: Array("$BROKER.API.>".utf8), tag: 1)
                let outcome = Array(subject.utf8).withUnsafeBytes { subject in
                    let none = UnsafeRawBufferPointer(start: nil, count: 0)
                    return core.publish(subject: subject, reply: none, payload: none)
                }
                #expect(outcome.receivers == 0)
            }
        }
    }
}
