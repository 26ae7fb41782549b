import BrokerProtocol
import HTTPTypes
import Hummingbird

/// What a request is refused with: `{"error":"…"}`, and for validation `fields` (services.md 2.1).
public struct RequestError: Error, Sendable, Hashable {
    /// A field that is not what it should be.
    public struct Field: Sendable, Hashable {
        /// The JSON name.
        public let name: String
        /// One sentence.
        public let error: String

        /// A field's error.
        public init(_ name: String, _ error: String) {
            self.name = name
            self.error = error
        }
    }

    /// The status.
    public let status: HTTPResponse.Status
    /// The text of `error`.
    public let message: String
    /// The fields of a validation error.
    public let fields: [Field]
    /// Headers beside the usual ones.
    public let headers: HTTPFields

    /// An error.
    public init(
        _ status: HTTPResponse.Status, _ message: String, fields: [Field] = [], headers: HTTPFields = [:]
    ) {
        self.status = status
        self.message = message
        self.fields = fields
        self.headers = headers
    }

    /// 400 with one entry per field.
    public static func validation(_ fields: [Field]) -> RequestError {
        RequestError(.badRequest, "field validation error", fields: fields)
    }

    /// 400 for an id that is none.
    public static let invalidID = RequestError(.badRequest, "id provided was not a valid UUID")

    /// 400 with a sentence.
    public static func badRequest(_ message: String) -> RequestError { RequestError(.badRequest, message) }

    /// 404: `.notFound("project")` says `project not found`.
    public static func notFound(_ what: String) -> RequestError {
        RequestError(.notFound, "\(what) not found")
    }

    /// 403 for a member without the right role.
    public static let wrongRole = RequestError(.forbidden, "user does not have correct membership")

    /// 403 with a sentence.
    public static func forbidden(_ message: String) -> RequestError { RequestError(.forbidden, message) }

    /// 409 with a sentence.
    public static func conflict(_ message: String) -> RequestError { RequestError(.conflict, message) }

    /// 503 with a sentence.
    public static func unavailable(_ message: String) -> RequestError {
        RequestError(.serviceUnavailable, message, headers: [.retryAfter: "1"])
    }

    /// 401 for a token; the reason is told, the token never.
    public static func unauthorized(_ reason: String) -> RequestError {
        RequestError(
            .unauthorized, reason, headers: [.wwwAuthenticate: "Bearer error=\"invalid_token\""])
    }

    /// The body.
    var body: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.field("error", message)
        if !fields.isEmpty {
            json.beginArray("fields")
            for field in fields {
                json.beginObject()
                json.field("field", field.name)
                json.field("error", field.error)
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
        return json.bytes
    }
}
