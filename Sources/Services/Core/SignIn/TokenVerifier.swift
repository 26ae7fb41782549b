import Postgres
import Synchronization

/// Checks bearer tokens by the rules of services.md 6.1.
///
/// A token that was found good is remembered (its signature is not checked again), bounded in number; its times are
/// looked at each time.
final class TokenVerifier: Sendable {
    private struct Verified: Sendable {
        let claims: Token.Claims
        /// Until then without another look at the keys.
        let until: Duration
    }

    /// A token, told from others by all of its text and found by the end of it, which is its signature: nobody can have many
    /// of one end signed.
    private struct Text: Hashable, Sendable {
        let text: String

        static func == (one: Text, other: Text) -> Bool { one.text.hasSameBytes(as: other.text) }

        func hash(into hasher: inout Hasher) {
            hasher.combine(text.utf8.count)
            for byte in text.utf8.suffix(16) { hasher.combine(byte) }
        }
    }

    private static let leeway = 30.0
    private static let cacheLimit = 1_024
    private static let cacheTime = Duration.seconds(60)

    private let configuration: SignInConfiguration
    private let keys: KeyStore
    private let clock: ServiceClock
    private let cache = Mutex<[Text: Verified]>([:])

    init(_ configuration: SignInConfiguration, keys: KeyStore, clock: ServiceClock) {
        self.configuration = configuration
        self.keys = keys
        self.clock = clock
    }

    /// Who the header says asks.
    ///
    /// - Throws: 401 with the reason; 503 when the issuer's keys were never to be had.
    nonisolated(nonsending)
        func identity(authorization: String?) async throws -> Identity
    {
        guard let authorization, !authorization.isEmpty else {
            throw RequestError.unauthorized("authorization token not found")
        }
        // As RFC 9110, 11.1 has it: the scheme in any case, and a space.
        let bytes = authorization.utf8
        guard let space = bytes.firstIndex(of: UInt8(ascii: " ")),
            bytes[..<space].elementsEqual("bearer".utf8, by: { $0 | 0x20 == $1 })
        else {
            throw RequestError.unauthorized("authorization header is no bearer token")
        }
        let text = String(authorization[bytes.index(after: space)...]).trimmed
        let claims = try await verifiedClaims(text)
        try check(claims)
        return Identity(subject: claims.subject, userID: claims.userID)
    }

    nonisolated(nonsending)
        private func verifiedClaims(_ text: String) async throws -> Token.Claims
    {
        let now = clock.monotonic()
        if let known = cache.withLock({ $0[Text(text: text)] }), known.until > now { return known.claims }
        let token = try Token(text)
        guard token.algorithm == "RS256" || token.algorithm == "ES256" else {
            throw RequestError.unauthorized("token algorithm is not accepted")
        }
        guard !token.keyID.isEmpty else { throw RequestError.unauthorized("token has no key id") }
        // Expired, foreign and unsigned tokens do not lead to fetches of keys.
        try check(token.claims)
        guard let key = try await keys.key(token.keyID) else {
            throw RequestError.unauthorized("token is signed by an unknown key")
        }
        guard key.algorithm == token.algorithm else {
            throw RequestError.unauthorized("token algorithm does not belong to its key")
        }
        guard key.isValid(token) else { throw RequestError.unauthorized("token signature is invalid") }
        cache.withLock { cache in
            if cache.count >= Self.cacheLimit { cache.removeAll(keepingCapacity: true) }
            cache[Text(text: text)] = Verified(claims: token.claims, until: now + Self.cacheTime)
        }
        return token.claims
    }

    private func check(_ claims: Token.Claims) throws(RequestError) {
        let now = Double(clock.now().microseconds) / 1e6
        guard claims.issuer == configuration.issuer else { throw .unauthorized("invalid issuer") }
        guard claims.audiences.contains(configuration.audience) else {
            throw .unauthorized("invalid audience")
        }
        guard let expiry = claims.expiry else { throw .unauthorized("token has no expiry") }
        guard now < expiry + Self.leeway else { throw .unauthorized("token is expired") }
        if let notBefore = claims.notBefore, now < notBefore - Self.leeway {
            throw .unauthorized("token is not valid yet")
        }
        if let issuedAt = claims.issuedAt, now < issuedAt - Self.leeway {
            throw .unauthorized("token was issued in the future")
        }
        guard !claims.subject.isEmpty else { throw .unauthorized("token has no subject") }
    }
}
