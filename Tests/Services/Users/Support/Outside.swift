import AsyncHTTPClient
import Logging
import Postgres
import ServicesCore
import ServicesTesting

@testable import UsersService

/// Auth0 and SendGrid as stand-ins, a database, and the clients that speak to them.
struct Outside: Sendable {
    let auth = AuthStandIn()
    let mail = MailStandIn()
    let clock = ManualClock()
    let database: TestDatabase
    let statements: Database

    /// No redirects, as in the service.
    static let client = HTTPClient(
        eventLoopGroupProvider: .singleton, configuration: .init(redirectConfiguration: .disallow))
    static let frontEnd = "https://front.example"
    static let credentials = ManagementCredentials(
        clientID: AuthStandIn.clientID, clientSecret: AuthStandIn.secret, audience: AuthStandIn.audience)

    /// Runs a test with everything up.
    static func run(_ body: @escaping @Sendable (Outside, Clients) async throws -> Void) async throws {
        let database = try await TestDatabase.make("Users")
        let outside = Outside(
            database: database, statements: Database(PostgresPool(database.configuration)))
        try await StandInServer.run(answering: outside.auth.answer) { authURL in
            try await StandInServer.run(answering: outside.mail.answer) { mailURL in
                try await body(outside, Clients(outside, authURL: authURL, mailURL: mailURL))
            }
        }
        await outside.statements.pool.shutdown()
    }

    struct Clients: Sendable {
        let auth0: Auth0Client
        let worker: MailWorker

        init(_ outside: Outside, authURL: String, mailURL: String) {
            let database = outside.statements
            let api = RemoteAPI(
                name: "Auth0", baseURL: authURL, client: Outside.client, clock: outside.clock.service)
            auth0 = Auth0Client(
                api: api,
                tokens: ManagementTokens(api: api, credentials: Outside.credentials, database: database))
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            worker = MailWorker(
                outbox: MailOutbox(database: database), auth0: auth0,
                sendGrid: SendGridClient(
                    api: RemoteAPI(
                        name: "SendGrid", baseURL: mailURL, client: Outside.client,
                        clock: outside.clock.service),
                    key: MailStandIn.key),
                frontEnd: Outside.frontEnd, logger: logger)
        }
    }
}
