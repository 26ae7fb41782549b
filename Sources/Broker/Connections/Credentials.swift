import BrokerProtocol

/// Who may connect: one user with a password, or one token (nats-core.md 2.3).
struct Credentials: Sendable {
    private enum Kind {
        case user([UInt8], password: [UInt8])
        case token([UInt8])
    }

    private let kind: Kind

    /// nil when the options ask for no credentials.
    init?(_ options: BrokerOptions) {
        if let token = options.token {
            kind = .token(Array(token.utf8))
        } else if let user = options.user {
            kind = .user(Array(user.utf8), password: Array((options.password ?? "").utf8))
        } else {
            return nil
        }
    }

    /// True when the client presented what is asked for.
    func accept(_ connect: ConnectOptions) -> Bool {
        switch kind {
        case .token(let token):
            return !token.isEmpty && Self.isSame(connect.token, token)
        case .user(let user, let password):
            // Both are compared whatever the first says, so that the time tells nothing.
            let sameUser = Self.isSame(connect.user, user)
            let samePassword = Self.isSame(connect.password, password)
            return sameUser && samePassword
        }
    }

    /// Compares in a time that depends on the length of `given` alone.
    static func isSame(_ given: [UInt8], _ wanted: [UInt8]) -> Bool {
        var difference = UInt8(given.count == wanted.count ? 0 : 1)
        for index in given.indices {
            difference |= given[index] ^ (wanted.isEmpty ? 1 : wanted[index % wanted.count])
        }
        return difference == 0
    }
}
