import JWTKit

/// The public keys of an issuer by id (RFC 7517), those that this service can use: RSA for RS256, P-256 for ES256.
struct SigningKeys: Sendable {
    /// A key and the one algorithm that it is used with: a token cannot choose another.
    struct Key: Sendable {
        let algorithm: String
        let verifier: any JWTAlgorithm

        func isValid(_ token: Token) -> Bool {
            // A key that cannot even try (a signature of the wrong length) has not verified anything.
            (try? verifier.verify(token.signature, signs: Array(token.signedBytes))) ?? false
        }
    }

    private var keys: [String: Key] = [:]

    var isEmpty: Bool { keys.isEmpty }

    /// No keys.
    init() {}

    subscript(_ id: String) -> Key? { keys[id] }

    /// Reads a key set. Keys of other kinds, for encryption, or without an id are passed over; `x5c` is not needed.
    ///
    /// - Throws: `JSONFailure` when it is no key set, or has no key of use.
    init(jwks bytes: [UInt8]) async throws {
        var fields = try JSONFields(parsing: bytes)
        guard let entries = try fields.objects("keys") else {
            throw JSONFailure("the key set has no \"keys\"")
        }
        for var entry in entries {
            // One key that cannot be read does not spoil the others.
            guard let key = try? await Self.read(&entry) else { continue }
            keys[key.id] = key.key
        }
        if keys.isEmpty { throw JSONFailure("the key set has no RSA or P-256 key with a \"kid\"") }
    }

    private static func read(_ entry: inout JSONFields) async throws -> (id: String, key: Key)? {
        guard let id = try entry.string("kid"), !id.isEmpty, try entry.string("use") ?? "sig" == "sig" else {
            return nil
        }
        let identifier = JWKIdentifier(string: id)
        let (name, jwk): (String, JWK)
        switch try entry.string("kty") {
        case "RSA":
            (name, jwk) = (
                "RS256",
                .rsa(
                    .rs256, identifier: identifier, modulus: try entry.requiredString("n"),
                    exponent: try entry.requiredString("e"))
            )
        case "EC" where try entry.string("crv") == "P-256":
            (name, jwk) = (
                "ES256",
                .ecdsa(
                    .es256, identifier: identifier, x: try entry.requiredString("x"),
                    y: try entry.requiredString("y"), curve: .p256)
            )
        default: return nil
        }
        guard try entry.string("alg") ?? name == name else { return nil }
        let collection = try await JWTKeyCollection().add(jwk: jwk)
        return (id, Key(algorithm: name, verifier: try await collection.getKey(for: identifier)))
    }
}
