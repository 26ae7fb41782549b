import NIOPosix
import Testing

@testable import Broker

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Sends one HTTP request and returns status line, headers and body.
private func request(
    _ port: Int, _ target: String, method: String = "GET"
) async throws -> (status: String, headers: String, body: String) {
    let client = try await RawClient.open(port: port)
    client.send("\(method) \(target) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    let text = try await client.rest()
    let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
    let head = parts[0].split(separator: "\r\n", maxSplits: 1)
    return (String(head[0]), String(head.last ?? ""), parts.count > 1 ? String(parts[1]) : "")
}

@Suite("monitoring", .timeLimit(.minutes(10)))
struct MonitoringTests {
    private func run(
        _ extensions: MonitoringRoutes.Extensions = .init(), loops: Int = 1,
        _ body: (ClientListener, Int) async throws -> Void
    ) async throws {
        let options = CoreFixture.options()
        try await CoreFixture.run(loops: loops, options) { core in
            let group = MultiThreadedEventLoopGroup.singleton
            let routes = MonitoringRoutes(
                listener: core, options: options, productVersion: "0.0.1", extensions: extensions)
            let server = try await MonitoringServer.start(
                host: "127.0.0.1", port: -1, group: group, routes: routes)
            do {
                try await body(core, server.port)
            } catch {
                await server.shutdown()
                throw error
            }
            await server.shutdown()
        }
    }

    @Test("varz counts a known pattern of traffic", arguments: [1, 3])
    func varz(loops: Int) async throws {
        try await run(loops: loops) { core, port in
            let subscriber = try await RawClient.ready(port: core.port)
            subscriber.send("SUB a 1\r\nSUB > 2\r\n")
            #expect(try await subscriber.untilPong() == "")
            let publisher = try await RawClient.ready(port: core.port)
            publisher.send("PUB a 3\r\nabc\r\nPUB b 2\r\nde\r\n")
            #expect(try await publisher.untilPong() == "")
            for _ in 0..<3 { _ = try await subscriber.message() }
            _ = try await request(port, "/varz")
            let answer = try await request(port, "/varz")
            #expect(answer.status == "HTTP/1.1 200 OK")
            #expect(answer.headers.contains("Content-Type: application/json"))
            #expect(answer.headers.contains("Access-Control-Allow-Origin: *"))
            #expect(answer.body.hasPrefix("{\n  \"server_id\": \"NTEST\",\n"))
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            let object = try decoder.decode(Varz.self, from: Data(answer.body.utf8))
            #expect(object.connections == 2)
            #expect(object.totalConnections == 2)
            #expect(object.inMsgs == 2)
            #expect(object.inBytes == 5)
            #expect(object.outMsgs == 3)
            #expect(object.outBytes == 8)
            #expect(object.subscriptions == 2)
            #expect(object.httpReqStats == ["/varz": 2])
            #expect(object.mem > 1_000_000)
            #expect(object.port == core.port)
            #expect(object.httpPort == port)
            #expect(object.pingInterval == 120_000_000_000)
        }
    }

    private struct Varz: Decodable {
        var connections, totalConnections, inMsgs, inBytes, outMsgs, outBytes, subscriptions: Int
        var mem, port, httpPort, pingInterval, cores, slowConsumers, staleConnections,
            stalledClients: Int
        var maxPayload, maxPending, maxControlLine, maxConnections, pingMax, writeDeadline: Int
        var cpu, authTimeout: Double
        var httpReqStats: [String: Int]
    }

    @Test("health is compact, and says why the broker is not ready")
    func health() async throws {
        try await run { (_, port) async throws in
            for path in ["/healthz", "/readyz", "/livez", "/healthz?js-enabled-only=1&details=false"] {
                let answer = try await request(port, path)
                #expect(answer.status == "HTTP/1.1 200 OK")
                #expect(answer.body == "{\"status\":\"ok\"}")
            }
            let bad = try await request(port, "/healthz?js-server-only=zz")
            #expect(bad.status == "HTTP/1.1 400 Bad Request")
            #expect(
                bad.body
                    == "Error decoding boolean for 'js-server-only': strconv.ParseBool: parsing \"zz\": invalid syntax\n"
            )
        }
        try await run(.init(health: { StoreHealth(damage: ["a: \"b\"", "c"]) })) { (_, port) async throws in
            let answer = try await request(port, "/healthz")
            #expect(answer.status == "HTTP/1.1 200 OK", "what is whole is served")
            #expect(answer.body == "{\"status\":\"ok\",\"damage\":[\"a: \\\"b\\\"\",\"c\"]}")
        }
        try await run(.init(health: { StoreHealth(unreadiness: "the log is closed: \"disk\"") })) {
            (_, port) async throws in
            let answer = try await request(port, "/healthz")
            #expect(answer.status == "HTTP/1.1 503 Service Unavailable")
            #expect(
                answer.body == "{\"status\":\"unavailable\",\"error\":\"the log is closed: \\\"disk\\\"\"}")
            #expect(try await request(port, "/readyz").status.contains("503"))
            #expect(try await request(port, "/livez").status.contains("200"))
            #expect(try await request(port, "/healthz?js-server-only=true").status.contains("200"))
        }
    }

    @Test("unknown paths are not found, any method is a GET, HEAD has no body")
    func paths() async throws {
        try await run { (_, port) async throws in
            let missing = try await request(port, "/nope")
            #expect(missing.status == "HTTP/1.1 404 Not Found")
            #expect(missing.body == "404 page not found\n")
            #expect(try await request(port, "/streaming/serverz").status.contains("404"))
            #expect(try await request(port, "/livez", method: "POST").body == "{\"status\":\"ok\"}")
            #expect(try await request(port, "/livez", method: "HEAD").body == "")
            #expect(try await request(port, "/").body.contains("href=\"./varz\""))
        }
    }

    @Test("what the streaming engine adds is served")
    func extensions() async throws {
        let extensions = MonitoringRoutes.Extensions(
            streaming: { request in
                guard request.path == "/streaming/serverz" else { return nil }
                _ = try request.integer("limit")
                return MonitoringResponse.text("yes \(request.text("a b") ?? "")", status: 200)
            },
            metrics: { metrics in
                var metrics = metrics
                metrics.gauge("broker_channel_messages", "Stored.", 7, labels: [("channel", "a\"b\\c")])
                metrics.histogram(
                    "broker_commit_seconds", "Commits.", buckets: [(0.001, 1), (0.01, 2)], sum: 0.5, count: 4)
                return metrics
            })
        try await run(extensions) { (_, port) async throws in
            #expect(try await request(port, "/streaming/serverz?a%20b=c+d%21").body == "yes c d!\n")
            #expect(try await request(port, "/streaming/other").status.contains("404"))
            #expect(
                try await request(port, "/streaming/serverz?limit=x").body
                    == "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax\n")
            let text = try await request(port, "/metrics").body
            #expect(text.contains("# TYPE broker_connections gauge\nbroker_connections 0\n"))
            #expect(text.contains("broker_channel_messages{channel=\"a\\\"b\\\\c\"} 7\n"))
            #expect(text.contains("broker_commit_seconds_bucket{le=\"0.01\"} 3\n"))
            #expect(text.contains("broker_commit_seconds_bucket{le=\"+Inf\"} 4\n"))
        }
    }

    @Test("garbage on the monitoring port ends that connection and nothing else")
    func garbage() async throws {
        try await run { (_, port) async throws in
            for bytes in [
                [UInt8](repeating: 0xFF, count: 1000), Array("GET\r\n\r\n".utf8), Array("\0\0\r\n\r\n".utf8),
            ] {
                let client = try await RawClient.open(port: port)
                client.send(bytes)
                _ = try await client.rest()
            }
            #expect(try await request(port, "/livez").body == "{\"status\":\"ok\"}")
        }
    }

    @Test("several requests on one connection are answered in order")
    func pipelining() async throws {
        try await run { (_, port) async throws in
            let client = try await RawClient.open(port: port)
            client.send(
                "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            let text = try await client.rest()
            let parts = text.split(separator: "{\"status\":\"ok\"}")
            try #require(parts.count == 2)
            #expect(parts[1].contains("404 page not found"))
        }
    }

    @Test("times and lengths of time read as Go prints them")
    func times() {
        #expect(MonitoringTime.text(1_767_366_245_123_456_789) == "2026-01-02T15:04:05.123456789Z")
        #expect(MonitoringTime.text(1_767_366_245_120_000_000) == "2026-01-02T15:04:05.12Z")
        #expect(MonitoringTime.text(1_767_366_245_000_000_000) == "2026-01-02T15:04:05Z")
        #expect(MonitoringTime.text(-1) == "1969-12-31T23:59:59.999999999Z")
        #expect(MonitoringTime.uptime(seconds: 0) == "0s")
        #expect(MonitoringTime.uptime(seconds: 180) == "3m0s")
        #expect(MonitoringTime.uptime(seconds: 3 * 3600 + 62) == "3h1m2s")
        #expect(MonitoringTime.uptime(seconds: 86400 + 1) == "1d0h0m1s")
        #expect(
            MonitoringTime.uptime(seconds: 365 * 86400 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5) == "1y2d3h4m5s")
    }
}
