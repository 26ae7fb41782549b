import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import ServicesCore

/// The API of another company: every call has a time limit, its status is checked, and what may pass is tried again.
///
/// A call is tried three times when the answer is 429 or 5xx or when there is no connection. Between the tries it
/// waits as long as `Retry-After` says, or 250 ms and then 500 ms. A pause longer than `longestPause` is not waited
/// for: the error carries it, and whoever can come back later does; nor is any pause once the service hangs up. A call that took longer than `timeout` is not
/// repeated, because the caller has waited enough.
struct RemoteAPI: Sendable {
    /// What the API is called in errors and logs.
    let name: String
    /// Scheme, host and port, perhaps a path; without a slash at the end.
    let baseURL: String
    /// Carries the calls; it must not follow redirects, which would carry credentials elsewhere.
    let client: HTTPClient
    /// Measures the time limit and the pauses.
    let clock: ServiceClock
    /// Set when nobody is to wait for another try any more.
    let isHangingUp: Latch
    /// How long a call may take, its answer's body included.
    let timeout: Duration
    /// How often a call is tried.
    let tries: Int
    /// The longest pause between two tries.
    let longestPause: Duration

    /// An answer larger than this is not one that this service asks for.
    private static let bodyLimit = 1 << 20

    /// An API below a base URL; slashes at its end do not matter.
    init(
        name: String, baseURL: String, client: HTTPClient, clock: ServiceClock, isHangingUp: Latch = Latch(),
        timeout: Duration = .seconds(5), tries: Int = 3, longestPause: Duration = .seconds(10)
    ) {
        precondition(tries > 0, "a call that is never tried has no outcome")
        self.name = name
        self.baseURL = String(baseURL.reversed().drop { $0 == "/" }.reversed())
        self.client = client
        self.clock = clock
        self.isHangingUp = isHangingUp
        self.timeout = timeout
        self.tries = tries
        self.longestPause = longestPause
    }

    /// Sends a request until it has an answer of 2xx or one of the given statuses.
    ///
    /// - Throws: `RemoteAPIError`, or `CancellationError`.
    func send(_ request: RemoteRequest, accepting statuses: Set<Int> = []) async throws -> RemoteAnswer {
        var attempt = 1
        while true {
            let failure: RemoteAPIError
            do {
                return try await sendOnce(request, accepting: statuses)
            } catch let error as RemoteAPIError {
                failure = error
            }
            let pause = failure.retryAfter ?? .milliseconds(250 << (attempt - 1))
            guard failure.mayPass, attempt < tries, pause <= longestPause, try await wait(pause) else {
                throw failure
            }
            attempt += 1
        }
    }

    /// Waits between two tries; false when the service hangs up before the pause is over.
    private func wait(_ pause: Duration) async throws -> Bool {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await clock.sleep(pause)
                return true
            }
            group.addTask {
                await isHangingUp.wait()
                try Task.checkCancellation()
                return false
            }
            defer { group.cancelAll() }
            return try await group.next() ?? false
        }
    }

    private func sendOnce(_ request: RemoteRequest, accepting statuses: Set<Int>) async throws -> RemoteAnswer
    {
        let (head, body) = try await withTimeLimit(request) {
            let response = try await client.execute(
                request.makeHTTPRequest(baseURL), timeout: .nanoseconds(.max / 2))
            return (response, try await response.body.collect(upTo: Self.bodyLimit))
        }
        let status = Int(head.status.code)
        let answer = RemoteAnswer(api: name, call: request.call, status: status, body: body)
        guard 200..<300 ~= status || statuses.contains(status) else {
            throw RemoteAPIError(
                api: name, call: request.call, cause: .status(status, reason: answer.refusal),
                retryAfter: RetryAfter.read(head.headers.first(name: "retry-after"), now: clock.now()))
        }
        return answer
    }

    /// Runs one try; the time limit covers the body too, which the client's own deadline does not.
    private func withTimeLimit<Value: Sendable>(
        _ request: RemoteRequest, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask {
                do {
                    return try await body()
                } catch {
                    try Task.checkCancellation()
                    throw RemoteAPIError(api: name, call: request.call, cause: .unreachable("\(error)"))
                }
            }
            group.addTask {
                try await clock.sleep(timeout)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let value = first else {
                throw RemoteAPIError(api: name, call: request.call, cause: .timedOut(timeout))
            }
            return value
        }
    }
}

/// The header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
enum RetryAfter {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    /// Nobody is left alone for longer than a day.
    private static let longest = Duration.seconds(86_400)

    /// How long to wait; `nil` when there is no header, or none that can be read.
    static func read(_ text: String?, now: Timestamp) -> Duration? {
        guard let text else { return nil }
        if let seconds = Int64(text) { return seconds < 0 ? nil : min(.seconds(seconds), longest) }
        guard let date = date(text) else { return nil }
        return min(max(.zero, .microseconds(date.microseconds - now.microseconds)), longest)
    }

    /// `Wed, 21 Oct 2015 07:28:00 GMT`, the form that RFC 9110, section 5.6.7, has senders use.
    private static func date(_ text: String) -> Timestamp? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[1].utf8.count == 2, words[5] == "GMT",
            let month = months.firstIndex(of: String(words[2]))
        else { return nil }
        let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        return Timestamp(eventText: "\(words[3])-\(number)-\(words[1])T\(words[4])Z")
    }
}
