import Glibc
import NIOCore
import NIOPosix

/// Calls the engine on its loop when batches that the loop gave to the disk have ended: reads the descriptor that says so.
final class JournalEvents: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let core: LoopCore

    private init(core: LoopCore) { self.core = core }

    /// Watches `descriptor`, which stays its owner's, on the loop of `core`, which is this one, until the channel is closed.
    ///
    /// - Throws: `IOError` where no descriptor can be had.
    static func watch(_ descriptor: Int32, _ core: LoopCore) throws -> EventLoopFuture<any Channel> {
        let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard own >= 0 else { throw IOError(errnoCode: errno, reason: "dup of the journal's eventfd") }
        let handler = NIOLoopBound(JournalEvents(core: core), eventLoop: core.eventLoop)
        return NIOPipeBootstrap(group: core.eventLoop)
            // Eight bytes at a time; a buffer that is not full is not read for more.
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 64))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(handler.value)
                }
            }
            .takingOwnershipOfDescriptor(input: own)
            .map { $0 as any Channel }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // The engine looks for the log's news at the end of every tick.
        core.beginTick()
    }
}
