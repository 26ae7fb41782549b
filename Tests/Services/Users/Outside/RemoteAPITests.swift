import AsyncHTTPClient
import Foundation
import ServicesCore
import Synchronization
import Testing

@testable import UsersService

@Suite("calls of other companies' APIs") struct RemoteAPITests {
    /// Runs a test against a server that gives these answers in turn, and counts the calls.
    private func run(
        _ answers: [StandInAnswer], clock: ManualClock = ManualClock(),
        _ body: @escaping @Sendable (RemoteAPI, _ calls: @escaping @Sendable () -> Int) async throws -> Void
    ) async throws {
        let calls = Mutex(0)
        try await StandInServer.run { _ in
            let index = calls.withLock { count in
                defer { count += 1 }
                return count
            }
            return answers[min(index, answers.count - 1)]
        } _: { url in
            let api = RemoteAPI(
                name: "Test", baseURL: url + "/", client: Outside.client, clock: clock.service)
            try await body(api, { calls.withLock { $0 } })
        }
    }

    private static let request = RemoteRequest(.GET, "/things/{}", ["a|b/c?d"])

    @Test("values in paths are percent-encoded and stay out of errors")
    func encoding() {
        #expect(Self.request.path == "/things/a%7Cb%2Fc%3Fd")
        #expect(Self.request.call == "GET /things/{}")
        #expect(RemoteRequest(.GET, "/x?email={}&y=1", ["ä+b@x.io"]).path == "/x?email=%C3%A4%2Bb%40x.io&y=1")
    }

    @Test("429 and 5xx are tried three times in all, after growing pauses", arguments: [429, 500, 503])
    func retries(_ status: Int) async throws {
        let clock = ManualClock()
        try await run([StandInAnswer(status: status)], clock: clock) { api, calls in
            async let outcome = Result(catching: { try await api.send(Self.request) })
            await clock.finishSleep(of: .milliseconds(250))
            await clock.finishSleep(of: .milliseconds(500))
            let result = await outcome
            let error = try #require(throws: RemoteAPIError.self) { try result.get() }
            #expect(error.cause == .status(status, reason: nil))
            #expect(calls() == 3)
        }
    }

    @Test("Retry-After sets the pause, and the try after it may succeed")
    func retryAfter() async throws {
        let clock = ManualClock()
        try await run(
            [
                StandInAnswer(status: 429, headers: ["retry-after": "7"]),
                StandInAnswer(body: Data("{}".utf8)),
            ],
            clock: clock
        ) { api, calls in
            async let outcome = api.send(Self.request)
            await clock.finishSleep(of: .seconds(7))
            let answer = try await outcome
            #expect(answer.status == 200)
            #expect(calls() == 2)
        }
    }

    @Test("a pause longer than a caller would wait is handed on")
    func longRetryAfter() async throws {
        try await run([StandInAnswer(status: 429, headers: ["retry-after": "60"])]) { api, calls in
            let error = try await #require(throws: RemoteAPIError.self) { try await api.send(Self.request) }
            #expect(error.retryAfter == .seconds(60))
            #expect(calls() == 1)
        }
    }

    @Test("other refusals are final; the reason is told where it is about our credentials, and nowhere else")
    func refusals() async throws {
        for (status, reason) in [(400, nil), (403, "Insufficient scope"), (404, nil)] as [(Int, String?)] {
            let answer = try StandInAnswer.json(["message": "Insufficient scope"], status: status)
            try await run([answer]) { api, calls in
                let error = try await #require(throws: RemoteAPIError.self) {
                    try await api.send(Self.request)
                }
                #expect(error.cause == .status(status, reason: reason))
                #expect(calls() == 1)
                #expect(try await api.send(Self.request, accepting: [status]).status == status)
            }
        }
    }

    @Test("a redirect is not followed: it would carry the token away")
    func redirect() async throws {
        try await run([StandInAnswer(status: 302, headers: ["location": "/elsewhere"])]) { api, calls in
            let error = try await #require(throws: RemoteAPIError.self) { try await api.send(Self.request) }
            #expect(error.cause == .status(302, reason: nil))
            #expect(calls() == 1)
        }
    }

    @Test("a call that hangs ends after its time, and is not repeated")
    func timeout() async throws {
        let auth = AuthStandIn()
        auth.with { $0.hanging = ["GET /things/a%7Cb%2Fc%3Fd"] }
        let clock = ManualClock()
        try await StandInServer.run(answering: auth.answer) { url in
            let api = RemoteAPI(name: "Test", baseURL: url, client: Outside.client, clock: clock.service)
            async let outcome = Result(catching: { try await api.send(Self.request) })
            await clock.finishSleep(of: .seconds(5))
            let result = await outcome
            let error = try #require(throws: RemoteAPIError.self) { try result.get() }
            #expect(error.cause == .timedOut(.seconds(5)))
        }
    }

    @Test("nobody at the address is unreachable, and may pass")
    func unreachable() async throws {
        // Port 1 is nobody's. One that a server of ours had may live on in a child process that inherited it.
        let api = RemoteAPI(
            name: "Test", baseURL: "http://127.0.0.1:1", client: Outside.client, clock: ManualClock().service,
            tries: 1)
        let error = try await #require(throws: RemoteAPIError.self) { try await api.send(Self.request) }
        #expect(error.mayPass)
        #expect("\(error)".contains("Test cannot be reached (GET /things/{})"))
    }

    @Test("an answer that is not what it should be names the field and quotes nothing")
    func unreadable() async throws {
        for (body, text) in [
            ("{}", "there is no \"user_id\""), ("{\"user_id\":1}", "\"user_id\" has another type"),
            ("<html>secret</html>", "it is no JSON"), ("", "it is no JSON"),
        ] {
            try await run([StandInAnswer(body: Data(body.utf8))]) { api, _ in
                let answer = try await api.send(Self.request)
                let error = #expect(throws: RemoteAPIError.self) { try answer.decode(Auth0User.self) }
                #expect(error?.cause == .unreadable(text))
            }
        }
    }

    @Test("Retry-After is read as seconds and as a date; nonsense says nothing")
    func retryAfterHeader() {
        let now = Timestamp(microseconds: 1_445_412_450_000_000)
        #expect(RetryAfter.read("0", now: now) == .zero)
        #expect(RetryAfter.read("120", now: now) == .seconds(120))
        #expect(RetryAfter.read("Wed, 21 Oct 2015 07:28:00 GMT", now: now) == .seconds(30))
        #expect(RetryAfter.read("Wed, 21 Oct 2015 07:00:00 GMT", now: now) == .zero)
        #expect(RetryAfter.read("99999999999999", now: now) == .seconds(86_400))
        for text in [
            "-1", "", "soon", "Wed, 21 Oct", "Wed, 41 Oct 2015 07:28:00 GMT", "99999999999999999999999",
        ] {
            #expect(RetryAfter.read(text, now: now) == nil)
        }
        #expect(RetryAfter.read(nil, now: now) == nil)
    }
}
