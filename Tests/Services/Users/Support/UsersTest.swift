import Foundation
import Postgres
import ServicesCore
import ServicesTesting

@testable import UsersService

/// The users service in this process, with a database, an issuer, and stand-ins for Auth0 and SendGrid.
struct UsersTest: Sendable {
    let service: TestService
    let auth: AuthStandIn
    let mail: MailStandIn

    static let ann = "a4b54ec1-57f9-4c39-ab53-d936dbb6c177"
    static let bob = "b0000000-0000-4000-8000-00000000000b"
    static let cid = "c0000000-0000-4000-8000-00000000000c"
    /// Ann's project, without a team.
    static let project = "8695a94f-7e0a-4198-8c0a-d3e12727a5ba"
    static let frontEnd = "https://front.example"

    /// Runs a test with Ann, Bob and Cid registered and Ann's project copied.
    static func run(
        broker: TestBroker? = nil, environment: [String: String] = [:], clock: ServiceClock = .system,
        _ body: @escaping @Sendable (UsersTest) async throws -> Void
    ) async throws {
        let (auth, mail) = (AuthStandIn(), MailStandIn())
        let issuer = try await TestIssuer()
        try await issuer.start()
        let database = try await TestDatabase.make("Users")
        try await database.sql(
            """
            INSERT INTO users (user_id, auth0_id, email, email_verified, first_name) VALUES
              ('\(ann)', 'auth0|\(ann)', 'ann@x.io', TRUE, 'Ann'),
              ('\(bob)', 'auth0|\(bob)', 'bob@x.io', TRUE, 'Bob'),
              ('\(cid)', 'auth0|\(cid)', 'cid@x.io', TRUE, NULL);
            INSERT INTO projects (project_id, name, prefix, description, user_id, team_id, column_order, team_updated_at)
              VALUES ('\(project)', 'Testing', 'Tes-', '', '\(ann)', '', '{column-1}', '2021-05-16 20:36:42')
            """)
        try await StandInServer.run(answering: auth.answer) { authURL in
            try await StandInServer.run(answering: mail.answer) { mailURL in
                var variables = [
                    "API_WEB_AUTH_BASE_URL": authURL,
                    "API_WEB_AUTH_JWKS_URL": issuer.baseURL + "/.well-known/jwks.json",
                    "API_WEB_AUTH_M_2_M_CLIENT": AuthStandIn.clientID,
                    "API_WEB_AUTH_M_2_M_SECRET": AuthStandIn.secret,
                    "API_WEB_AUTH_MAPI_AUDIENCE": AuthStandIn.audience,
                    "API_WEB_SENDGRID_API_KEY": MailStandIn.key, "API_WEB_SENDGRID_BASE_URL": mailURL,
                    "API_WEB_CORS_ORIGINS": frontEnd + ", https://other.example",
                ]
                variables.merge(environment) { $1 }
                try await TestService.run(
                    Users.self, folder: "Users", broker: broker, database: database, issuer: issuer,
                    environment: variables, clock: clock
                ) { service in
                    try await body(UsersTest(service: service, auth: auth, mail: mail))
                }
            }
        }
        await issuer.stop()
    }

    /// Asks below `/api/v1/users`.
    func send(
        _ method: String, _ path: String, as user: String? = nil, _ body: String? = nil
    ) async throws -> TestReply {
        try await service.send(method, "/api/v1/users" + path, as: user, body)
    }

    /// Asks with the token of somebody whom Auth0 knows by `subject`.
    func send(
        _ method: String, _ path: String, subject: String, userID: String? = nil, _ body: String? = nil
    ) async throws -> TestReply {
        var claims = service.issuer.claims(userID)
        claims.sub = subject
        let token = try await service.issuer.sign(claims)
        return try await service.send(
            method, "/api/v1/users" + path, as: nil, body, headers: [("Authorization", "Bearer \(token)")])
    }

    @discardableResult
    func sql(_ text: String) async throws -> String { try await service.database.sql(text) }

    /// Makes a team for Ann's project; Ann is its administrator.
    func makeTeam() async throws -> String {
        let reply = try await send(
            "POST", "/teams", as: Self.ann, "{\"name\":\"TestTeam\",\"projectId\":\"\(Self.project)\"}")
        return reply.text("id")
    }

    /// Adds a member to a team.
    func add(_ user: String, to team: String, as role: String) async throws -> String {
        let id = String.makeUUID()
        try await sql(
            """
            INSERT INTO memberships (membership_id, user_id, team_id, role)
            VALUES ('\(id)', '\(user)', '\(team)', '\(role)')
            """)
        return id
    }

    /// Invites somebody into a team, without mail.
    func invite(_ user: String, to team: String) async throws -> String {
        let id = String.makeUUID()
        try await sql(
            "INSERT INTO invites (invite_id, user_id, team_id) VALUES ('\(id)', '\(user)', '\(team)')")
        return id
    }

    /// The events that were written so far, oldest first.
    func events() async throws -> [(channel: String, json: [String: Any])] {
        let rows = try await sql(
            "SELECT channel || ' ' || convert_from(payload, 'UTF8') FROM outbox ORDER BY seq")
        return rows.split(separator: "\n").map { line in
            let parts = line.split(separator: " ", maxSplits: 1)
            let json = try? JSONSerialization.jsonObject(with: Data(parts[1].utf8))
            return (String(parts[0]), json as? [String: Any] ?? [:])
        }
    }

    /// The data of the last event, if it is of this type.
    func lastEvent(_ type: String) async throws -> [String: Any]? {
        guard let event = try await events().last, event.channel == type else { return nil }
        return event.json["data"] as? [String: Any]
    }

    /// A digest of all tables that requests change.
    func fingerprint() async throws -> String {
        var text = ""
        for table in ["users", "teams", "memberships", "invites", "projects", "mail_outbox"] {
            text += try await sql(
                "SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM \(table) t")
        }
        // The relay counts its attempts beside the events.
        text += try await sql("SELECT string_agg(event_id, ',' ORDER BY seq) FROM outbox")
        return text
    }
}
