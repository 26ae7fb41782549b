import BrokerClient
import Flags
import Logging

/// The settings that every service has (services.md 6.5).
public enum CoreSettings {
    /// Where the API listens.
    public static let port = Setting(
        "web-port", default: ":4000", "listen address [host]:port", problem: addressProblem)
    /// Where metrics and readiness are.
    public static let debug = Setting(
        "web-debug", default: "localhost:6060", "debug listener: metrics, readiness; empty turns it off",
        problem: { $0.isEmpty ? nil : addressProblem($0) })
    /// Whether to refuse what is unfit for production.
    public static let production = Setting(
        "web-production", default: false, "refuse default secrets and plain-HTTP issuers")
    /// Time for a request to arrive.
    public static let readTimeout = Setting(
        "web-read-timeout", default: Duration.seconds(5), "time for a request to arrive",
        problem: positiveProblem)
    /// Time for an answer to be taken.
    public static let writeTimeout = Setting(
        "web-write-timeout", default: Duration.seconds(5), "time for an answer to be taken",
        problem: positiveProblem)
    /// Time for an orderly shutdown.
    public static let shutdownTimeout = Setting(
        "web-shutdown-timeout", default: Duration.seconds(5), "time for an orderly shutdown",
        problem: positiveProblem)
    /// Origins of browsers.
    public static let corsOrigins = Setting(
        "web-cors-origins", default: "https://localhost:3000",
        "origins of browsers that may call, with commas")
    /// The tenant.
    public static let authDomain = Setting(
        "web-auth-domain", default: "none", "Auth0 tenant, host without scheme",
        problem: { $0.contains("/") ? "a host without scheme and path is wanted, not \"\($0)\"" : nil })
    /// The audience of tokens.
    public static let authAudience = Setting(
        "web-auth-audience", default: "none", "identifier of the API, the audience of tokens",
        problem: { $0.isEmpty ? "it must not be empty" : nil })
    /// The issuer of tokens.
    public static let authIssuer = Setting(
        "web-auth-issuer", default: "", "issuer of tokens (default https://{domain}/)")
    /// The issuer's keys.
    public static let authKeysURL = Setting(
        "web-auth-jwks-url", default: "", "the issuer's keys (default {base URL}/.well-known/jwks.json)",
        shown: ServerURL.redactedList, problem: urlProblem)
    /// The tenant's base URL.
    public static let authBaseURL = Setting(
        "web-auth-base-url", default: "", "base URL of the tenant (default https://{domain})",
        shown: ServerURL.redactedList, problem: urlProblem)
    /// The database's user.
    public static let databaseUser = Setting("db-user", default: "postgres", "database user")
    /// Its password.
    public static let databasePassword = Setting(
        "db-password", default: "postgres", isSecret: true, "database password")
    /// The database.
    public static let databaseName = Setting("db-name", default: "postgres", "database name")
    /// Its server.
    public static let databaseHost = Setting("db-host", default: "localhost", "database host or host:port")
    /// Whether to connect without TLS.
    public static let databaseTLSDisabled = Setting(
        "db-disable-tls", default: false, "connect to the database without TLS")
    /// Connections.
    public static let databasePoolSize = Setting(
        "db-pool-size", default: 10, "connections to the database",
        problem: { (1...1_000).contains($0) ? nil : "a number from 1 to 1000 is wanted, not \($0)" })
    /// Time for a statement.
    public static let databaseTimeout = Setting(
        "db-timeout", default: Duration.seconds(5), "time for a statement", problem: positiveProblem)
    /// The broker.
    public static let natsURL = Setting(
        "nats-url", default: "nats://", "address of the broker", shown: ServerURL.redactedList,
        problem: { text in
            if text == "nats://" { return nil }
            do throws(ClientError) {
                _ = try ServerURL.list(text)
                return nil
            } catch {
                return error.description
            }
        })
    /// The client id's first part.
    public static let natsClientID = Setting(
        "nats-client-id", default: "client-id", "client id; queue group and durable are this and -queue",
        problem: { text in
            let isValid = !text.isEmpty && text.utf8.allSatisfy(isClientIDByte)
            if text.utf8.count > 48 { return "it must have at most 48 characters" }
            return isValid ? nil : "\"\(text)\" is no client id: letters, digits, - and _ only"
        })
    /// The cluster.
    public static let natsClusterID = Setting(
        "nats-cluster-id", default: "cluster-id", "cluster id of the broker")
    /// Time for the broker to answer.
    public static let natsConnectTimeout = Setting(
        "nats-connect-timeout", default: Duration.seconds(5), "time for the broker to answer",
        problem: positiveProblem)
    /// Time to acknowledge.
    public static let natsAckWait = Setting(
        "nats-ack-wait", default: Duration.seconds(5), "time to acknowledge a message before it comes again",
        problem: { $0 < .seconds(1) ? "at least 1s is wanted" : nil })
    /// Messages in flight.
    public static let natsMaxInFlight = Setting(
        "nats-max-inflight", default: 64, "messages without acknowledgement in a subscription",
        problem: { (1...65_536).contains($0) ? nil : "a number from 1 to 65536 is wanted, not \($0)" })
    /// The log's level.
    public static let logLevel = Setting(
        "log-level", default: "info", "trace, debug, info, notice, warning, error or critical",
        problem: { Logger.Level(rawValue: $0) == nil ? "\"\($0)\" is no level" : nil })

    /// All of them, in the order of `--help`.
    public static let all: [any SettingDefinition] = [
        port, debug, production, readTimeout, writeTimeout, shutdownTimeout, corsOrigins, authDomain,
        authAudience, authIssuer, authKeysURL, authBaseURL, databaseUser, databasePassword, databaseName,
        databaseHost, databaseTLSDisabled, databasePoolSize, databaseTimeout, natsURL, natsClientID,
        natsClusterID, natsConnectTimeout, natsAckWait, natsMaxInFlight, logLevel,
    ]

    /// Says what is wrong with a base URL; an empty one is derived.
    @Sendable public static func urlProblem(_ text: String) -> String? {
        if text.isEmpty || text.hasPrefix("https://") || text.hasPrefix("http://") { return nil }
        return "an http:// or https:// URL is wanted, not \"\(ServerURL.redactedList(text))\""
    }

    /// Says what is wrong with a length of time that must be positive.
    @Sendable public static func positiveProblem(_ duration: Duration) -> String? {
        duration > .zero ? nil : "it must be longer than 0s"
    }

    @Sendable private static func addressProblem(_ text: String) -> String? {
        ServiceConfiguration.Address(text) == nil ? "\"\(text)\" is no [host]:port" : nil
    }

    private static func isClientIDByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
