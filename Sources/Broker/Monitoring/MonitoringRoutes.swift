import BrokerProtocol
import Synchronization

/// What `/healthz` says of the store.
struct StoreHealth: Sendable {
    /// Why no messages are taken; nil when they are.
    var unreadiness: String?
    /// Damaged places that are not repaired yet, a sentence each.
    var damage: [String] = []
}

/// What the monitoring port answers (nats-core.md 7). Knows no HTTP: a request target in, a response out.
final class MonitoringRoutes: Sendable {
    /// What the parts above the core add. Each closure goes to the loop that owns what it reads.
    struct Extensions: Sendable {
        /// Paths that begin with `/streaming/`; nil for an unknown one.
        var streaming: @Sendable (MonitoringRequest) async throws -> MonitoringResponse? = { _ in nil }
        /// Whether the broker is ready to take messages, and what it has lost.
        var health: @Sendable () async throws -> StoreHealth = { StoreHealth() }
        /// Adds figures to `/metrics`.
        var metrics: @Sendable (MetricsText) async throws -> MetricsText = { $0 }
        /// Links on the index page besides the core's: path and text.
        var links: [(path: String, text: String)] = []
    }

    private let listener: ClientListener
    private let options: BrokerOptions
    private let productVersion: String
    private let extensions: Extensions
    private let startTime = MonitoringTime.now()
    private let requestCounts = Mutex<[String: Int]>([:])
    /// The port that monitoring itself listens on, for `/varz`.
    private let port = Mutex(0)

    init(
        listener: ClientListener, options: BrokerOptions, productVersion: String,
        extensions: Extensions = Extensions()
    ) {
        self.listener = listener
        self.options = options
        self.productVersion = productVersion
        self.extensions = extensions
    }

    /// Set once the monitoring port is bound.
    func listens(on port: Int) { self.port.withLock { $0 = port } }

    /// Answers one request; never throws: what fails inside is status 500.
    func answer(_ target: String) async -> MonitoringResponse {
        let request = MonitoringRequest(target: target)
        do {
            guard let response = try await route(request) else { return .notFound }
            return response
        } catch let bad as MonitoringRequest.BadParameter {
            return bad.response
        } catch {
            return .text("the broker could not answer: \(error)", status: 500)
        }
    }

    private func route(_ request: MonitoringRequest) async throws -> MonitoringResponse? {
        switch request.path {
        case "/":
            count("/")
            return index()
        case "/varz":
            count("/varz")
            return try await varz()
        case "/healthz", "/readyz":
            count(request.path)
            if request.path == "/healthz", try request.boolean("js-server-only") { return Self.healthy }
            for name in ["js-enabled-only", "js-meta-only", "js-enabled", "details"] {
                _ = try request.boolean(name)
            }
            return try await health()
        case "/livez":
            count("/livez")
            return Self.healthy
        case "/metrics":
            count("/metrics")
            return try await metrics()
        default:
            guard request.path.hasPrefix("/streaming/"),
                let response = try await extensions.streaming(request)
            else { return nil }
            count(request.path)
            return response
        }
    }

    private func count(_ path: String) {
        requestCounts.withLock { $0[path, default: 0] += 1 }
    }

    // MARK: Health

    private static let healthy = MonitoringResponse(
        contentType: "application/json", body: Array("{\"status\":\"ok\"}".utf8))

    private func health() async throws -> MonitoringResponse {
        let health = try await extensions.health()
        var json = JSONWriter()
        json.beginObject()
        json.field("status", health.unreadiness == nil ? "ok" : "unavailable")
        if let reason = health.unreadiness { json.field("error", reason) }
        // Everything else is served: who is damaged is ready all the same.
        if !health.damage.isEmpty {
            json.beginArray("damage")
            for damage in health.damage.prefix(Self.mostDamage) { json.element(Array(damage.utf8)) }
            json.endArray()
        }
        json.endObject()
        return .json(json, status: health.unreadiness == nil ? 200 : 503)
    }

    /// Damaged places that a page names; `/metrics` has the number of all.
    private static let mostDamage = 100

    // MARK: Index

    private func index() -> MonitoringResponse {
        let links =
            [("./varz", "General"), ("./healthz", "Health Probe"), ("./metrics", "Metrics")]
            + extensions.links.map { ("." + $0.path, $0.text) }
        let list = links.map { "<a href=\"\($0)\">\($1)</a><br/>" }.joined(separator: "\n")
        let page = """
            <!DOCTYPE html>
            <html lang="en">
            <head><meta charset="utf-8"><title>broker \(productVersion)</title></head>
            <body>
            <h1>broker</h1>
            <p>Version \(productVersion)</p>
            \(list)
            </body>
            </html>

            """
        return MonitoringResponse(contentType: "text/html; charset=utf-8", body: Array(page.utf8))
    }

    // MARK: General

