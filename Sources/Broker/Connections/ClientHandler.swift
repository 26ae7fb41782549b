import NIOCore

/// The end of a client's channel: hands bytes and events to the loop's core, and reads only when the core
/// wants more.
@safe final class ClientHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let core: LoopCore
    private(set) var context: ChannelHandlerContext?
    private var connection: UnsafeMutablePointer<Connection>?
    private var isPaused = false
    private var wantsRead = false

    private let writesToSocket: Bool

    /// - Parameter writesToSocket: whether nothing between this handler and the socket changes what is written, so that the core
    ///   may write there itself.
    init(core: LoopCore, writesToSocket: Bool = false) {
        self.core = core
        self.writesToSocket = writesToSocket
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        unsafe connection = unsafe core.accept(self, address: context.remoteAddress)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(.clientClosed)
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let connection = unsafe connection else { return }
        let buffer = unwrapInboundIn(data)
        unsafe buffer.withUnsafeReadableBytes { unsafe core.received($0, from: connection) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if let connection = unsafe connection, context.channel.isWritable {
            unsafe core.writeFinished(connection)
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed, let connection = unsafe connection {
            unsafe core.inputEnded(connection)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset or a failed write: the socket is of no use any more.
        end(.readError)
        context.close(promise: nil)
    }

    func read(context: ChannelHandlerContext) {
        if isPaused {
            wantsRead = true
        } else {
            context.read()
        }
    }

    /// The core learns once that the socket is gone; it frees the connection at the end of the tick.
    private func end(_ reason: CloseReason) {
        guard let connection = unsafe connection else { return }
        unsafe self.connection = nil
        unsafe core.disconnected(connection, reason)
    }

    // MARK: What the core asks for

    func pauseReading() { isPaused = true }

    func resumeReading() {
        isPaused = false
        if wantsRead {
            wantsRead = false
            context?.read()
        }
    }

    /// The socket, for the core to write to while the channel has nothing to write itself; -1 if it may not.
    var descriptor: Int32 {
        guard writesToSocket else { return -1 }
        let found = try? context?.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { $0 }
        return found.flatMap { $0 } ?? -1
    }

    func write(_ buffer: ByteBuffer) {
        context?.write(wrapOutboundOut(buffer), promise: nil)
    }

    /// Writes what was handed over; true when the socket took all of it.
    func flush() -> Bool {
        guard let context else { return true }
        context.flush()
        return context.channel.isWritable
    }

    func closeOutput() { context?.close(mode: .output, promise: nil) }

    func close() { context?.close(promise: nil) }
}
