import BrokerClient
import ServicesCore

/// What the users service is told about Auth0's Management API and SendGrid (services.md 6.5).
enum OutsideSettings {
    /// The machine-to-machine client.
    static let clientID = Setting(
        "web-auth-m-2-m-client", default: "none",
        "client of Auth0's Management API; none turns sign-up and invites off")
    /// Its secret.
    static let clientSecret = Setting(
        "web-auth-m-2-m-secret", default: "none", isSecret: true, "its secret")
    /// The Management API's audience.
    static let audience = Setting(
        "web-auth-mapi-audience", default: "none",
        "identifier of Auth0's Management API, https://{domain}/api/v2/")
    /// The key of SendGrid.
    static let mailKey = Setting(
        "web-sendgrid-api-key", default: "none", isSecret: true, "key of SendGrid; none turns invites off")
    /// SendGrid's base URL.
    static let mailBaseURL = Setting(
        "web-sendgrid-base-url", default: "https://api.sendgrid.com", "base URL of SendGrid",
        shown: ServerURL.redactedList, problem: CoreSettings.urlProblem)

    /// All of them.
    static let all: [any SettingDefinition] = [clientID, clientSecret, audience, mailKey, mailBaseURL]

    /// What a route answers that needs Auth0's Management API when it is not configured.
    static let auth0IsOff = RequestError(
        .serviceUnavailable,
        "Auth0's management API is not configured: set API_WEB_AUTH_M_2_M_CLIENT, API_WEB_AUTH_M_2_M_SECRET and "
            + "API_WEB_AUTH_MAPI_AUDIENCE")
    /// What a route answers that needs mail when it is not configured.
    static let mailIsOff = RequestError(
        .serviceUnavailable, "SendGrid is not configured: set API_WEB_SENDGRID_API_KEY")
    /// What it answers when invitations would lead nowhere.
    static let frontEndIsUnknown = RequestError(
        .serviceUnavailable,
        "invitations have no link: API_WEB_CORS_ORIGINS is empty, and its first entry is where they lead")

    /// What is wrong with the settings together.
    static func problems(_ settings: Settings) -> [String] {
        let credentials = [clientID, clientSecret, audience]
        let missing = credentials.filter { isMissing(settings[$0]) }
        var problems: [String] = []
        if !missing.isEmpty, missing.count < credentials.count {
            problems += missing.map {
                "\($0.variable): it is missing, and the other credentials of the Management API are not"
            }
        }
        if settings[CoreSettings.production] {
            for setting in [CoreSettings.authBaseURL, mailBaseURL]
            where settings[setting].hasPrefix("http://") {
                problems.append("\(setting.variable): plain HTTP is refused in production")
            }
        }
        return problems
    }

    /// Whether a value says that there is none; `none` is the original's way.
    static func isMissing(_ value: String) -> Bool { value.isEmpty || value == "none" }
}

extension ManagementCredentials {
    /// The credentials that the settings hold; `nil` when one of them is missing (`none`, the original's default).
    init?(_ settings: Settings) {
        let (id, secret) = (settings[OutsideSettings.clientID], settings[OutsideSettings.clientSecret])
        let audience = settings[OutsideSettings.audience]
        guard ![id, secret, audience].contains(where: OutsideSettings.isMissing) else { return nil }
        self.init(clientID: id, clientSecret: secret, audience: audience)
    }
}
