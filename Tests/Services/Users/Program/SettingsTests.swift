import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("settings of the users service") struct SettingsTests {
    private func settings(_ environment: [String: String]) throws -> Settings {
        try Settings(CoreSettings.all + Users.settings, environment: environment, arguments: [])
    }

    private static let credentials = [
        "API_WEB_AUTH_M_2_M_CLIENT": "c", "API_WEB_AUTH_M_2_M_SECRET": "hidden-1",
        "API_WEB_AUTH_MAPI_AUDIENCE": "a",
        "API_WEB_SENDGRID_API_KEY": "hidden-2",
    ]

    @Test("the original's names are read, and secrets never shown")
    func names() throws {
        let settings = try settings(Self.credentials)
        let credentials = try #require(ManagementCredentials(settings))
        #expect(
            credentials.clientID == "c" && credentials.clientSecret == "hidden-1"
                && credentials.audience == "a")
        #expect(settings[OutsideSettings.mailKey] == "hidden-2")
        #expect(settings[OutsideSettings.mailBaseURL] == "https://api.sendgrid.com")
        #expect(!settings.masked.contains { $0.value.contains("hidden") })
        #expect(Users.problems(settings).isEmpty)
    }

    @Test("no credentials are fine, a part of them is a mistake")
    func partial() throws {
        #expect(try ManagementCredentials(settings([:])) == nil)
        #expect(try Users.problems(settings([:])).isEmpty)
        var environment = Self.credentials
        environment["API_WEB_AUTH_M_2_M_SECRET"] = nil
        #expect(try ManagementCredentials(settings(environment)) == nil)
        let problems = try Users.problems(settings(environment))
        #expect(problems.count == 1 && problems[0].hasPrefix("API_WEB_AUTH_M_2_M_SECRET: "))
    }

    @Test("production refuses to send credentials in clear")
    func production() throws {
        var environment = Self.credentials
        environment["API_WEB_AUTH_BASE_URL"] = "http://127.0.0.1:1"
        environment["API_WEB_SENDGRID_BASE_URL"] = "http://127.0.0.1:1"
        #expect(try Users.problems(settings(environment)).isEmpty)
        environment["API_WEB_PRODUCTION"] = "true"
        #expect(
            try Users.problems(settings(environment)).map { $0.prefix { $0 != ":" } }
                == ["API_WEB_AUTH_BASE_URL", "API_WEB_SENDGRID_BASE_URL"])
    }
}
