import BrokerClient
import Logging
import Synchronization

/// The service's session with the broker: made when the broker is there, and made anew, for ever, when it is lost.
///
/// A connection that is lost comes back by itself and keeps its session; only when the broker does not know the client
/// any more is there a new client, under a new id.
final class BrokerLink: Sendable {
    private struct State {
        var client: StreamingClient?
        var isConnected = false
    }

    private static let patience = Duration.seconds(1)

    /// Each client as it becomes usable, for the one consumer.
    let clients: AsyncStream<StreamingClient>

    private let configuration: BrokerConfiguration
    private let clock: ServiceClock
    private let logger: Logger
    private let state = Mutex(State())
    private let continuation: AsyncStream<StreamingClient>.Continuation

    init(_ configuration: BrokerConfiguration, clock: ServiceClock, logger: Logger) {
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        // Only the newest client is of use.
        (clients, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// The client, as long as there is a session.
    var client: StreamingClient? { state.withLock { $0.client } }
    /// Whether the broker can be reached at this moment.
    var isConnected: Bool { state.withLock { $0.client != nil && $0.isConnected } }

    /// Keeps a session until the task is cancelled; `end` takes leave.
    func run() async {
        var backoff = Backoff()
        while !Task.isCancelled {
            do throws(Failure) {
                let client = try await connect()
                backoff.reset()
                await serve(client)
            } catch {
                logger.warning("the broker cannot be reached", metadata: ["error": "\(error.description)"])
                // Cancellation is seen by the loop.
                try? await clock.sleep(backoff.delay())
            }
        }
    }

    /// Ends the task that runs `run`, and takes leave of the broker, so that the client id is free at once.
    func end(_ run: Task<Void, Never>) async {
        run.cancel()
        // First, because it may have just got a client that nobody knows of yet.
        await run.value
        continuation.finish()
        let client = state.withLock { $0.client }
        defer { state.withLock { $0 = State() } }
        guard let client else { return }
        await takeLeave { try await client.close() }
        // Without an answer too.
        await client.client.close()
    }

    /// Asks the broker to end something, when it is there to hear it, and waits a second for its answer: not longer,
    /// because a shutdown has to end in time, and what is not ended in order the broker ends when the client is gone.
    ///
    /// It does so in a task of its own, since the caller's may be cancelled.
    func takeLeave(_ request: @escaping @Sendable () async throws -> Void) async {
        guard isConnected else { return }
        let (clock, logger) = (clock, logger)
        await Task {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    do {
                        try await request()
                    } catch {
                        logger.debug("the broker did not take leave", metadata: ["error": "\(error)"])
                    }
                }
                // Cancelled when the answer is there.
                group.addTask { try? await clock.sleep(Self.patience) }
                await group.next()
                group.cancelAll()
            }
        }.value
    }

    private struct Failure: Error {
        let description: String
    }

    private func connect() async throws(Failure) -> StreamingClient {
        // 16 random digits, new for every session: the one before may still be registered (defect B16).
        let suffix = String.makeUUID().filter { $0 != "-" }.suffix(16)
        var streaming = StreamingOptions()
        streaming.requestTimeout = configuration.connectTimeout
        streaming.publishTimeout = .seconds(5)
        streaming.maxPublishesInFlight = OutboxRelay.batchSize
        let options: ClientOptions
        do throws(ClientError) {
            options = try configuration.options
        } catch {
            throw Failure(description: error.description)
        }
        do throws(StreamingError) {
            return try await StreamingClient.connect(
                clusterID: configuration.clusterID, clientID: "\(configuration.clientID)-\(suffix)", options,
                streaming: streaming)
        } catch {
            throw Failure(description: error.description)
        }
    }

    /// Lends the client out until its session is lost.
    private func serve(_ client: StreamingClient) async {
        let events = client.events()
        state.withLock { $0 = State(client: client, isConnected: true) }
        continuation.yield(client)
        logger.info("connected to the broker", metadata: ["client_id": "\(client.clientID)"])
        loop: for await event in events {
            switch event {
            case .connected, .reconnected:
                state.withLock { $0.isConnected = true }
                logger.info("connected to the broker again")
            case .disconnected(let reason):
                state.withLock { $0.isConnected = false }
                logger.warning("the connection to the broker is lost", metadata: ["reason": "\(reason)"])
            case .sessionLost(let reason):
                logger.warning("the session with the broker is lost", metadata: ["reason": "\(reason)"])
                break loop
            case .closed: break loop
            default: break
            }
        }
        // At a shutdown the task is cancelled and `end` has yet to take leave.
        guard !Task.isCancelled else { return }
        state.withLock { $0 = State() }
        await client.client.close()
    }
}
