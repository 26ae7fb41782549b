/// The address of a server: `nats://user:password@host:port`, `nats://token@host`, `host:port`, `host`.
public struct ServerURL: Hashable, Sendable {
    /// Name or address.
    public var host: String
    /// Port, 4222 unless said.
    public var port: Int
    /// User name, nil for none.
    public var user: String?
    /// Password, nil for none.
    public var password: String?
    /// Token, nil for none: a user part without a colon is one.
    public var token: String?

    /// An address without credentials.
    public init(host: String, port: Int = 4222) {
        self.host = host
        self.port = port
    }

    /// Reads an address.
    ///
    /// - Throws: `.invalidURL` with the reason.
    public init(_ text: String) throws(ClientError) {
        func invalid(_ reason: String) -> ClientError { .invalidURL(Self.redacted(text), reason: reason) }
        var rest = Substring(text)
        if let separator = text.firstRange(of: "://") {
            let scheme = text[..<separator.lowerBound].lowercased()
            guard scheme == "nats" else {
                throw invalid(
                    scheme == "tls"
                        ? "TLS is not supported yet" : "the scheme is \"\(scheme)\", it should be \"nats\"")
            }
            rest = text[separator.upperBound...]
        }
        while rest.last == "/" { rest.removeLast() }
        if let at = rest.lastIndex(of: "@") {
            let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let first = Self.percentDecoded(parts[0])
            if parts.count == 2 {
                user = first
                password = Self.percentDecoded(parts[1])
            } else {
                token = first
            }
            rest = rest[rest.index(after: at)...]
        }
        var portText: Substring?
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { throw invalid("the bracket is not closed") }
            host = String(rest[rest.index(after: rest.startIndex)..<end])
            let tail = rest[rest.index(after: end)...]
            if !tail.isEmpty {
                guard tail.first == ":" else {
                    throw invalid("after the bracket a colon and the port should follow")
                }
                portText = tail.dropFirst()
            }
        } else if let colon = rest.lastIndex(of: ":") {
            host = String(rest[..<colon])
            portText = rest[rest.index(after: colon)...]
            if host.contains(":") { throw invalid("an IPv6 address is written in brackets") }
        } else {
            host = String(rest)
        }
        if host.isEmpty { throw invalid("the host is missing") }
        guard host.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") }) else {
            throw invalid("the host has a character that none can have")
        }
        port = 4222
        if let portText {
            guard let number = UInt16(portText), number > 0 else {
                throw invalid("\"\(portText)\" is no port")
            }
            port = Int(number)
        }
    }

    /// Reads a list separated by commas.
    public static func list(_ text: String) throws(ClientError) -> [ServerURL] {
        var urls: [ServerURL] = []
        for part in text.split(separator: ",") {
            urls.append(try ServerURL(String(part.trimmingBlanks)))
        }
        guard !urls.isEmpty else { throw .invalidURL(redactedList(text), reason: "it is empty") }
        return urls
    }

    /// `host:port`, as errors name the server.
    var address: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// A list as people may see it: each address without what stands before its `@`, blanks and all else as it was. A
    /// comma before an `@` without a scheme between them may be part of a password: it goes with it.
    public static func redactedList(_ text: String) -> String {
        var parts: [Substring] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            if part.contains("@"), !part.contains("://"), let last = parts.last, !last.contains("@") {
                parts[parts.count - 1] = text[last.startIndex..<part.endIndex]
            } else {
                parts.append(part)
            }
        }
        return parts.map { redacted(String($0)) }.joined(separator: ",")
    }

    /// The text without what stands before the `@`.
    static func redacted(_ text: String) -> String {
        guard let at = text.lastIndex(of: "@") else { return text }
        let start = text.firstRange(of: "://")?.upperBound ?? text.startIndex
        return start <= at ? text[..<start] + "[REDACTED]" + text[at...] : "[REDACTED]" + text[at...]
    }

    private static func percentDecoded(_ text: Substring) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
                let byte = UInt8(String(decoding: bytes[index + 1...index + 2], as: UTF8.self), radix: 16)
            {
                result.append(byte)
                index += 3
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension ServerURL: CustomStringConvertible {
    /// The address; credentials are redacted.
    public var description: String {
        "nats://" + (user == nil && token == nil ? "" : "[REDACTED]@") + address
    }
}

extension Substring {
    /// The text without blanks at both ends.
    var trimmingBlanks: Substring {
        var rest = self
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return rest
    }
}
