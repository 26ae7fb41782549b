import Logging
import ServicesCore

/// Accounts, teams, memberships and invitations: the service behind `/api/v1/users` (services.md 3).
public struct Users: BackendService {
    /// The command's name, and that of the path.
    public static let name = "users"
    /// The credentials and addresses of Auth0's Management API and of SendGrid.
    public static let settings = OutsideSettings.all
    /// The OpenAPI document.
    public static var openAPI: [UInt8] { PackageResources.openapi_yaml }

    /// The copies of projects follow the events of the projects service.
    public let listeners = ProjectCopies.listeners
    private let routes: UserRoutes
    private let delivery: MailDelivery?

    /// Makes the service, and says what is off for want of credentials.
    public init(_ resources: ServiceResources) {
        let outside = OutsideSystems(resources)
        delivery = outside.delivery
        let database = resources.database
        routes = UserRoutes(
            accounts: Accounts(database: database, auth0: outside.auth0), teams: Teams(database: database),
            members: Members(database: database), invites: Invites(database: database),
            delivery: outside.delivery,
            invitesAreOff: outside.invitesAreOff)
    }

    /// Names credentials that are given in part, and plain HTTP in production.
    public static func problems(_ settings: Settings) -> [String] { OutsideSettings.problems(settings) }

    /// Adds the routes.
    public func addRoutes(to router: ServiceRouter) { routes.add(to: router) }

    /// Sends the invitation mails.
    public func run() async { await delivery?.run() }
}

/// The outside systems that are configured.
struct OutsideSystems: Sendable {
    let auth0: Auth0Client?
    let delivery: MailDelivery?
    /// Why nobody can be invited; `nil` when somebody can.
    let invitesAreOff: RequestError?

    init(_ resources: ServiceResources) {
        let (configuration, logger) = (resources.configuration, resources.logger)
        let settings = configuration.settings
        let makeAPI = { (name: String, url: String) in
            RemoteAPI(
                name: name, baseURL: url, client: resources.httpClient, clock: resources.clock,
                isHangingUp: resources.isHangingUp)
        }
        auth0 = ManagementCredentials(settings).map { credentials in
            let api = makeAPI("Auth0", configuration.signIn.baseURL)
            return Auth0Client(
                api: api,
                tokens: ManagementTokens(api: api, credentials: credentials, database: resources.database))
        }
        let key = settings[OutsideSettings.mailKey]
        let isMailOn = !OutsideSettings.isMissing(key)
        if let auth0, isMailOn, let frontEnd = configuration.corsOrigins.first {
            let worker = MailWorker(
                outbox: MailOutbox(database: resources.database), auth0: auth0,
                sendGrid: SendGridClient(
                    api: makeAPI("SendGrid", settings[OutsideSettings.mailBaseURL]), key: key),
                frontEnd: frontEnd, logger: logger)
            delivery = MailDelivery(worker: worker, clock: resources.clock, logger: logger)
        } else {
            delivery = nil
        }
        var missing: [RequestError] = []
        if auth0 == nil { missing.append(OutsideSettings.auth0IsOff) }
        if !isMailOn { missing.append(OutsideSettings.mailIsOff) }
        if configuration.corsOrigins.isEmpty { missing.append(OutsideSettings.frontEndIsUnknown) }
        invitesAreOff = missing.first
        if auth0 == nil { logger.warning("nobody can register") }
        for reason in missing {
            logger.warning("nobody can be invited", metadata: ["reason": "\(reason.message)"])
        }
    }
}
