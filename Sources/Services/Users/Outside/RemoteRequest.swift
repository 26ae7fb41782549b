import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1

/// A request to a `RemoteAPI`.
struct RemoteRequest: Sendable {
    /// A body with its content type.
    struct Body: Sendable {
        let bytes: [UInt8]
        let contentType: String
    }

    /// The method.
    let method: HTTPMethod
    /// Path and query below the base URL, percent-encoded.
    let path: String
    /// Method and path without the values in them, for errors and logs: neither shows an address or an id.
    let call: String
    /// The bearer token.
    let token: String?
    private let body: Body?

    /// A request.
    ///
    /// - Parameters:
    ///   - method: The method.
    ///   - template: The path with `{}` where the values go.
    ///   - values: The values, which are percent-encoded here.
    ///   - token: The bearer token.
    ///   - body: The body.
    init(
        _ method: HTTPMethod, _ template: String, _ values: [String] = [], token: String? = nil,
        body: Body? = nil
    ) {
        self.method = method
        call = "\(method.rawValue) \(template)"
        self.token = token
        self.body = body
        var path = ""
        var rest = values[...]
        for (index, part) in template.split(separator: "{}", omittingEmptySubsequences: false).enumerated() {
            if index > 0, let value = rest.popFirst() { path += PercentEncoding.encode(value) }
            path += part
        }
        self.path = path
    }

    func makeHTTPRequest(_ baseURL: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: baseURL + path)
        request.method = method
        request.headers.add(name: "accept", value: "application/json")
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        if let body {
            request.headers.add(name: "content-type", value: body.contentType)
            request.body = .bytes(ByteBuffer(bytes: body.bytes))
        }
        return request
    }
}

extension RemoteRequest.Body {
    /// A JSON body.
    ///
    /// - Throws: `EncodingError`.
    static func json(_ value: some Encodable) throws -> Self {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Self(bytes: Array(try encoder.encode(value)), contentType: "application/json")
    }

    /// A form.
    static func form(_ fields: [(name: String, value: String)]) -> Self {
        let text = fields.map { "\($0.name)=\(PercentEncoding.encode($0.value))" }.joined(separator: "&")
        return Self(bytes: Array(text.utf8), contentType: "application/x-www-form-urlencoded")
    }
}

/// Percent-encoding of a value within a path, a query or a form: everything but unreserved characters
/// (RFC 3986, section 2.3).
enum PercentEncoding {
    static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var encoded: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.append(byte)
            default:
                encoded += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}
