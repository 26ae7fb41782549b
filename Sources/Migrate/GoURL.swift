/// A URL taken apart by the rules and with the messages of Go's `net/url`, which users of golang-migrate know.
struct GoURL {
    /// Why a text is no URL, in Go's words. Nothing of a password is in it.
    struct Failure: Error {
        let reason: String
    }

    var scheme = ""
    /// What follows the scheme when it does not begin with a slash.
    var opaque = ""
    var user: String?
    var password: String?
    /// With its brackets taken off when it is an IPv6 address.
    var host = ""
    var port = ""
    /// Percent-decoded, with its leading slash.
    var path = ""
    /// Keys and values, percent-decoded, in their order; a pair that cannot be decoded is left out.
    var query: [(key: String, value: String)] = []

    init(_ text: String) throws(Failure) {
        var rest = Array(text.utf8)[...]
        guard !rest.contains(where: { $0 < 0x20 || $0 == 0x7f }) else {
            throw Failure(reason: "net/url: invalid control character in URL")
        }
        rest = rest.prefix { $0 != UInt8(ascii: "#") }
        if let colon = rest.firstIndex(of: UInt8(ascii: ":")), Self.isScheme(rest[..<colon]) {
            scheme = String(decoding: rest[..<colon], as: UTF8.self).lowercased()
            rest = rest[(colon + 1)...]
        }
        if let mark = rest.firstIndex(of: UInt8(ascii: "?")) {
            query = Self.pairs(rest[(mark + 1)...])
            rest = rest[..<mark]
        }
        if rest.first != UInt8(ascii: "/"), !scheme.isEmpty {
            opaque = String(decoding: rest, as: UTF8.self)
            return
        }
        if rest.starts(with: "//".utf8) {
            rest = rest.dropFirst(2)
            let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
            try readAuthority(rest[..<end])
            rest = rest[end...]
        }
        path = try Self.decode(rest)
    }

    private static func isScheme(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let first = bytes.first, isLetter(first) else { return false }
        return bytes.allSatisfy { isLetter($0) || isDigit($0) || "+-.".utf8.contains($0) }
    }

    private mutating func readAuthority(_ authority: ArraySlice<UInt8>) throws(Failure) {
        guard let at = authority.lastIndex(of: UInt8(ascii: "@")) else { return try readHost(authority) }
        try readHost(authority[(at + 1)...])
        let credentials = authority[..<at]
        guard
            credentials.allSatisfy({
                Self.isLetter($0) || Self.isDigit($0) || "-._:~!$&'()*+,;=%@".utf8.contains($0)
            })
        else { throw Failure(reason: "net/url: invalid userinfo") }
        guard let colon = credentials.firstIndex(of: UInt8(ascii: ":")) else {
            user = try Self.decode(credentials)
            return
        }
        user = try Self.decode(credentials[..<colon])
        do {
            password = try Self.decode(credentials[(colon + 1)...])
        } catch {
            // Go quotes three bytes of the password here.
            throw Failure(reason: "invalid URL escape \"%**\"")
        }
    }

    private mutating func readHost(_ text: ArraySlice<UInt8>) throws(Failure) {
        var name = text
        if text.first == UInt8(ascii: "[") {
            guard let bracket = text.lastIndex(of: UInt8(ascii: "]")) else {
                throw Failure(reason: "missing ']' in host")
            }
            try readPort(text[(bracket + 1)...])
            name = text[(text.startIndex + 1)..<bracket]
        } else if let colon = text.lastIndex(of: UInt8(ascii: ":")) {
            try readPort(text[colon...])
            name = text[..<colon]
        }
        var index = name.startIndex
        while index < name.endIndex {
            let byte = name[index]
            if byte == UInt8(ascii: "%") {
                // Only bytes beyond ASCII may be escaped in a host.
                let escape = name[index...].prefix(3)
                guard escape.count == 3, let value = Self.byte(escape), value >= 0x80 else {
                    throw Failure(
                        reason: "invalid URL escape \"\(String(decoding: escape, as: UTF8.self))\"")
                }
                index += 3
                continue
            }
            guard byte >= 0x80 || !" \"<>^`{|}\\".utf8.contains(byte) else {
                throw Failure(
                    reason: "invalid character \"\(Character(Unicode.Scalar(byte)))\" in host name")
            }
            index += 1
        }
        host = try Self.decode(name)
    }

    private mutating func readPort(_ text: ArraySlice<UInt8>) throws(Failure) {
        guard !text.isEmpty else { return }
        guard text.first == UInt8(ascii: ":"), text.dropFirst().allSatisfy(Self.isDigit) else {
            // A `#` or `/` in a password ends the authority early, and what looks like a port is the password.
            throw Failure(reason: "invalid port \":***\" after host")
        }
        port = String(decoding: text.dropFirst(), as: UTF8.self)
    }

    /// Decodes `%41`; `+` stays.
    private static func decode(_ bytes: ArraySlice<UInt8>, isQuery: Bool = false) throws(Failure) -> String {
        var result: [UInt8] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if bytes[index] == UInt8(ascii: "%") {
                let escape = bytes[index...].prefix(3)
                guard escape.count == 3, let value = byte(escape) else {
                    throw Failure(
                        reason: "invalid URL escape \"\(String(decoding: escape, as: UTF8.self))\"")
                }
                result.append(value)
                index += 3
            } else {
                result.append(
                    isQuery && bytes[index] == UInt8(ascii: "+") ? UInt8(ascii: " ") : bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func pairs(_ bytes: ArraySlice<UInt8>) -> [(key: String, value: String)] {
        bytes.split(separator: UInt8(ascii: "&")).compactMap { pair in
            guard !pair.contains(UInt8(ascii: ";")) else { return nil }
            let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            // Go drops what it cannot decode here, without a word.
            guard let key = try? decode(pair[..<equals], isQuery: true),
                let value = try? decode(pair[equals...].dropFirst(), isQuery: true)
            else { return nil }
            return (key, value)
        }
    }

    /// The byte of `%41`.
    private static func byte(_ escape: ArraySlice<UInt8>) -> UInt8? {
        let digits = escape.dropFirst()
        guard
            digits.allSatisfy({ isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0 | 0x20) })
        else { return nil }
        return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
