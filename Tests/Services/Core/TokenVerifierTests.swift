import Foundation
import Logging
import ServicesTesting
import Synchronization
import Testing

@testable import ServicesCore

@Suite("Tokens")
struct TokenVerifierTests {
    private static let user = "a4b54ec1-57f9-4c39-ab53-d936dbb6c177"

    /// A verifier, its issuer, and a clock that stands.
    private final class Fixture: Sendable {
        let issuer: TestIssuer
        let clock = ManualClock()
        let metrics = Metrics()
        let fetches = Mutex(0)
        let isBroken = Mutex(false)

        init() async throws { issuer = try await TestIssuer() }

        func makeVerifier() throws -> TokenVerifier {
            let environment = [
                "API_WEB_AUTH_ISSUER": issuer.issuer, "API_WEB_AUTH_AUDIENCE": TestIssuer.audience,
            ]
            let settings = try Settings(CoreSettings.all, environment: environment, arguments: [])
            let keys = KeyStore(clock: clock.clock, metrics: metrics, logger: TestLog().logger) { [self] in
                fetches.withLock { $0 += 1 }
                if isBroken.withLock({ $0 }) { throw JSONFailure("the issuer is away") }
                return Array(issuer.keySet.utf8)
            }
            return TokenVerifier(SignInConfiguration(settings), keys: keys, clock: clock.clock)
        }

        func claims(_ change: (inout TestIssuer.Claims) -> Void = { _ in }) -> TestIssuer.Claims {
            let now = Double(clock.clock.now().microseconds) / 1e6
            var claims = issuer.claims(TokenVerifierTests.user, now: Date(timeIntervalSince1970: now))
            change(&claims)
            return claims
        }

        var fetchCount: Int { fetches.withLock { $0 } }
    }

    private func refusal(_ verifier: TokenVerifier, _ header: String?) async -> RequestError? {
        do {
            _ = try await verifier.identity(authorization: header)
            return nil
        } catch {
            return error as? RequestError ?? RequestError(.internalServerError, "\(error)")
        }
    }

