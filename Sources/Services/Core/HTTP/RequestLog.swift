import Logging

/// The service's log and the trace id of a request. Most requests have nothing to say but their one line, so the logger
/// that knows the trace id is made when somebody asks for it.
struct RequestLog: Sendable {
    /// Before `RequestResponder` has one: nobody reads it.
    static let none = RequestLog(service: Logger(label: "") { _ in SwiftLogNoOpLogHandler() }, traceID: "")

    let service: Logger
    let traceID: String

    /// A logger that knows the trace id.
    var logger: Logger {
        var logger = service
        logger[metadataKey: "trace_id"] = "\(traceID)"
        return logger
    }
}
