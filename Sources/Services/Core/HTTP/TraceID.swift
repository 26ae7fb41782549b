import HTTPTypes
import Hummingbird

/// The trace id of a request: a UUID (services.md 6.4).
struct TraceID {
    let text: String

    /// The caller's `X-Trace-Id` when it is a UUID, else the trace id of `traceparent` (W3C Trace Context, 3.2.2), else
    /// a new one.
    init(_ headers: HTTPFields) {
        if let id = headers.value(of: .traceID)?.canonicalUUID {
            text = id
        } else if let parent = headers.value(of: .traceParent), let id = Self.traceID(of: parent) {
            text = id
        } else {
            text = .makeUUID()
        }
    }

    /// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01` → the second part, written as a UUID.
    static func traceID(of parent: String) -> String? {
        let parts = parent.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts[0].utf8.count == 2, parts[0] != "ff", parts[1].utf8.count == 32,
            parts[2].utf8.count == 16, parts[1].contains(where: { $0 != "0" })
        else { return nil }
        let digits = Array(parts[1])
        let text = [digits[0..<8], digits[8..<12], digits[12..<16], digits[16..<20], digits[20..<32]]
            .map { String($0) }.joined(separator: "-")
        return text.canonicalUUID
    }
}

extension HTTPField.Name {
    static let traceParent = Self("traceparent") ?? .from
}
