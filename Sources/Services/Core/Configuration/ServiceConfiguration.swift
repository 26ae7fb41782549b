import BrokerClient
import Logging
import Postgres

/// What every service is configured with (services.md 6.5).
public struct ServiceConfiguration: Sendable {
    /// `[host]:port`, taken apart.
    public struct Address: Sendable, Hashable {
        /// Name or address; all interfaces when empty.
        public var host: String
        /// The port; 0 takes a free one.
        public var port: Int

        /// Reads `:4000`, `localhost:6060`, `[::1]:80`; nil when it is none.
        public init?(_ text: String) {
            guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...])
            else { return nil }
            var host = text[..<colon]
            if host.first == "[", host.last == "]" {
                host = host.dropFirst().dropLast()
            } else if host.contains(":") {
                return nil
            }
            self.host = String(host)
            self.port = Int(port)
        }
    }

    /// Where the API listens.
    public var address: Address
    /// Where metrics and readiness are; nil for nowhere.
    public var debugAddress: Address?
    /// Whether defaults that are secrets, and issuers without TLS, are refused.
    public var isProduction: Bool
    /// Time for the head and body of a request to arrive.
    public var readTimeout: Duration
    /// Time for an answer to be taken.
    public var writeTimeout: Duration
    /// Time for an orderly shutdown.
    public var shutdownTimeout: Duration
    /// Origins of browsers that may call.
    public var corsOrigins: [String]
    /// Whose tokens are accepted.
    public var signIn: SignInConfiguration
    /// The database.
    public var database: PostgresConfiguration
    /// Connections of the pool.
    public var databasePoolSize: Int
    /// The broker.
    public var broker: BrokerConfiguration
    /// The log's level.
    public var logLevel: Logger.Level
    /// Where the process is told to die, for tests only.
    public var failPoint: FailPoint?
    /// All settings, the service's own too.
    public var settings: Settings

    /// Derives the configuration from settings.
    ///
    /// - Throws: All problems at once.
    public init(_ settings: Settings, environment: [String: String]) throws(Settings.Problems) {
        var problems: [String] = []
        let isProduction = settings[CoreSettings.production]
        self.settings = settings
        self.isProduction = isProduction
        // The settings have checked both texts.
        address = Address(settings[CoreSettings.port]) ?? Address.any
        debugAddress = settings[CoreSettings.debug].isEmpty ? nil : Address(settings[CoreSettings.debug])
        readTimeout = settings[CoreSettings.readTimeout]
        writeTimeout = settings[CoreSettings.writeTimeout]
        shutdownTimeout = settings[CoreSettings.shutdownTimeout]
        corsOrigins = Self.list(settings[CoreSettings.corsOrigins])
        signIn = SignInConfiguration(settings)
        if settings[CoreSettings.authDomain] == "none", settings[CoreSettings.authIssuer].isEmpty {
            problems.append("API_WEB_AUTH_DOMAIN is missing: without it no token could be accepted")
        }
        if settings[CoreSettings.authAudience] == "none" {
            problems.append("API_WEB_AUTH_AUDIENCE is missing: without it no token could be accepted")
        }
        if isProduction {
            if !signIn.issuer.hasPrefix("https://") || !signIn.keysURL.hasPrefix("https://") {
                problems.append("API_WEB_AUTH_ISSUER: a plain-HTTP issuer is refused in production")
            }
            if settings[CoreSettings.databasePassword] == CoreSettings.databasePassword.defaultValue {
                problems.append("API_DB_PASSWORD: the default password is refused in production")
            }
        }
        database = Self.database(settings)
        databasePoolSize = settings[CoreSettings.databasePoolSize]
        broker = BrokerConfiguration(settings)
        logLevel = Logger.Level(rawValue: settings[CoreSettings.logLevel]) ?? .info
        do throws(FailPoint.Refusal) {
            failPoint = try FailPoint(environment: environment, isProduction: isProduction)
        } catch {
            failPoint = nil
            problems.append(error.message)
        }
        if !problems.isEmpty { throw Settings.Problems(lines: problems) }
    }

    /// The entries of a list with commas, without blanks around them and without empty ones.
    static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { String($0).trimmed }.filter { !$0.isEmpty }
    }

    private static func database(_ settings: Settings) -> PostgresConfiguration {
        let address = settings[CoreSettings.databaseHost]
        // `host`, `host:port`, or the directory of a socket.
        let parsed = address.hasPrefix("/") ? nil : Address(address)
        var configuration = PostgresConfiguration(
            host: parsed?.host ?? address, port: parsed?.port ?? 5432,
            database: settings[CoreSettings.databaseName], user: settings[CoreSettings.databaseUser],
            password: settings[CoreSettings.databasePassword])
        configuration.parameters["sslmode"] =
            settings[CoreSettings.databaseTLSDisabled] ? "disable" : "require"
        configuration.parameters["options"] = "-c TimeZone=UTC"
        configuration.noticeLostPeers()
        configuration.queryTimeout = settings[CoreSettings.databaseTimeout]
        configuration.connectTimeout = settings[CoreSettings.databaseTimeout]
        return configuration
    }
}

extension ServiceConfiguration.Address {
    /// All interfaces, a free port.
    static let any = Self(host: "", port: 0)

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }
}

/// How the broker is reached and used (services.md 5.5, 6.5).
public struct BrokerConfiguration: Sendable {
    /// Addresses, perhaps a list with commas.
    public var url: String
    /// The client id's first part; `-queue` behind it is the queue group and durable.
    public var clientID: String
    /// The cluster's id.
    public var clusterID: String
    /// Time for one server to answer.
    public var connectTimeout: Duration
    /// Time to acknowledge before a message comes again.
    public var ackWait: Duration
    /// Messages without an acknowledgement, at most, in each subscription.
    public var maxInFlight: Int

    /// The queue group and durable of every subscription.
    public var queueGroup: String { clientID + "-queue" }

    init(_ settings: Settings) {
        url = settings[CoreSettings.natsURL]
        clientID = settings[CoreSettings.natsClientID]
        clusterID = settings[CoreSettings.natsClusterID]
        connectTimeout = settings[CoreSettings.natsConnectTimeout]
        ackWait = settings[CoreSettings.natsAckWait]
        maxInFlight = settings[CoreSettings.natsMaxInFlight]
    }

    /// The client's options.
    ///
    /// - Throws: `ClientError.invalidURL`.
    var options: ClientOptions {
        get throws(ClientError) {
            // The default is the bare scheme, as in the original: this machine.
            var options = url == "nats://" ? ClientOptions() : try ClientOptions(url)
            options.connectTimeout = connectTimeout
            return options
        }
    }
}
