import NIOCore

/// One connection to a server: reads its operations and hands them to the client's core, on their common event loop.
// It belongs to its channel's event loop, which is the core's: the handler's methods are called there, and the core calls
// the others there only.
final class ServerConnection: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let core: ClientCore
    private let server: ServerURL
    /// The beginning of an operation whose rest has not come yet.
    private var partial: ByteBuffer?
    private var context: ChannelHandlerContext?
    private var failure: String?

    init(core: ClientCore, server: ServerURL) {
        self.core = core
        self.server = server
    }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        core.opened(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var input = unwrapInboundIn(data)
        if var waiting = partial.take() {
            waiting.writeBuffer(&input)
            input = waiting
        }
        do throws(ProtocolViolation) {
            let consumed = try process(input)
            input.moveReaderIndex(forwardBy: consumed)
            // What is left is kept without what was consumed before it.
            partial = input.readableBytes > 0 ? input.slice() : nil
            if consumed > 0 { partial?.discardReadBytes() }
        } catch {
            failure = ClientError.protocolViolation(error.reason).description
            context.close(promise: nil)
        }
    }

    /// Hands on every whole operation and returns how many bytes they took.
    private func process(_ input: ByteBuffer) throws(ProtocolViolation) -> Int {
        let result = unsafe input.withUnsafeReadableBytes { bytes -> Result<Int, ProtocolViolation> in
            var position = 0
            do throws(ProtocolViolation) {
                while position < bytes.count,
                    let (operation, end) = try unsafe ServerOperationReader.read(bytes, from: position)
                {
                    unsafe core.received(operation, from: self)
                    position = end
                }
                return .success(position)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        core.writabilityChanged(of: self)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = String(describing: error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        core.disconnected(self, reason: failure ?? "the server closed the connection")
    }

    // MARK: For the core, on the loop

    /// The server that this is a connection to.
    var url: ServerURL { server }

    /// Whether the socket takes more without piling up.
    var isWritable: Bool { context?.channel.isWritable ?? false }

    /// Writes now.
    func write(_ bytes: ByteBuffer) {
        context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    /// Stops or resumes reading the socket.
    func setReading(_ isReading: Bool) {
        _ = context?.channel.setOption(.autoRead, value: isReading)
    }

    /// Closes; `reason` is what the client reports.
    func close(reason: String? = nil) {
        if let reason, failure == nil { failure = reason }
        context?.close(promise: nil)
    }
}

extension Optional {
    /// The value, leaving nil behind.
    fileprivate mutating func take() -> Wrapped? {
        defer { self = nil }
        return self
    }
}
