import BrokerProtocol

/// An answer of the monitoring port.
struct MonitoringResponse: Sendable {
    /// HTTP status code.
    var status: Int
    var contentType: String
    var body: [UInt8]

    init(status: Int = 200, contentType: String, body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// 200 with JSON.
    static func json(_ writer: JSONWriter, status: Int = 200) -> MonitoringResponse {
        MonitoringResponse(status: status, contentType: "application/json", body: writer.bytes)
    }

    /// Plain text; `text` has no line end.
    static func text(_ text: String, status: Int) -> MonitoringResponse {
        MonitoringResponse(
            status: status, contentType: "text/plain; charset=utf-8", body: Array((text + "\n").utf8))
    }

    /// What an unknown path gets.
    static let notFound = MonitoringResponse.text("404 page not found", status: 404)
}

/// The path and the query of a request (RFC 3986), percent escapes resolved.
struct MonitoringRequest: Sendable {
    let path: String
    private let parameters: [String: String]

    /// Takes an HTTP request target apart. The first of several equal parameters counts, as in Go.
    init(target: String) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.first.map { Self.decoded($0, plusIsBlank: false) } ?? "/"
        var parameters: [String: String] = [:]
        for pair in parts.dropFirst().first?.split(separator: "&") ?? [] {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = Self.decoded(sides[0], plusIsBlank: true)
            if parameters[key] == nil {
                parameters[key] = sides.count > 1 ? Self.decoded(sides[1], plusIsBlank: true) : ""
            }
        }
        self.parameters = parameters
    }

    /// A parameter's text; nil when it is not there.
    func text(_ name: String) -> String? { parameters[name] }

    /// A parameter as Go's `strconv.ParseBool` reads it; false when it is not there or empty.
    func boolean(_ name: String) throws(BadParameter) -> Bool {
        guard let text = parameters[name], !text.isEmpty else { return false }
        switch text {
        case "1", "t", "T", "TRUE", "true", "True": return true
        case "0", "f", "F", "FALSE", "false", "False": return false
        default:
            throw BadParameter(
                text:
                    "Error decoding boolean for '\(name)': strconv.ParseBool: parsing \(Self.quoted(text)): "
                    + "invalid syntax")
        }
    }

    /// A parameter as Go's `strconv.Atoi` reads it; nil when it is not there or empty.
    func integer(_ name: String) throws(BadParameter) -> Int? {
        guard let text = parameters[name], !text.isEmpty else { return nil }
        guard let value = Int(text) else {
            throw BadParameter(
                text:
                    "Error decoding int for '\(name)': strconv.Atoi: parsing \(Self.quoted(text)): invalid syntax"
            )
        }
        return value
    }

    /// A parameter that cannot be read; answered with status 400 and this text.
    struct BadParameter: Error {
        let text: String
        var response: MonitoringResponse { .text(text, status: 400) }
    }

    private static func quoted(_ text: String) -> String {
        unsafe Array(text.utf8).withUnsafeBytes { unsafe ErrorText.quoted($0) }
    }

    private static func decoded(_ text: Substring, plusIsBlank: Bool) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else if byte == UInt8(ascii: "+"), plusIsBlank {
                bytes.append(0x20)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
