/// Whose tokens are accepted.
public struct SignInConfiguration: Sendable, Hashable {
    /// The tenant's base URL, without a slash at its end.
    public var baseURL: String
    /// What `iss` must be.
    public var issuer: String
    /// Where the issuer's keys are.
    public var keysURL: String
    /// What `aud` must be or contain.
    public var audience: String

    init(_ settings: Settings) {
        let domain = settings[CoreSettings.authDomain]
        let base = settings[CoreSettings.authBaseURL]
        baseURL = base.isEmpty ? "https://\(domain)" : String(base.reversed().drop { $0 == "/" }.reversed())
        let issuer = settings[CoreSettings.authIssuer]
        self.issuer = issuer.isEmpty ? "https://\(domain)/" : issuer
        let keys = settings[CoreSettings.authKeysURL]
        keysURL = keys.isEmpty ? "\(baseURL)/.well-known/jwks.json" : keys
        audience = settings[CoreSettings.authAudience]
    }
}
