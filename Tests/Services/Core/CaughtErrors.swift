import NIOCore
import NIOHTTPTypes

/// The end of a pipeline: keeps errors away from an embedded channel, which would throw them at the next write.
final class CaughtErrors: ChannelInboundHandler {
    typealias InboundIn = HTTPRequestPart
    private(set) var all: [any Error] = []
    func errorCaught(context: ChannelHandlerContext, error: any Error) { all.append(error) }
}
