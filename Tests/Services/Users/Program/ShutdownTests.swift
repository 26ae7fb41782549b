import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("a shutdown while an outside system hangs or wants to be left alone", .serialized) struct ShutdownTests
{
    private static let newcomer = "auth0|60a666916089a00069b2a773"
    private static let registration =
        "{\"auth0Id\":\"\(newcomer)\",\"email\":\"n@x.io\",\"firstName\":\"N\"}"
    private static let wait = StandInAnswer(status: 429, headers: ["retry-after": "9"])

    /// A service whose calls of outside systems have no time limit, and whose pauses of 9 s, which set `isPausing`, no
    /// end; when it is shut down it hangs up at once.
    private func run(
        isPausing: Latch = Latch(), _ body: @escaping @Sendable (UsersTest) async throws -> Void
    ) async throws {
        let pause = ServiceClock.system.sleep
        let clock = ServiceClock(
            now: ServiceClock.system.now, monotonic: ServiceClock.system.monotonic,
            sleep: { duration in
                if duration == .seconds(30) { return }
                if duration == .seconds(9) {
                    isPausing.set()
                } else if duration != .seconds(5) {
                    return try await pause(duration)
                }
                let (never, continuation) = AsyncStream.makeStream(of: Void.self)
                for await _ in never {}
                continuation.finish()
                throw CancellationError()
            })
        try await UsersTest.run(
            environment: ["API_WEB_SHUTDOWN_TIMEOUT": "60s"], clock: clock, body)
    }

    @Test("answers the request that waits for it, and ends", .timeLimit(.minutes(2)))
    func request() async throws {
        try await run { test in
            test.auth.with { $0.hanging = ["POST /oauth/token"] }
            async let waiting = test.send("POST", "", subject: Self.newcomer, Self.registration)
            try await test.service.eventually("Auth0 is asked") { test.auth.count("POST /oauth/token") == 1 }
            await test.service.service.shutdown()
            #expect(try await waiting.status == 502)
        }
    }

    @Test("gives the mail that waits for it back, and counts no try", .timeLimit(.minutes(2)))
    func mail() async throws {
        try await run { test in
            test.auth.with { $0.hanging = ["POST /oauth/token"] }
            try await invite(test)
            try await test.service.eventually("Auth0 is asked") { test.auth.count("POST /oauth/token") == 1 }
            await test.service.service.shutdown()
            #expect(try await test.sql("SELECT state, attempts FROM mail_outbox") == "pending|0")
        }
    }

    @Test("answers the request that pauses between two tries, and ends", .timeLimit(.minutes(2)))
    func pausingRequest() async throws {
        let isPausing = Latch()
        try await run(isPausing: isPausing) { test in
            test.auth.interject("POST /oauth/token", Self.wait)
            async let waiting = test.send("POST", "", subject: Self.newcomer, Self.registration)
            await isPausing.wait()
            await test.service.service.shutdown()
            let reply = try await waiting
            #expect(reply.status == 502)
            #expect(test.auth.count("POST /oauth/token") == 1)
        }
    }

    @Test("gives the mail that pauses between two tries back, due at once", .timeLimit(.minutes(2)))
    func pausingMail() async throws {
        let isPausing = Latch()
        try await run(isPausing: isPausing) { test in
            test.mail.interject(Self.wait)
            try await invite(test)
            await isPausing.wait()
            await test.service.service.shutdown()
            let row = try await test.sql(
                """
                SELECT state, attempts, next_attempt_at <= clock_timestamp() AT TIME ZONE 'utc' FROM mail_outbox
                """)
            #expect(row == "ready|0|t")
        }
    }

    private func invite(_ test: UsersTest) async throws {
        let team = try await test.makeTeam()
        let reply = try await test.send(
            "POST", "/teams/\(team)/invites", as: UsersTest.ann, "{\"emailList\":[\"new@x.io\"]}")
        #expect(reply.status == 201)
    }
}
