/// A bearer token taken apart, its signature not checked yet (RFC 7515, compact serialization).
///
/// Our own reader, not jwt-kit's: only what is needed is looked at, and nothing hostile reaches number conversions.
struct Token {
    /// What the signature covers: header, point, payload, as they stand in the token.
    let signedBytes: ArraySlice<UInt8>
    /// The signature.
    let signature: [UInt8]
    /// `alg`.
    let algorithm: String
    /// `kid`.
    let keyID: String
    /// The claims.
    let claims: Claims

    /// What the payload says.
    struct Claims: Sendable {
        let subject: String
        let userID: String?
        let issuer: String?
        let audiences: [String]
        /// Seconds since 1970.
        let expiry: Double?
        let notBefore: Double?
        let issuedAt: Double?
    }

    /// Reads a token.
    ///
    /// - Throws: 401 with the reason.
    init(_ text: String) throws(RequestError) {
        let bytes = Array(text.utf8)
        guard bytes.count <= 16_384 else { throw .unauthorized("token is too long") }
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(parts[0]),
            let payload = Base64URL.decode(parts[1]), let signature = Base64URL.decode(parts[2])
        else { throw .unauthorized("token is malformed") }
        signedBytes = bytes[..<(parts[0].count + 1 + parts[1].count)]
        self.signature = signature
        do throws(JSONFailure) {
            var fields = try JSONFields(parsing: header)
            algorithm = try fields.string("alg") ?? ""
            keyID = try fields.string("kid") ?? ""
            // An extension that must be understood, and is not (RFC 7515, 4.1.11).
            if fields.contains("crit") { throw JSONFailure("crit") }
            var claims = try JSONFields(parsing: payload)
            self.claims = Claims(
                subject: try claims.string("sub") ?? "", userID: try claims.string(Identity.userIDClaim),
                issuer: try claims.string("iss"), audiences: try claims.stringOrStrings("aud") ?? [],
                expiry: try claims.number("exp"), notBefore: try claims.number("nbf"),
                issuedAt: try claims.number("iat"))
        } catch {
            throw .unauthorized("token is malformed")
        }
    }
}

/// Base64 with the URL alphabet and without padding (RFC 4648, 5; RFC 7515, 2).
enum Base64URL {
    static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        guard text.count % 4 != 1 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count * 3 / 4)
        var bits: UInt32 = 0
        var count = 0
        for letter in text {
            guard let value = value(of: letter) else { return nil }
            bits = bits << 6 | value
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return bytes
    }

    private static func value(of letter: UInt8) -> UInt32? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(letter - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(letter - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(letter - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
