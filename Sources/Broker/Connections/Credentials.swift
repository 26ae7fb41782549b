import BrokerProtocol

/// Who may connect, and who may delete and purge channels: one user with a password, or one token
/// (nats-core.md 2.3), and a token of its own for the second.
struct Credentials: Sendable {
    /// What a client may do by what it presented.
    enum Admission {
        case refused, client, administrator
    }

    private enum Kind {
        case everybody
        case user([UInt8], password: [UInt8])
        case token([UInt8])
    }

    private let kind: Kind
    private let administrator: [UInt8]?

    init(_ options: BrokerOptions) {
        if let token = options.token {
            kind = .token(Array(token.utf8))
        } else if let user = options.user {
            kind = .user(Array(user.utf8), password: Array((options.password ?? "").utf8))
        } else {
            kind = .everybody
        }
        administrator = options.administratorToken.map { Array($0.utf8) }
    }

    /// Nobody gets in without.
    var areRequired: Bool {
        if case .everybody = kind { false } else { true }
    }

    /// What a client may do that presents nothing.
    var withoutConnect: Admission {
        areRequired ? .refused : administrator == nil ? .administrator : .client
    }

    /// What a client may do: whoever gets in may everything where no token of its own guards it.
    func admission(_ connect: ConnectOptions) -> Admission {
        // Both are compared whatever the first says, so that the time tells nothing.
        let isClient = accept(connect)
        guard let administrator else { return isClient ? .administrator : .refused }
        let isAdministrator = !administrator.isEmpty && Self.isSame(connect.token, administrator)
        return isAdministrator ? .administrator : isClient ? .client : .refused
    }

    /// The user that a client got in as, for log lines; nil where it presented no user or none was asked for.
    func user(of connect: ConnectOptions) -> [UInt8]? {
        guard case .user(let user, _) = kind, accept(connect) else { return nil }
        return user
    }

    private func accept(_ connect: ConnectOptions) -> Bool {
        switch kind {
        case .everybody: return true
        case .token(let token):
            return !token.isEmpty && Self.isSame(connect.token, token)
        case .user(let user, let password):
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
