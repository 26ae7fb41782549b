import ServicesCore

/// The id by which Auth0 knows a person, or the placeholder of somebody who was invited and has no account yet.
///
/// The column `users.auth0_id` is NOT NULL and UNIQUE, so the placeholder is `pending|` and a UUID.
enum Auth0ID: Sendable, Equatable {
    /// For instance `auth0|60a666916089a00069b2a773`.
    case account(String)
    /// A placeholder.
    case placeholder(String)

    /// Begins every placeholder; Auth0 has no connection of this name.
    static let placeholderPrefix = "pending|"

    /// As the column holds it.
    init(stored text: String) {
        self = text.hasPrefix(Self.placeholderPrefix) ? .placeholder(text) : .account(text)
    }

    /// A placeholder of its own.
    static func makePlaceholder() -> String { placeholderPrefix + String.makeUUID() }
}
