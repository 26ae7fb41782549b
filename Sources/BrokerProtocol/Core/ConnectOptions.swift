/// What a client says about itself in `CONNECT` (nats-core.md 2.2).
public struct ConnectOptions: Equatable, Sendable {
    /// `+OK` after each operation.
    public var verbose = true
    /// Publish subjects are checked.
    public var pedantic = true
    /// Own messages come back to own subscriptions.
    public var echo = true
    /// 0 = no `INFO` after the first, 1 = `INFO` at any time.
    public var protocolVersion = 0
    /// The client understands `HPUB` and `HMSG`.
    public var headers = false
    /// The client wants to hear when nobody got its request.
    public var noResponders = false
    /// Name of the connection.
    public var name: [UInt8] = []
    /// Language of the client library.
    public var language: [UInt8] = []
    /// Version of the client library.
    public var version: [UInt8] = []
    /// User name.
    public var user: [UInt8] = []
    /// Password.
    public var password: [UInt8] = []
    /// Token.
    public var token: [UInt8] = []
    /// The client names an account by the retired `account` or `new_account`.
    public var namesLegacyAccount = false

    /// What holds for a client that sent no `CONNECT`.
    public init() {}

    /// Reads the JSON of a `CONNECT`; nil when it is none, is neither an object nor `null`, or gives a known
    /// key a value of another type. Keys are compared without case, unknown ones are ignored, and the last
    /// of several equal ones wins.
    public init?(parsing json: UnsafeRawBufferPointer) {
        guard let value = unsafe JSONValue(parsing: json) else { return nil }
        guard case .object(let members) = value else {
            if value == .null { return }
            return nil
        }
        for (key, value) in members {
            guard set(key: Self.folded(key), value) else { return nil }
        }
    }

    private mutating func set(key: String, _ value: JSONValue) -> Bool {
        // The reference's decoder leaves a field alone for null, whatever its type.
        if value == .null { return true }
        switch key {
        case "verbose": return Self.read(value, &verbose)
        case "pedantic": return Self.read(value, &pedantic)
        case "echo": return Self.read(value, &echo)
        case "headers": return Self.read(value, &headers)
        case "no_responders": return Self.read(value, &noResponders)
        case "name": return Self.read(value, &name)
        case "lang": return Self.read(value, &language)
        case "version": return Self.read(value, &version)
        case "user": return Self.read(value, &user)
        case "pass": return Self.read(value, &password)
        case "auth_token": return Self.read(value, &token)
        case "protocol":
            guard case .number(let text) = value, let number = Int(String(decoding: text, as: UTF8.self))
            else { return false }
            protocolVersion = number
            return true
        case "account":
            var account: [UInt8] = []
            guard Self.read(value, &account) else { return false }
            namesLegacyAccount = namesLegacyAccount || !account.isEmpty
            return true
        case "new_account":
            var isNew = false
            guard Self.read(value, &isNew) else { return false }
            namesLegacyAccount = namesLegacyAccount || isNew
            return true
        case "tls_required":
            var unused = false
            return Self.read(value, &unused)
        case "nkey", "jwt", "sig", "proxy_sig", "remote_account":
            var unused: [UInt8] = []
            return Self.read(value, &unused)
        default: return true
        }
    }

    private static func read(_ value: JSONValue, _ field: inout Bool) -> Bool {
        guard case .boolean(let boolean) = value else { return false }
        field = boolean
        return true
    }

    private static func read(_ value: JSONValue, _ field: inout [UInt8]) -> Bool {
        guard case .string(let string) = value else { return false }
        field = string
        return true
    }

    private static func folded(_ key: [UInt8]) -> String {
        String(decoding: key.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