    private func varz() async throws -> MonitoringResponse {
        let counters = try await listener.counters()
        let info = listener.serverInfo
        let usage = ProcessUsage.now()
        let now = MonitoringTime.now()
        let uptime = max(now - startTime, 0)
        let httpPort = port.withLock { $0 }
        let requests = requestCounts.withLock { $0.sorted { $0.key < $1.key } }

        var json = JSONWriter(isPretty: true)
        json.beginObject()
        json.field("server_id", info.serverID)
        json.field("server_name", info.serverName)
        json.field("version", info.version)
        json.field("product_version", productVersion)
        json.field("proto", 1)
        json.field("go", "swift")
        json.field("host", options.host)
        json.field("port", listener.port)
        if info.isAuthenticationRequired { json.field("auth_required", true) }
        json.field("max_connections", options.maxConnections)
        if options.maxSubscriptions > 0 { json.field("max_subscriptions", options.maxSubscriptions) }
        json.field("ping_interval", options.pingIntervalNanoseconds)
        json.field("ping_max", options.maxPingsOut)
        json.field("http_host", options.host)
        json.field("http_port", httpPort)
        json.field("http_base_path", "")
        json.field("https_port", 0)
        json.field("auth_timeout", Double(options.authTimeoutNanoseconds) / 1e9)
        json.field("max_control_line", options.maxControlLine)
        json.field("max_payload", options.maxPayload)
        json.field("max_pending", options.maxPending)
        for name in ["cluster", "gateway", "leaf", "mqtt", "websocket", "jetstream"] {
            json.beginObject(name)
            json.endObject()
        }
        json.field("tls_timeout", 2)
        json.field("write_deadline", options.writeDeadlineNanoseconds)
        json.field("start", MonitoringTime.text(startTime))
        json.field("now", MonitoringTime.text(now))
        json.field("uptime", MonitoringTime.uptime(seconds: uptime / 1_000_000_000))
        json.field("mem", usage.residentBytes)
        json.field("cores", usage.processors)
        json.field("gomaxprocs", options.loops)
        json.field("cpu", Self.percent(usage.processorSeconds, of: Double(uptime) / 1e9))
        write(counters, to: &json)
        json.beginObject("http_req_stats")
        for (path, count) in requests { json.field(path, count) }
        json.endObject()
        json.field("config_load_time", MonitoringTime.text(startTime))
        json.field("config_digest", "")
        json.beginObject("slow_consumer_stats")
        Self.write(kinds: counters.slowConsumers, to: &json)
        json.endObject()
        json.beginObject("stale_connection_stats")
        Self.write(kinds: counters.staleConnections, to: &json)
        json.endObject()
        json.endObject()
        return .json(json)
    }

    private func write(_ counters: LoopCounters, to json: inout JSONWriter) {
        json.field("connections", counters.connections)
        json.field("total_connections", counters.totalConnections)
        json.field("routes", 0)
        json.field("remotes", 0)
        json.field("leafnodes", 0)
        json.field("in_msgs", counters.inMessages)
        json.field("out_msgs", counters.outMessages)
        json.field("in_bytes", counters.inBytes)
        json.field("out_bytes", counters.outBytes)
        json.field("slow_consumers", counters.slowConsumers)
        json.field("stale_connections", counters.staleConnections)
        json.field("stalled_clients", counters.stalledClients)
        json.field("subscriptions", counters.subscriptions)
    }

    private static func write(kinds clients: UInt64, to json: inout JSONWriter) {
        json.field("clients", clients)
        for name in ["routes", "gateways", "leafs"] { json.field(name, 0) }
    }

    /// One digit behind the point.
    private static func percent(_ part: Double, of whole: Double) -> Double {
        whole <= 0 ? 0 : (part / whole * 1000).rounded() / 10
    }

    // MARK: Metrics

    private func metrics() async throws -> MonitoringResponse {
        let counters = try await listener.counters()
        let usage = ProcessUsage.now()
        var metrics = MetricsText()
        metrics.gauge("broker_connections", "Clients connected now.", counters.connections)
        metrics.counter("broker_connections_total", "Clients accepted.", counters.totalConnections)
        metrics.gauge(
            "broker_subscriptions", "Subscriptions, the broker's own included.", counters.subscriptions)
        metrics.counter("broker_in_messages_total", "Messages published by clients.", counters.inMessages)
        metrics.counter(
            "broker_in_bytes_total", "Bytes of headers and payload published by clients.", counters.inBytes)
        metrics.counter("broker_out_messages_total", "Messages delivered to clients.", counters.outMessages)
        metrics.counter(
            "broker_out_bytes_total", "Bytes of headers and payload delivered to clients.", counters.outBytes)
        metrics.counter(
            "broker_slow_consumers_total", "Clients cut off because they did not read.",
            counters.slowConsumers)
        metrics.counter(
            "broker_stale_connections_total", "Clients cut off because they did not answer pings.",
            counters.staleConnections)
        metrics.counter(
            "broker_stalled_publishers_total", "Pauses of publishers for a receiver that was nearly full.",
            counters.stalledClients)
        metrics.gauge("process_resident_memory_bytes", "Resident memory in bytes.", usage.residentBytes)
        metrics.gauge("process_cpu_seconds_total", "Processor time in seconds.", usage.processorSeconds)
        metrics.gauge(
            "process_start_time_seconds", "Start of the process, seconds since 1970.", Double(startTime) / 1e9
        )
        let text = try await extensions.metrics(metrics).text
        return MonitoringResponse(
            contentType: "text/plain; version=0.0.4; charset=utf-8", body: Array(text.utf8))
    }
}
