import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("a shutdown while Auth0 hangs", .serialized) struct ShutdownTests {
    /// A service whose calls of outside systems have no time limit, and which ends them at once when it is shut down.
    private func run(_ body: @escaping @Sendable (UsersTest) async throws -> Void) async throws {
        let pause = ServiceClock.system.sleep
        let clock = ServiceClock(
            now: ServiceClock.system.now, monotonic: ServiceClock.system.monotonic,
            sleep: { duration in
                if duration == .seconds(30) { return }
                if duration != .seconds(5) { return try await pause(duration) }
                let (never, continuation) = AsyncStream.makeStream(of: Void.self)
                for await _ in never {}
                continuation.finish()
                throw CancellationError()
            })
        try await UsersTest.run(environment: ["API_WEB_SHUTDOWN_TIMEOUT": "60s"], clock: clock) { test in
            test.auth.with { $0.hanging = ["POST /oauth/token"] }
            try await body(test)
        }
    }

    @Test("answers the request that waits for it, and ends", .timeLimit(.minutes(2)))
    func request() async throws {
        try await run { test in
            let subject = "auth0|60a666916089a00069b2a773"
            async let waiting = test.send(
                "POST", "", subject: subject,
                "{\"auth0Id\":\"\(subject)\",\"email\":\"n@x.io\",\"firstName\":\"N\"}")
            try await test.service.eventually("Auth0 is asked") { test.auth.count("POST /oauth/token") == 1 }
            await test.service.service.shutdown()
            #expect(try await waiting.status == 502)
        }
    }

    @Test("gives the mail that waits for it back, and counts no try", .timeLimit(.minutes(2)))
    func mail() async throws {
        try await run { test in
            let team = try await test.makeTeam()
            let reply = try await test.send(
                "POST", "/teams/\(team)/invites", as: UsersTest.ann, "{\"emailList\":[\"new@x.io\"]}")
            #expect(reply.status == 201)
            try await test.service.eventually("Auth0 is asked") { test.auth.count("POST /oauth/token") == 1 }
            await test.service.service.shutdown()
            #expect(try await test.sql("SELECT state, attempts FROM mail_outbox") == "pending|0")
        }
    }
}
