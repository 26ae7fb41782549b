import Postgres
import ServicesCore
import Synchronization

/// Who this service is to Auth0's Management API: the machine-to-machine client of the tenant.
struct ManagementCredentials: Sendable {
    let clientID: String
    let clientSecret: String
    /// The identifier of the Management API, `https://{tenant}/api/v2/`.
    let audience: String
}

/// The tokens of the Management API, which all replicas share in the table `ma_token`.
///
/// A token is good until a minute before it expires. One caller of each replica then fetches the next one, while the
/// database waits for nobody, and puts it into its place under an advisory lock; of two that were fetched at one moment
/// the first is kept. A fetch that fails leaves the row as it is. No token is ever logged.
final class ManagementTokens: Sendable {
    private struct Granted: Decodable, Sendable {
        let access_token: String
        let scope: String?
        let expires_in: Int32
        let token_type: String?
    }

    private let api: RemoteAPI
    private let credentials: ManagementCredentials
    private let database: Database
    /// The fetch that is under way in this process, which everybody here waits for.
    private let fetch = Mutex<Task<String, any Error>?>(nil)

    /// "ma_token" in ASCII.
    static let lock: Int64 = 0x6d61_5f74_6f6b_656e

    init(api: RemoteAPI, credentials: ManagementCredentials, database: Database) {
        self.api = api
        self.credentials = credentials
        self.database = database
    }

    /// A token that is good for another minute at least.
    ///
    /// - Throws: `RemoteAPIError` when Auth0 grants none, `PostgresError`.
    func current() async throws -> String {
        if let row = try await database.query(Self.stored).first { return try row.decode(0, as: String.self) }
        return try await fetched().value
    }

    /// Forgets a token that Auth0 has refused, so that the next call fetches another.
    ///
    /// - Throws: `PostgresError`.
    func forget(_ token: String) async throws {
        try await database.query("DELETE FROM ma_token WHERE access_token = \(token)")
    }

    /// The token of the fetch that is under way, or of a new one.
    func fetched() -> Task<String, any Error> {
        fetch.withLock { current in
            if let current { return current }
            let task = Task {
                defer { fetch.withLock { $0 = nil } }
                return try await renew()
            }
            current = task
            return task
        }
    }

    private func renew() async throws -> String {
        // The caller's look may be older than the fetch before this one.
        if let row = try await database.query(Self.stored).first { return try row.decode(0, as: String.self) }
        let granted = try await grant()
        return try await database.transaction { transaction in
            try await transaction.query("SELECT pg_advisory_xact_lock(\(Self.lock))")
            // Another replica may have fetched one meanwhile.
            if let row = try await transaction.query(Self.stored).first {
                return try row.decode(0, as: String.self)
            }
            try await transaction.query("DELETE FROM ma_token")
            try await transaction.query(
                """
                INSERT INTO ma_token (ma_token_id, access_token, scope, expires_in, token_type, created_at)
                VALUES (\(String.makeUUID()), \(granted.access_token), \(granted.scope ?? ""), \(granted.expires_in),
                  left(\(granted.token_type), 16), clock_timestamp() AT TIME ZONE 'utc')
                """)
            return granted.access_token
        }
    }

    private static let stored: PostgresQuery = """
        SELECT access_token FROM ma_token
        WHERE created_at + make_interval(secs => expires_in - 60) > clock_timestamp() AT TIME ZONE 'utc'
          AND access_token <> ''
        ORDER BY created_at DESC LIMIT 1
        """

    private func grant() async throws -> Granted {
        let answer = try await api.send(
            RemoteRequest(
                .POST, "/oauth/token",
                body: .form([
                    ("grant_type", "client_credentials"), ("client_id", credentials.clientID),
                    ("client_secret", credentials.clientSecret), ("audience", credentials.audience),
                ])))
        let granted = try answer.decode(Granted.self)
        guard !granted.access_token.isEmpty, granted.expires_in > 0 else {
            throw RemoteAPIError(
                api: answer.api, call: answer.call,
                cause: .unreadable("the token is empty or already expired"))
        }
        return granted
    }
}
