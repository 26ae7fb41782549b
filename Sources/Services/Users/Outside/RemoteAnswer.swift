import FoundationEssentials
import NIOCore

/// An answer with one of the statuses asked for.
struct RemoteAnswer: Sendable {
    let api: String
    let call: String
    /// The status.
    let status: Int
    /// The body.
    let body: ByteBuffer

    /// Reads the body as JSON.
    ///
    /// - Throws: `RemoteAPIError`; it names the field that is wrong and quotes no value.
    func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws(RemoteAPIError) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(body.readableBytesView))
        } catch {
            throw RemoteAPIError(api: api, call: call, cause: .unreadable(Self.explain(error)))
        }
    }

    /// What a refusal of our credentials says; other answers may quote addresses and are not repeated anywhere.
    var refusal: String? {
        struct Reason: Decodable {
            let message: String?
            let error_description: String?
        }
        guard status == 401 || status == 403 else { return nil }
        // A reason that cannot be read is no second error: the status says enough.
        let reason = try? JSONDecoder().decode(Reason.self, from: Data(body.readableBytesView))
        return (reason?.message ?? reason?.error_description).map { String($0.prefix(200)) }
    }

    private static func explain(_ error: any Error) -> String {
        switch error as? DecodingError {
        case .keyNotFound(let key, _): "there is no \"\(key.stringValue)\""
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "\"\(context.codingPath.map(\.stringValue).joined(separator: "."))\" has another type"
        default: "it is no JSON"
        }
    }
}

/// A call that did not have the answer it needed.
struct RemoteAPIError: Error, Sendable {
    /// Why.
    enum Cause: Sendable, Equatable {
        /// No connection, or it broke.
        case unreachable(String)
        /// There was no complete answer in time.
        case timedOut(Duration)
        /// An answer with a status that says no.
        case status(Int, reason: String?)
        /// An answer that is not what the API's documentation says.
        case unreadable(String)
    }

    /// The API's name.
    let api: String
    /// Method and path template.
    let call: String
    /// Why.
    let cause: Cause
    /// How long the API asks to be left alone.
    var retryAfter: Duration?

    /// Whether the same call may succeed a little later.
    var mayPass: Bool {
        switch cause {
        case .unreachable: true
        case .status(let status, _): status == 429 || status >= 500
        case .timedOut, .unreadable: false
        }
    }
}

extension RemoteAPIError: CustomStringConvertible {
    /// One line for the log, without credentials and personal data.
    var description: String {
        switch cause {
        case .unreachable(let reason): "\(api) cannot be reached (\(call)): \(reason)"
        case .timedOut(let limit): "\(api) did not answer within \(limit) (\(call))"
        case .status(let status, let reason):
            "\(api) answered \(status) to \(call)" + (reason.map { ": \($0)" } ?? "")
        case .unreadable(let reason): "\(api) answered \(call) with something unexpected: \(reason)"
        }
    }
}
