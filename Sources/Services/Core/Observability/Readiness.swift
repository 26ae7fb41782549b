import BrokerProtocol
import Hummingbird
import Synchronization

/// Whether the service can do its work: the database answers, and no shutdown has begun. The broker does not count, and
/// is reported (services.md 5.6, 6.6).
final class Readiness: Sendable {
    private let database: Database
    private let broker: BrokerLink
    private let outbox: OutboxState
    private let shutdown = Atomic(false)

    init(database: Database, broker: BrokerLink, outbox: OutboxState) {
        self.database = database
        self.broker = broker
        self.outbox = outbox
    }

    var isShuttingDown: Bool {
        get { shutdown.load(ordering: .relaxed) }
        set { shutdown.store(newValue, ordering: .relaxed) }
    }

    /// The answer of `/readyz`.
    func report() async -> Reply {
        var isDatabaseUp = true
        do {
            try await database.check()
        } catch {
            isDatabaseUp = false
        }
        let isReady = isDatabaseUp && !isShuttingDown
        let lag = outbox.lagSeconds
        var json = JSONWriter()
        json.beginObject()
        json.field("status", isReady ? "ready" : isShuttingDown ? "shutting down" : "not ready")
        json.field("database", isDatabaseUp ? "up" : "down")
        json.field("broker", broker.isConnected ? "up" : "down")
        json.field("outboxLagSeconds", (lag * 1_000).rounded() / 1_000)
        json.field("outboxDepth", outbox.depth)
        if lag > 60 { json.field("warning", "events wait to be published for more than a minute") }
        json.endObject()
        return Reply(isReady ? .ok : .serviceUnavailable, body: json.bytes)
    }
}

/// The routes of the debug listener.
func debugRouter(_ readiness: Readiness, _ metrics: Metrics) -> RouterResponder<BasicRequestContext> {
    let router = Router()
    router.get("/healthz") { _, _ in Reply(.ok, body: Array(#"{"status":"ok"}"#.utf8)).response(isHead: false)
    }
    router.get("/readyz") { _, _ in await readiness.report().response(isHead: false) }
    router.get("/metrics") { _, _ in
        Reply(
            .ok, body: Array(metrics.prometheusText.utf8),
            contentType: "text/plain; version=0.0.4; charset=utf-8"
        ).response(isHead: false)
    }
    return router.buildResponder()
}
