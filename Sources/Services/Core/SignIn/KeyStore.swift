import Logging
import Synchronization

/// Keeps the issuer's keys: fetched every ten minutes, and for an unknown key id at most once in 30 s, by one request at
/// a time. Old keys stay in use while the issuer cannot be reached (services.md 6.1).
final class KeyStore: Sendable {
    /// Fetches the key set.
    typealias Fetch = @Sendable () async throws -> [UInt8]

    private static let maximumAge = Duration.seconds(600)
    private static let minimumInterval = Duration.seconds(30)

    private struct State {
        var keys = SigningKeys()
        /// When the keys were fetched; nil before the first success.
        var fetched: Duration?
        /// When the last fetch, successful or not, began.
        var attempted: Duration?
        /// Fetches without success since the start.
        var failures = 0
        var running: Task<Void, Never>?
    }

    private let state = Mutex(State())
    private let fetch: Fetch
    private let clock: ServiceClock
    private let metrics: Metrics
    private let logger: Logger

    init(clock: ServiceClock, metrics: Metrics, logger: Logger, fetch: @escaping Fetch) {
        self.clock = clock
        self.metrics = metrics
        self.logger = logger
        self.fetch = fetch
    }

    /// The key of this id, fetched if need be; nil when the issuer has none.
    ///
    /// - Throws: 503 as long as no key set was ever fetched: the caller's token may be good.
    func key(_ id: String) async throws -> SigningKeys.Key? {
        let now = clock.monotonic()
        let (found, wait) = state.withLock { state -> (SigningKeys.Key?, Task<Void, Never>?) in
            let found = state.keys[id]
            let age = state.fetched.map { now - $0 }
            if found != nil, let age, age < Self.maximumAge { return (found, nil) }
            let refresh = startRefresh(&state, now)
            // A key that is known serves on while a newer set is fetched.
            return (found, found == nil ? refresh : nil)
        }
        if let found { return found }
        await wait?.value
        return try state.withLock { state in
            if state.fetched == nil { throw RequestError.unavailable("identity provider unavailable") }
            return state.keys[id]
        }
    }

    /// Fetches the keys at the start, so that the first request need not.
    func prepare() async {
        let task = state.withLock { startRefresh(&$0, clock.monotonic()) }
        await task?.value
    }

    /// The fetch under way, or a new one; nil when it is too early for another.
    private func startRefresh(_ state: inout State, _ now: Duration) -> Task<Void, Never>? {
        if let running = state.running { return running }
        if let attempted = state.attempted, now - attempted < interval(state) { return nil }
        state.attempted = now
        let task = Task { await self.refresh() }
        state.running = task
        return task
    }

    /// Without any keys nobody can sign in: then the first attempts follow faster, 1 s, 2 s, 4 s … 30 s.
    private func interval(_ state: State) -> Duration {
        guard state.fetched == nil else { return Self.minimumInterval }
        return min(.seconds(1 << min(max(0, state.failures - 1), 5)), Self.minimumInterval)
    }

    private func refresh() async {
        let result: Result<SigningKeys, any Error>
        do {
            result = .success(try await SigningKeys(jwks: try await fetch()))
        } catch {
            result = .failure(error)
        }
        let now = clock.monotonic()
        state.withLock { state in
            state.running = nil
            switch result {
            case .success(let keys):
                // The fetch at the start was for no unknown id: a key that is new right after it is not kept waiting.
                if state.fetched == nil { state.attempted = nil }
                state.keys = keys
                state.fetched = now
                state.failures = 0
            case .failure: state.failures += 1
            }
        }
        switch result {
        case .success: metrics.add(.keyRefreshes, 1, ["result": "ok"])
        case .failure(let error):
            metrics.add(.keyRefreshes, 1, ["result": "failed"])
            logger.warning("the issuer's keys could not be fetched", metadata: ["error": "\(error)"])
        }
    }
}
