import Foundation
import Synchronization

/// Auth0's Management API as services.md 3.3 describes it: checks what it is sent and keeps accounts.
final class AuthStandIn: Sendable {
    struct Account: Sendable {
        var id: String
        var email: String?
        var isVerified = false
        var nickname: String?
        /// `app_metadata.id`.
        var linkedID: String?
    }

    struct State: Sendable {
        var accounts: [String: Account] = [:]
        var tokensGranted = 0
        var validTokens: Set<String> = []
        var tokenLifetime = 86_400
        var requests: [ReceivedRequest] = []
        /// What was wrong with requests.
        var complaints: [String] = []
        /// Answers that come before the usual ones, by method and path prefix.
        var interjections: [(call: String, answer: StandInAnswer)] = []
        /// Calls that never get an answer, by method and path prefix.
        var hanging: Set<String> = []
        var tickets: [String: String] = [:]
    }

    private let state = Mutex(State())

    static let clientID = "m2m client"
    static let secret = "s&cret=+%"
    static let audience = "https://tenant.example/api/v2/"

    func with<Value: Sendable>(_ body: (inout sending State) -> sending Value) -> Value {
        state.withLock(body)
    }

    func add(_ account: Account) { with { $0.accounts[account.id] = account } }
    func account(_ id: String) -> Account? { with { $0.accounts[id] } }
    func account(email: String) -> Account? { with { $0.accounts.values.first { $0.email == email } } }
    var complaints: [String] { with { $0.complaints } }
    func count(_ call: String) -> Int {
        with { $0.requests.count { "\($0.method) \($0.path)".hasPrefix(call) } }
    }

    /// Puts answers before the usual ones of a call, `POST /api/v2/users`.
    func interject(_ call: String, _ answers: StandInAnswer...) {
        with { state in
            for answer in answers { state.interjections.append((call, answer)) }
        }
    }

    @Sendable func answer(_ request: ReceivedRequest) async throws -> StandInAnswer {
        let call = "\(request.method) \(request.path)"
        let (interjection, isHanging) = with { state -> (StandInAnswer?, Bool) in
            state.requests.append(request)
            let index = state.interjections.firstIndex { call.hasPrefix($0.call) }
            return (index.map { state.interjections.remove(at: $0).answer }, state.hanging.contains(call))
        }
        if isHanging {
            // Until the server is stopped or the client goes.
            let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
            for await _ in stream {}
            withExtendedLifetime(continuation) {}
        }
        if let interjection { return interjection }
        if call == "POST /oauth/token" { return try grant(request) }
        let bearer = request.headers["authorization"] ?? ""
        guard with({ $0.validTokens.contains(String(bearer.dropFirst("Bearer ".count))) }) else {
            return try .json(["message": "Invalid token"], status: 401)
        }
        switch (request.method, request.path) {
        case ("POST", "/api/v2/users"): return try create(request)
        case ("GET", "/api/v2/users-by-email"):
            let email = request.query["email"]
            return try .json(with { $0.accounts.values.filter { $0.email == email } }.map(Self.describe))
        case ("GET", "/api/v2/connections"):
            expect(request.query == ["strategy": "auth0"], "connections: \(request.target)")
            return try .json([
                ["id": "con_other", "name": "Other"],
                ["id": "con_1", "name": "Username-Password-Authentication"],
            ])
        case ("POST", "/api/v2/tickets/password-change"): return try makeTicket(request)
        case ("GET", _) where request.path.hasPrefix("/api/v2/users/"):
            guard let account = account(id(in: request)) else {
                return try .json(["message": "The user does not exist."], status: 404)
            }
            return try .json(Self.describe(account))
        case ("PATCH", _) where request.path.hasPrefix("/api/v2/users/"):
            let metadata = request.json["app_metadata"] as? [String: String]
            expect(request.json.count == 1 && metadata?.count == 1, "link: \(request.json)")
            let id = id(in: request)
            let isKnown = with { state -> Bool in
                state.accounts[id]?.linkedID = metadata?["id"]
                return state.accounts[id] != nil
            }
            return try isKnown ? .json([:]) : .json(["message": "unknown"], status: 404)
        default:
            expect(false, "no such call: \(call)")
            return StandInAnswer(status: 404)
        }
    }

    private func expect(_ condition: Bool, _ complaint: String) {
        if !condition { with { $0.complaints.append(complaint) } }
    }

    private func id(in request: ReceivedRequest) -> String {
        let raw = request.path.dropFirst("/api/v2/users/".count)
        expect(!raw.contains("|") && !raw.contains("/"), "an id that is not encoded: \(raw)")
        return String(raw).removingPercentEncoding ?? ""
    }

    private func grant(_ request: ReceivedRequest) throws -> StandInAnswer {
        expect(
            request.form == [
                "grant_type": "client_credentials", "client_id": Self.clientID, "client_secret": Self.secret,
                "audience": Self.audience,
            ], "token: \(request.form)")
        let (token, lifetime) = with { state in
            state.tokensGranted += 1
            let token = "token-\(state.tokensGranted)"
            state.validTokens.insert(token)
            return (token, state.tokenLifetime)
        }
        return try .json([
            "access_token": token, "scope": "create:users", "expires_in": lifetime, "token_type": "Bearer",
        ])
    }

    private func create(_ request: ReceivedRequest) throws -> StandInAnswer {
        let json = request.json
        expect(
            Set(json.keys) == ["email", "connection", "password", "email_verified", "verify_email"],
            "create: fields")
        expect(json["connection"] as? String == "Username-Password-Authentication", "create: connection")
        expect(json["email_verified"] as? Bool == false, "create: email_verified")
        expect(json["verify_email"] as? Bool == false, "create: verify_email")
        expect(UUID(uuidString: json["password"] as? String ?? "") != nil, "create: password")
        let email = json["email"] as? String ?? ""
        let account = with { state -> Account? in
            guard !state.accounts.values.contains(where: { $0.email == email }) else { return nil }
            let id = "auth0|new\(state.accounts.count)"
            let account = Account(id: id, email: email, nickname: String(email.prefix { $0 != "@" }))
            state.accounts[id] = account
            return account
        }
        guard let account else { return try .json(["message": "The user already exists."], status: 409) }
        return try .json(Self.describe(account), status: 201)
    }

    private func makeTicket(_ request: ReceivedRequest) throws -> StandInAnswer {
        let json = request.json
        expect(
            Set(json.keys) == ["connection_id", "email", "result_url", "ttl_sec", "mark_email_as_verified"],
            "ticket: fields")
        expect(json["connection_id"] as? String == "con_1", "ticket: connection_id")
        expect(json["ttl_sec"] as? Int == 432_000, "ticket: ttl_sec")
        expect(json["mark_email_as_verified"] as? Bool == true, "ticket: mark_email_as_verified")
        let email = json["email"] as? String ?? ""
        let ticket = "https://tenant.example/reset?ticket=\(UUID().uuidString)#"
        with { $0.tickets[email] = ticket }
        return try .json(["ticket": ticket], status: 201)
    }

    private static func describe(_ account: Account) -> [String: Any] {
        var object: [String: Any] = ["user_id": account.id, "email_verified": account.isVerified]
        object["email"] = account.email
        object["nickname"] = account.nickname
        return object
    }
}
