import Flags
import Testing

@testable import ServicesCore

@Suite("Settings")
struct SettingsTests {
    private static let good = [
        "API_WEB_AUTH_DOMAIN": "tenant.example", "API_WEB_AUTH_AUDIENCE": "https://api.example",
    ]

    private func configuration(
        _ environment: [String: String] = [:], _ arguments: [String] = []
    ) throws -> ServiceConfiguration {
        let environment = Self.good.merging(environment) { $1 }
        return try ServiceConfiguration(
            Settings(CoreSettings.all, environment: environment, arguments: arguments),
            environment: environment)
    }

    private func problems(
        _ environment: [String: String] = [:], _ arguments: [String] = []
    ) -> [String] {
        do {
            _ = try configuration(environment, arguments)
            return []
        } catch {
            return (error as? Settings.Problems)?.lines ?? ["\(error)"]
        }
    }

    @Test("have the defaults of the specification")
    func defaults() throws {
        let configuration = try configuration()
        #expect(configuration.address == ServiceConfiguration.Address(host: "", port: 4_000))
        #expect(configuration.debugAddress == ServiceConfiguration.Address(host: "localhost", port: 6_060))
        #expect(configuration.readTimeout == .seconds(5))
        #expect(configuration.corsOrigins == ["https://localhost:3000"])
        #expect(configuration.signIn.issuer == "https://tenant.example/")
        #expect(configuration.signIn.keysURL == "https://tenant.example/.well-known/jwks.json")
        #expect(configuration.database.parameters["sslmode"] == "require")
        #expect(configuration.database.parameters["options"]?.contains("-c tcp_keepalives_idle=") == true)
        #expect(configuration.databasePoolSize == 10)
        #expect(configuration.broker.queueGroup == "client-id-queue")
        #expect(configuration.broker.maxInFlight == 64)
    }

    @Test("come from the environment, and a flag wins over it")
    func sources() throws {
        let configuration = try configuration(
            [
                "API_WEB_PORT": ":1", "API_WEB_READ_TIMEOUT": "1m30s", "API_DB_HOST": "db:5433",
                "API_DB_DISABLE_TLS": "true",
            ],
            ["--web-port", ":2", "-db-name=kanban"])
        #expect(configuration.address.port == 2)
        #expect(configuration.readTimeout == .seconds(90))
        #expect(configuration.database.parameters["host"] == "db")
        #expect(configuration.database.parameters["port"] == "5433")
        #expect(configuration.database.parameters["dbname"] == "kanban")
        #expect(configuration.database.parameters["sslmode"] == "disable")
    }

    @Test(
        "of origins are split at commas, trimmed, and empty ones dropped",
        arguments: [
            (
                "http://localhost:3000, https://devpie.local:3000",
                ["http://localhost:3000", "https://devpie.local:3000"]
            ),
            ("  a ,, b  ,", ["a", "b"]), ("", []), (" , ", []),
        ])
    func origins(_ text: String, _ list: [String]) {
        #expect(ServiceConfiguration.list(text) == list)
    }

    @Test("that are wrong are all told at once, a line each, and no secret among them")
    func wrong() {
        let lines = problems([
            "API_WEB_PORT": "nowhere", "API_DB_POOL_SIZE": "0", "API_WEB_READ_TIMEOUT": "soon",
            "API_NATS_CLIENT_ID": "a b", "API_LOG_LEVEL": "loud", "API_DB_DISABLE_TLS": "perhaps",
        ])
        #expect(lines.count == 6)
        for name in [
            "WEB_PORT", "DB_POOL_SIZE", "WEB_READ_TIMEOUT", "NATS_CLIENT_ID", "LOG_LEVEL", "DB_DISABLE_TLS",
        ] {
            #expect(lines.contains { $0.hasPrefix("API_\(name): ") }, "\(name)")
        }
        #expect(problems([:], ["--web-prot", "x"]) == ["flag provided but not defined: -web-prot"])
        #expect(problems(["API_WEB_AUTH_DOMAIN": "none"]).count == 1)
        #expect(problems(["API_WEB_AUTH_AUDIENCE": "none"]).count == 1)
    }

    @Test("of production refuse default secrets and issuers without TLS")
    func production() {
        let lines = problems(["API_WEB_PRODUCTION": "true", "API_WEB_AUTH_ISSUER": "http://127.0.0.1/"])
        #expect(lines.count == 2)
        #expect(problems(["API_WEB_PRODUCTION": "true", "API_DB_PASSWORD": "x"]).isEmpty)
    }

    @Test("are shown without secrets")
    func masking() throws {
        let configuration = try configuration(["API_DB_PASSWORD": "tiger-in-the-tank"])
        let text = configuration.settings.maskedText
        #expect(text.contains("db-password=[REDACTED]"))
        #expect(!text.contains("tiger"))
        #expect(!"\(configuration.database)".contains("tiger"))
        let urls = [
            "API_NATS_URL": "nats://ann:tiger@one:4222, tiger@two",
            "API_WEB_AUTH_BASE_URL": "https://ann:tiger@idp/",
        ]
        let shown = try self.configuration(urls).settings.maskedText
        #expect(shown.contains("nats-url=nats://[REDACTED]@one:4222,[REDACTED]@two"))
        #expect(shown.contains("web-auth-base-url=https://[REDACTED]@idp/"))
        let lines = problems([
            "API_NATS_URL": "nats://ann:tiger@one:99999", "API_WEB_AUTH_BASE_URL": "ftp://ann:tiger@idp",
        ])
        #expect(lines.count == 2 && !(lines.joined() + shown).contains("tiger"))
    }

    @Test("of fail points need a second word, and a name that is one")
    func failPoints() throws {
        #expect(problems(["API_TEST_FAIL_POINT": "inbox-before-ack"]).count == 1)
        #expect(problems(["API_TEST_FAIL_POINT_CONFIRM": "kill-this-process"]).count == 1)
        let confirmed = ["API_TEST_FAIL_POINT_CONFIRM": "kill-this-process"]
        #expect(problems(confirmed.merging(["API_TEST_FAIL_POINT": "anywhere"]) { $1 }).count == 1)
        let point = confirmed.merging(["API_TEST_FAIL_POINT": "inbox-before-ack"]) { $1 }
        #expect(try configuration(point).failPoint == .inboxBeforeAck)
        #expect(
            problems(point.merging(["API_WEB_PRODUCTION": "true", "API_DB_PASSWORD": "x"]) { $1 }).count == 1)
        #expect(try configuration().failPoint == nil)
    }

    @Test("print their usage")
    func help() throws {
        let settings = try Settings(CoreSettings.all, environment: [:], arguments: ["--help"])
        #expect(settings.isHelpRequested)
        #expect(settings.usage.contains("API_NATS_CLUSTER_ID"))
    }
}
