import AsyncHTTPClient
import Foundation
import Logging
import NIOCore
import ServicesCore
import Synchronization

/// A service in this process with a database, an issuer and perhaps a broker of its own, spoken to over HTTP.
public struct TestService: Sendable {
    /// The service.
    public let service: RunningService
    /// Its database.
    public let database: TestDatabase
    /// The issuer of its tokens.
    public let issuer: TestIssuer
    /// What it logged.
    public let log: TestLog
    private let client: HTTPClient

    /// Starts a service, lends it, and ends it.
    ///
    /// - Parameters:
    ///   - folder: The folder with its migrations below `Sources/Services`.
    ///   - broker: Its broker; without one it finds none.
    ///   - environment: Variables beside the usual ones.
    ///   - change: What no variable says.
    public static func run<Service: BackendService>(
        _ type: Service.Type, folder: String, broker: TestBroker? = nil, database: TestDatabase? = nil,
        issuer: TestIssuer? = nil, environment: [String: String] = [:], clock: ServiceClock = .system,
        change: (inout ServiceConfiguration) -> Void = { _ in },
        _ body: (TestService) async throws -> Void
    ) async throws {
        let ownIssuer = issuer == nil ? try await TestIssuer() : nil
        try await ownIssuer?.start()
        guard let issuer = issuer ?? ownIssuer else { return }
        let database = if let database { database } else { try await TestDatabase.make(folder) }
        let log = TestLog()
        var configuration = try configuration(
            type, database: database, issuer: issuer, broker: broker, environment: environment)
        change(&configuration)
        let service = try await RunningService.start(type, configuration, clock: clock, logger: log.logger)
        let client = HTTPClient(eventLoopGroupProvider: .singleton)
        let test = TestService(
            service: service, database: database, issuer: issuer, log: log, client: client)
        do {
            try await body(test)
        } catch {
            await test.end(ownIssuer)
            throw error
        }
        await test.end(ownIssuer)
    }

    private func end(_ ownIssuer: TestIssuer?) async {
        await service.shutdown()
        try? await client.shutdown()
        await ownIssuer?.stop()
    }

    /// The configuration of a service under test.
    public static func configuration<Service: BackendService>(
        _ type: Service.Type, database: TestDatabase, issuer: TestIssuer, broker: TestBroker?,
        environment: [String: String] = [:]
    ) throws -> ServiceConfiguration {
        var variables = [
            "API_WEB_PORT": "127.0.0.1:0", "API_WEB_DEBUG": "127.0.0.1:0",
            "API_WEB_AUTH_ISSUER": issuer.issuer, "API_WEB_AUTH_BASE_URL": issuer.baseURL,
            "API_WEB_AUTH_AUDIENCE": TestIssuer.audience, "API_DB_HOST": "127.0.0.1:\(database.cluster.port)",
            "API_DB_NAME": database.name, "API_DB_DISABLE_TLS": "true",
            "API_NATS_URL": broker?.url ?? "nats://127.0.0.1:1", "API_NATS_CLUSTER_ID": TestBroker.clusterID,
            "API_NATS_CLIENT_ID": "mic-\(Service.name)", "API_NATS_ACK_WAIT": "1s",
            // A busy machine must not look like a slow client or a lost database.
            "API_WEB_READ_TIMEOUT": "60s", "API_WEB_WRITE_TIMEOUT": "60s", "API_DB_TIMEOUT": "60s",
        ]
        variables.merge(environment) { $1 }
        let settings = try Settings(
            CoreSettings.all + Service.settings, environment: variables, arguments: [])
        return try ServiceConfiguration(settings, environment: variables)
    }

    /// The base URL of the API.
    public var url: String { "http://127.0.0.1:\(service.port)" }

    /// Asks the API.
    ///
    /// - Parameters:
    ///   - user: Whose token is sent; nil sends none.
    ///   - body: JSON text.
    public func send(
        _ method: String, _ path: String, as user: String? = nil, _ body: String? = nil,
        headers: [(String, String)] = []
    ) async throws -> TestReply {
        var headers = headers
        if let user { headers.append(("Authorization", "Bearer \(try await issuer.token(user))")) }
        return try await send(method, url + path, headers, body.map { Array($0.utf8) })
    }

    /// Asks the debug listener.
    public func debug(_ path: String) async throws -> TestReply {
        try await send("GET", "http://127.0.0.1:\(service.debugPort ?? 0)\(path)", [], nil)
    }

    /// Asks whatever URL.
    public func send(
        _ method: String, _ url: String, _ headers: [(String, String)], _ body: [UInt8]?
    ) async throws -> TestReply {
        var request = HTTPClientRequest(url: url)
        request.method = .RAW(value: method)
        request.headers.add(contentsOf: headers)
        if let body { request.body = .bytes(ByteBuffer(bytes: body)) }
        let response = try await client.execute(request, timeout: .seconds(60))
        let answer = try await response.body.collect(upTo: 16 << 20)
        return TestReply(
            status: Int(response.status.code), body: String(buffer: answer),
            headers: Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }) { "\($0), \($1)" })
    }

    /// Waits until a condition holds, for 300 s at most: only a test that would hang comes to that.
    public func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(300)
        let eventLoop = client.eventLoopGroup.any()
        while try await !condition() {
            guard ContinuousClock.now < deadline else { throw Late(what: what) }
            // Leaves the processor to those who bring the condition about.
            try await eventLoop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
        }
    }

    /// A condition that did not come to hold.
    public struct Late: Error, CustomStringConvertible {
        let what: String
        public var description: String { "this did not happen in time: \(what)" }
    }
}

/// An answer of a service.
public struct TestReply: Sendable {
    /// The status.
    public let status: Int
    /// The body as text.
    public let body: String
    /// The headers, names in lower case.
    public let headers: [String: String]

    /// The body as a JSON object; empty when it is none.
    public var object: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any] ?? [:]
    }

    /// The body as a JSON array of objects.
    public var array: [[String: Any]] {
        (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [[String: Any]] ?? []
    }

    /// A string member of the body.
    public func text(_ name: String) -> String { object[name] as? String ?? "" }
    /// The text of an error.
    public var error: String { text("error") }
}

/// Collects what a service logs.
public final class TestLog: Sendable {
    private let bytes = Mutex<[UInt8]>([])

    /// An empty log.
    public init() {}

    /// A logger that writes here.
    public var logger: Logger {
        var logger = Logger(label: "test") { _ in
            JSONLogHandler(level: .debug, write: { [self] line in bytes.withLock { $0 += line } })
        }
        logger.logLevel = .debug
        return logger
    }

    /// All of it.
    public var text: String { String(decoding: bytes.withLock { $0 }, as: UTF8.self) }
    /// The lines.
    public var lines: [String] { text.split(separator: "\n").map { String($0) } }
}