    @Test("are accepted when signed with RS256 or ES256, whatever the scheme's case")
    func good() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        for key in ["rsa-1", "ec-1"] {
            let token = try await fixture.issuer.sign(fixture.claims(), key: key)
            for scheme in ["Bearer", "bearer", "BEARER"] {
                let identity = try await verifier.identity(authorization: "\(scheme) \(token)")
                #expect(identity.userID == Self.user)
                #expect(identity.subject == "auth0|\(Self.user)")
            }
        }
        #expect(fixture.fetchCount == 1)
    }

    @Test("are accepted with an audience that is a string, and within 30 s of their times")
    func leeway() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        let now = Double(fixture.clock.clock.now().microseconds) / 1e6
        let good: [(inout TestIssuer.Claims) -> Void] = [
            {
                $0.aud = nil
                $0.audText = TestIssuer.audience
            },
            { $0.exp = now - 29 }, { $0.nbf = now + 29 }, { $0.iat = now + 29 },
        ]
        for change in good {
            let token = try await fixture.issuer.sign(fixture.claims(change))
            #expect(await refusal(verifier, "Bearer \(token)") == nil)
        }
    }

    @Test("are refused for what they claim")
    func claims() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        let now = Double(fixture.clock.clock.now().microseconds) / 1e6
        let bad: [((inout TestIssuer.Claims) -> Void, String)] = [
            ({ $0.iss = nil }, "invalid issuer"), ({ $0.iss = "https://evil.example/" }, "invalid issuer"),
            ({ $0.aud = nil }, "invalid audience"), ({ $0.aud = [] }, "invalid audience"),
            ({ $0.aud = ["https://other.example"] }, "invalid audience"),
            (
                {
                    $0.aud = nil
                    $0.audText = "https://other.example"
                }, "invalid audience"
            ),
            ({ $0.exp = nil }, "token has no expiry"), ({ $0.exp = now - 31 }, "token is expired"),
            ({ $0.exp = -1e300 }, "token is expired"), ({ $0.nbf = now + 31 }, "token is not valid yet"),
            ({ $0.iat = now + 31 }, "token was issued in the future"),
            ({ $0.sub = nil }, "token has no subject"),
        ]
        for (change, message) in bad {
            let token = try await fixture.issuer.sign(fixture.claims(change))
            let error = await refusal(verifier, "Bearer \(token)")
            #expect(error?.status == .unauthorized)
            #expect(error?.message == message)
            #expect(error?.headers[.wwwAuthenticate] == "Bearer error=\"invalid_token\"")
        }
    }

    @Test("are refused when malformed, unsigned, forged, or signed with another algorithm than their key's")
    func forged() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        let token = try await fixture.issuer.sign(fixture.claims())
        let parts = token.split(separator: ".").map { String($0) }
        let payload = parts[1]
        func header(_ json: String) -> String {
            Data(json.utf8).base64EncodedString().replacing("=", with: "")
        }
        var flipped = Array(parts[2].utf8)
        flipped[10] = flipped[10] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        let ec = try await fixture.issuer.sign(fixture.claims(), key: "ec-1").split(separator: ".")
        let bad: [String?] = [
            nil, "", "Bearer", "Bearer ", "Basic \(token)", token, "Bearer x", "Bearer a.b", "Bearer a.b.c.d",
            "Bearer ..", "Bearer \(parts[0]).\(parts[1]).", "Bearer \(parts[0]).\(parts[1])",
            "Bearer \(parts[0]).\(parts[1]).\(String(decoding: flipped, as: UTF8.self))",
            "Bearer \(header(#"{"alg":"none","kid":"rsa-1"}"#)).\(payload).",
            "Bearer \(header(#"{"alg":"HS256","kid":"rsa-1"}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"{"alg":"RS512","kid":"rsa-1"}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"{"alg":"RS256"}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"{"alg":"RS256","kid":"ec-1"}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"{"alg":"ES256","kid":"rsa-1"}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"{"alg":"RS256","kid":"rsa-1"}"#)).\(ec[1]).\(ec[2])",
            "Bearer \(header(#"{"alg":"RS256","kid":"rsa-1","crit":["b64"],"b64":false}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"{"alg":"RS256","kid":"rsa-1","x":1e999}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"{"alg":"RS256","kid":1}"#)).\(payload).\(parts[2])",
            "Bearer \(header(#"[]"#)).\(payload).\(parts[2])",
            "Bearer \(String(repeating: "a", count: 100_000)).b.c",
        ]
        for text in bad {
            #expect(await refusal(verifier, text)?.status == .unauthorized, "\(text?.prefix(80) ?? "nil")")
        }
        #expect(await refusal(verifier, "Bearer \(token)") == nil)
    }

    @Test("that were good expire, though their signature is remembered")
    func expiry() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        let now = Double(fixture.clock.clock.now().microseconds) / 1e6
        let token = try await fixture.issuer.sign(fixture.claims { $0.exp = now + 5 })
        #expect(await refusal(verifier, "Bearer \(token)") == nil)
        fixture.clock.advance(by: .seconds(36))
        #expect(await refusal(verifier, "Bearer \(token)")?.message == "token is expired")
    }

    @Test("of a new key cause one fetch under 100 parallel requests")
    func rotation() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        let old = try await fixture.issuer.sign(fixture.claims())
        #expect(await refusal(verifier, "Bearer \(old)") == nil)
        try await fixture.issuer.addRSAKey("rsa-2")
        fixture.clock.advance(by: .seconds(31))
        let new = try await fixture.issuer.sign(fixture.claims(), key: "rsa-2")
        let refusals = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<100 { group.addTask { await self.refusal(verifier, "Bearer \(new)") != nil } }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(refusals == 0)
        #expect(fixture.fetchCount == 2)
    }

    @Test("with unknown key ids cause at most one fetch in 30 s")
    func flood() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        let token = try await fixture.issuer.sign(fixture.claims())
        #expect(await refusal(verifier, "Bearer \(token)") == nil)
        let foreign = try await TestIssuer()
        try await foreign.addRSAKey("unknown")
        let forged = try await foreign.sign(fixture.claims(), key: "unknown")
        for _ in 0..<60 {
            #expect(
                await refusal(verifier, "Bearer \(forged)")?.message == "token is signed by an unknown key")
            fixture.clock.advance(by: .seconds(1))
        }
        // The first one, and after 30 s; the second half of the minute has another.
        #expect(fixture.fetchCount <= 3)
    }

    @Test(
        "are checked with the old keys while the issuer is away, and the keys are fetched again every ten minutes"
    )
    func stale() async throws {
        let fixture = try await Fixture()
        let verifier = try fixture.makeVerifier()
        var token = try await fixture.issuer.sign(fixture.claims())
        #expect(await refusal(verifier, "Bearer \(token)") == nil)
        fixture.isBroken.withLock { $0 = true }
        fixture.clock.advance(by: .seconds(3_000))
        token = try await fixture.issuer.sign(fixture.claims())
        #expect(await refusal(verifier, "Bearer \(token)") == nil)
        while fixture.fetchCount < 2 { await Task.yield() }
        #expect(fixture.fetchCount == 2)
    }

    @Test("cannot be checked as long as no keys were ever to be had: 503, not 401")
    func noKeys() async throws {
        let fixture = try await Fixture()
        fixture.isBroken.withLock { $0 = true }
        let verifier = try fixture.makeVerifier()
        let token = try await fixture.issuer.sign(fixture.claims())
        #expect(await refusal(verifier, "Bearer \(token)")?.status == .serviceUnavailable)
        fixture.isBroken.withLock { $0 = false }
        fixture.clock.advance(by: .seconds(2))
        #expect(await refusal(verifier, "Bearer \(token)") == nil)
    }
}
