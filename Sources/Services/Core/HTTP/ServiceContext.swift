import Hummingbird
import Logging
import NIOCore

/// What accompanies a request on its way through the middleware.
public struct ServiceContext: RequestContext {
    /// Hummingbird's own part.
    public var coreContext: CoreRequestContextStorage
    /// The client's address.
    let remoteAddress: String
    /// The trace id (services.md 6.4).
    var traceID = ""
    /// Who asks, known when a handler has looked at the token; shared with the log line.
    let caller = CallerBox()

    /// A context for a connection's request.
    public init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        remoteAddress = source.channel.remoteAddress?.ipAddress ?? ""
    }
}
