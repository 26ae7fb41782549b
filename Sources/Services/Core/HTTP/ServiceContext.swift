import Hummingbird
import Logging
import NIOCore

/// What accompanies a request on its way to its handler.
public struct ServiceContext: RequestContext {
    /// Hummingbird's own part.
    public var coreContext: CoreRequestContextStorage
    private let client: SocketAddress?
    /// The log, and the trace id for it.
    var log = RequestLog.none
    /// Who asks, known when a handler has looked at the token; shared with the log line.
    let caller = CallerBox()

    /// A context for a connection's request.
    public init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        client = source.channel.remoteAddress
    }

    /// The client's address.
    var remoteAddress: String { client?.ipAddress ?? "" }
}
