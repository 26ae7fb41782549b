import BrokerProtocol
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Postgres

/// One request as a handler sees it.
public struct Call: Sendable {
    /// The largest body: 1 MiB (services.md 6.3).
    public static let bodyLimit = 1 << 20

    /// The request.
    public let request: Request
    /// Who asks; without a subject only on routes for anyone.
    public let identity: Identity
    /// The trace id of the request, for the events that come of it.
    public let traceID: String
    private let log: RequestLog
    private let parameters: Parameters

    init(request: Request, context: ServiceContext, identity: Identity) {
        self.request = request
        self.identity = identity
        traceID = context.log.traceID
        log = context.log
        parameters = context.parameters
    }

    /// A logger that knows the trace id.
    public var logger: Logger { log.logger }

    /// The internal id of the user; empty only on routes that do not ask for a registered user.
    public var userID: String { identity.userID ?? "" }

    /// Who causes the events of this request.
    public var source: EventSource { EventSource(traceID: traceID, userID: userID) }

    /// The UUID in the path, `"pid"` for `:pid`, in lower case.
    ///
    /// - Throws: 400 when it is none.
    public func id(_ name: String) throws(RequestError) -> String {
        guard let id = parameters.get(name)?.canonicalUUID else { throw .invalidID }
        return id
    }

    /// Reads the body, which must be one JSON object of the model's members and no others.
    ///
    /// - Throws: 400 with the reason, 413 above 1 MiB.
    nonisolated(nonsending)
        public func body<Model: RequestModel>(_ model: Model.Type = Model.self) async throws -> Model
    {
        if let text = request.headers[.contentLength], let length = Int(text), length > Self.bodyLimit {
            throw Self.tooLarge
        }
        let buffer: ByteBuffer
        do {
            buffer = try await request.body.collect(upTo: Self.bodyLimit)
        } catch is NIOTooManyBytesError {
            throw Self.tooLarge
        }
        do {
            var fields = try JSONFields(parsing: Array(buffer.readableBytesView))
            let model = try Model(&fields)
            return model
        } catch let failure as JSONFailure {
            throw RequestError.badRequest(failure.message)
        }
    }

    private static let tooLarge = RequestError(
        .contentTooLarge, "the body is larger than \(bodyLimit) bytes")
}

/// The body of a request.
public protocol RequestModel: Sendable {
    /// Takes the members, refuses unknown ones (`fields.finish()`), and validates.
    ///
    /// - Throws: `JSONFailure` for wrong types, `RequestError.validation` for wrong values.
    init(_ fields: inout JSONFields) throws
}

/// What a handler answers.
public struct Reply: Sendable {
    /// The status.
    public var status: HTTPResponse.Status
    /// The body.
    public var body: ByteBuffer
    /// Its type.
    public var contentType: String

    /// An answer.
    public init(_ status: HTTPResponse.Status, body: [UInt8], contentType: String = "application/json") {
        self.init(status, body: ByteBuffer(bytes: body), contentType: contentType)
    }

    /// An answer whose body lies in a buffer.
    public init(_ status: HTTPResponse.Status, body: ByteBuffer, contentType: String = "application/json") {
        self.status = status
        self.body = body
        self.contentType = contentType
    }

    /// 200 with an object.
    public static func ok(_ value: some JSONRepresentable) -> Reply { Reply(.ok, body: value.jsonBytes) }

    /// 200 with an array.
    public static func ok(_ values: [some JSONRepresentable]) -> Reply { Reply(.ok, body: values.jsonBytes) }

    /// 200 with an array of objects, one a row.
    ///
    /// - Throws: As `JSONRowFormat.json(_:)`.
    public static func ok(_ rows: PostgresResult, as format: JSONRowFormat) throws -> Reply {
        Reply(.ok, body: try format.json(rows))
    }

    /// 201 with an object.
    public static func created(_ value: some JSONRepresentable) -> Reply {
        Reply(.created, body: value.jsonBytes)
    }

    /// A status with the body `null`: what handlers without a result answer.
    public static func null(_ status: HTTPResponse.Status = .ok) -> Reply {
        Reply(status, body: Array("null".utf8))
    }

    /// The response; one to HEAD tells the length and leaves out the body.
    func response(isHead: Bool) -> Response {
        Response(
            status: status,
            headers: [.contentType: contentType, .contentLength: String(body.readableBytes)],
            body: isHead ? ResponseBody() : ResponseBody(byteBuffer: body))
    }
}
