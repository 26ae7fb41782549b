import Foundation
import PostgresCluster
import ServicesCore
import ServicesTesting
import Testing

@testable import ProjectsService

@Suite("Every route's manners")
struct HTTPBehaviourTests {
    private let origin = "http://localhost:3000"
    private let origins = ["API_WEB_CORS_ORIGINS": "http://localhost:3000, https://devpie.local:3000"]

    @Test("preflights are answered without a token, for known origins only, and errors carry the headers too")
    func cors() async throws {
        try await TestService.projects(environment: origins) { test in
            for known in [origin, "https://devpie.local:3000"] {
                let preflight = try await test.send(
                    "OPTIONS", "/api/v1/projects",
                    headers: [("Origin", known), ("Access-Control-Request-Method", "PATCH")])
                #expect(preflight.status == 204)
                #expect(preflight.headers["access-control-allow-origin"] == known)
                #expect(preflight.headers["access-control-allow-credentials"] == "true")
                #expect(preflight.headers["access-control-allow-methods"]?.contains("PATCH") == true)
                #expect(preflight.headers["access-control-allow-headers"]?.contains("Authorization") == true)
            }
            let foreign = try await test.send(
                "OPTIONS", "/api/v1/projects",
                headers: [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET")])
            #expect(foreign.headers["access-control-allow-origin"] == nil)
            for (path, status) in [("/api/v1/projects", 401), ("/nowhere", 404)] {
                let reply = try await test.send("GET", path, headers: [("Origin", origin)])
                #expect(reply.status == status)
                #expect(reply.headers["access-control-allow-origin"] == origin)
                #expect(reply.headers["access-control-expose-headers"]?.contains("X-Trace-Id") == true)
            }
        }
    }

    @Test("what is not there is 404, a known path with another method 405 with Allow, all of it JSON")
    func unknown() async throws {
        try await TestService.projects { test in
            for path in [
                "/", "/api/v1", "/api/v1/users", "/api/v1/projects/a/b/c/d/e", "/api/v1/%00",
                "/api/v1/projects/%FF",
            ] {
                let reply = try await test.send("GET", path)
                #expect((400..<500).contains(reply.status), "\(path)")
                #expect(!reply.error.isEmpty)
            }
            let reply = try await test.send("PUT", "/api/v1/projects/\(People.unknown)", as: People.ann, "{}")
            #expect(reply.status == 405)
            #expect(reply.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH")
            #expect(reply.error == "method not allowed")
            #expect(try await test.send("DELETE", "/api/v1/health").status == 405)
            let head = try await test.send("HEAD", "/api/v1/health")
            #expect(head.status == 200)
            #expect(head.body == "")
        }
    }

    @Test("bodies above 1 MiB are refused with 413, with and without a length")
    func bodyLimit() async throws {
        try await TestService.projects { test in
            let token = "Bearer " + (try await test.issuer.token(People.ann))
            let url = test.url + "/api/v1/projects"
            let padding = String(repeating: " ", count: (1 << 20) - 12)
            let fits = Array((#"{"name":"a"}"# + padding).utf8)
            #expect(fits.count == 1 << 20)
            #expect(try await test.send("POST", url, [("Authorization", token)], fits).status == 201)
            #expect(try await test.send("POST", url, [("Authorization", token)], fits + [0x20]).status == 413)
            let huge = Array(repeating: UInt8(0x20), count: 10 << 20)
            let reply = try await test.send("POST", url, [("Authorization", token)], huge)
            #expect(reply.status == 413)
            #expect(!reply.error.isEmpty)
        }
    }

    @Test("requests with too many headers, or one too long, are refused")
    func headers() async throws {
        try await TestService.projects { test in
            let many = (0..<200).map { ("X-Header-\($0)", "x") }
            let first = try await test.send("GET", "/api/v1/health", headers: many)
            #expect(first.status == 400)
            let long = [("X-Long", String(repeating: "x", count: 100_000))]
            let second = try await test.send("GET", "/api/v1/health", headers: long)
            #expect(second.status == 400)
        }
    }

    /// A request to make a project that stops in its body.
    private func brokenOff(
        _ test: TestService, _ rest: String = "Content-Length: 10\r\n\r\n{"
    ) async throws -> String {
        let token = try await test.issuer.token(People.ann)
        return "POST /api/v1/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\n" + rest
    }

    @Test("a body that does not arrive in time is answered with 408, and silence ends the connection")
    func slowBody() async throws {
        try await TestService.projects(environment: ["API_WEB_READ_TIMEOUT": "300ms"]) { test in
            let socket = try TestSocket(port: test.service.port)
            socket.write(try await brokenOff(test))
            let answer = await socket.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 408 "), "\(answer)")
            #expect(answer.contains(#"{"error":"the request did not arrive in time"}"#))
            let silent = try TestSocket(port: test.service.port)
            silent.write("GET /api/v1/health HT")
            #expect(await silent.readToEnd() == "")
        }
    }

    @Test("a body that breaks is answered with 400, which is no error of the service")
    func brokenBody() async throws {
        try await TestService.projects { test in
            let socket = try TestSocket(port: test.service.port)
            socket.write(try await brokenOff(test, "Transfer-Encoding: chunked\r\n\r\nzz\r\n"))
            let answer = await socket.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
            #expect(answer.contains(#"{"error":"the request is not whole"}"#))
            #expect(!test.log.lines.contains { $0.contains(#""message":"a request failed""#) })
        }
    }

    @Test("a client that goes away in the middle of a body is no error of the service")
    func abandonedBody() async throws {
        try await TestService.projects { test in
            let part = try await brokenOff(test)
            let halfClosed = try TestSocket(port: test.service.port)
            halfClosed.write(part)
            halfClosed.endWriting()
            #expect(await halfClosed.readToEnd().hasPrefix("HTTP/1.1 400 "))
            // This one is closed as a whole.
            try TestSocket(port: test.service.port).write(part)
            try await test.eventually("both requests have ended") {
                test.log.lines.count {
                    $0.contains(#""message":"request""#) && $0.contains(#""status":400"#)
                } == 2
            }
            #expect(!test.log.lines.contains { $0.contains(#""level":"error""#) })
        }
    }

    @Test("an answer that is not taken in time ends the connection")
    func slowReader() async throws {
        try await TestService.projects(environment: ["API_WEB_WRITE_TIMEOUT": "300ms"]) { test in
            let id = try await test.makeProject()
            // More than both sides' buffers hold.
            let size = 12_000_000
            try await test.database.query("UPDATE projects SET description = repeat('x', \(size)::int)")
            let token = try await test.issuer.token(People.ann)
            let socket = try TestSocket(port: test.service.port)
            socket.write(
                "GET /api/v1/projects/\(id) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\n\r\n")
            try await test.eventually("the request is answered") {
                test.log.lines.contains {
                    $0.contains(#""message":"request""#) && $0.contains(#""method":"GET""#)
                }
            }
            try await test.eventually("the server has ended the connection") {
                try socket.isClosing(at: test.service.port)
            }
            let taken = await socket.readToEnd()
            #expect(taken.hasPrefix("HTTP/1.1 200 ") && taken.utf8.count < size)
            // Others are served.
            #expect(try await test.send("GET", "/api/v1/health").status == 200)
        }
    }

    @Test("the log has a line a request with its template, and no token, query or body; metrics count it")
    func log() async throws {
        try await TestService.projects { test in
            let id = try await test.makeProject("Top secret plan")
            let token = try await test.issuer.token(People.ann)
            let reply = try await test.send(
                "GET", "/api/v1/projects/\(id)?password=tiger",
                headers: [("Authorization", "Bearer \(token)")])
            #expect(reply.status == 200)
            let lines = test.log.lines.filter { $0.contains(#""message":"request""#) }
            let line = try #require(lines.last)
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            #expect(object["path"] as? String == "/api/v1/projects/{pid}")
            #expect(object["status"] as? Int == 200)
            #expect(object["method"] as? String == "GET")
            #expect(object["user_id"] as? String == People.ann)
            #expect(object["trace_id"] as? String == reply.headers["x-trace-id"])
            #expect(object["remote"] as? String == "127.0.0.1")
            #expect(object["latency_ms"] is Double || object["latency_ms"] is Int)
            for secret in [token, "tiger", "Top secret", "postgres:postgres"] {
                #expect(!test.log.text.contains(secret), "\(secret.prefix(10))")
            }
            let metrics = try await test.debug("/metrics")
            #expect(metrics.status == 200)
            #expect(
                metrics.body.contains(
                    #"http_requests_total{method="GET",route="/api/v1/projects/{pid}",status="200"} 1"#))
        }
    }

    @Test("without a database requests answer 503 and readiness too, and both come back by themselves")
    func databaseAway() async throws {
        let cluster = try await PostgresCluster.restartable()
        let database = try await TestDatabase.make("Projects", in: cluster)
        try await TestService.run(Projects.self, folder: "Projects", database: database) { test in
            let id = try await test.makeProject()
            try await cluster.stop()
            #expect(try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann).status == 503)
            let health = try await test.send("GET", "/api/v1/health")
            #expect(health.status == 500)
            #expect(health.body == #"{"status":"db not ready"}"#)
            #expect(try await test.debug("/readyz").status == 503)
            #expect(try await test.debug("/healthz").status == 200)
            try await cluster.start()
            try await test.eventually("it is ready again") { try await test.debug("/readyz").status == 200 }
            #expect(try await test.send("GET", "/api/v1/projects/\(id)", as: People.ann).status == 200)
        }
    }

    @Test("the routes are those of the OpenAPI document, which is served")
    func openAPI() async throws {
        try await TestService.projects { test in
            let document = try await test.send("GET", "/api/v1/projects/openapi.yaml")
            #expect(document.status == 200)
            #expect(document.headers["content-type"] == "application/yaml")
            var described: [String] = []
            var path = ""
            for line in document.body.split(separator: "\n") {
                if line.hasPrefix("  /"), line.hasSuffix(":") { path = String(line.dropFirst(2).dropLast()) }
                for method in ["get", "post", "patch", "delete", "put"] where line.hasPrefix("    \(method):")
                {
                    described.append("\(method.uppercased()) \(path)")
                }
            }
            #expect(described.sorted() == test.service.routes.sorted())
        }
    }
}
