/// Who asks, as the token says.
public struct Identity: Sendable, Hashable {
    /// The subject, an Auth0 id: `auth0|60a666916089a00069b2a773`.
    public let subject: String
    /// The claim `https://client.devpie.io/claims/user_id`, the internal id; nil before the account exists here.
    public let userID: String?

    /// The claim's name.
    static let userIDClaim = "https://client.devpie.io/claims/user_id"
}
