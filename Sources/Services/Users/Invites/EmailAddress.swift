import ServicesCore

/// An e-mail address that mail can be sent to (RFC 5321, section 4.1.2, without quoted local parts and address
/// literals, which neither Auth0 nor SendGrid takes).
struct EmailAddress: Hashable, Sendable {
    /// As people write it, with the domain in lower case.
    let text: String

    /// The longest that the column `users.email` holds.
    static let lengthLimit = 64

    /// Reads an address; blanks around it do not count.
    init?(_ text: String) {
        let bytes = Array(text.trimmed.utf8)
        guard bytes.count <= Self.lengthLimit, let at = bytes.firstIndex(of: UInt8(ascii: "@")) else {
            return nil
        }
        let (local, domain) = (bytes[..<at], bytes[(at + 1)...])
        guard Self.isLocalPart(local), Self.isDomain(domain) else { return nil }
        self.text =
            String(decoding: local, as: UTF8.self) + "@"
            + String(decoding: domain, as: UTF8.self).lowercased()
    }

    /// What addresses are compared by, here and in the unique index `users_email`.
    var key: String { text.lowercased() }

    /// The addresses once each, in their order.
    static func unique(_ addresses: [EmailAddress]) -> [EmailAddress] {
        var seen: Set<String> = []
        return addresses.filter { seen.insert($0.key).inserted }
    }

    private static func isLocalPart(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { atom in
            !atom.isEmpty
                && atom.allSatisfy { isLetterOrDigit($0) || "!#$%&'*+-/=?^_`{|}~".utf8.contains($0) }
        }
    }

    private static func isDomain(_ bytes: ArraySlice<UInt8>) -> Bool {
        let labels = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let hyphen = UInt8(ascii: "-")
        return labels.count >= 2
            && labels.allSatisfy { label in
                1...63 ~= label.count && label.first != hyphen && label.last != hyphen
                    && label.allSatisfy { isLetterOrDigit($0) || $0 == hyphen }
            }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
