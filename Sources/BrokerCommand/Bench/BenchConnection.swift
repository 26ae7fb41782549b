import BrokerClient
import NIOCore
import NIOPosix

/// What a connection of the benchmark does with what comes and with room to write. Called on the event loop.
protocol BenchRole: AnyObject {
    /// The server has greeted the connection: say what comes before the measurement.
    func begin(_ connection: BenchConnection)
    /// A message came. The views are valid until this returns.
    func received(_ message: ServerMessage, on connection: BenchConnection)
    /// Reads many messages at once where it can: returns how many bytes of `input` it took, 0 to have them read one by one.
    func receivedBlock(_ input: UnsafeRawBufferPointer) -> Int
    /// Everything that was read in this wake-up was handed over.
    func endOfRead(_ connection: BenchConnection)
    /// Everything before the PING was processed.
    func ponged(_ connection: BenchConnection)
    /// The socket takes more.
    func canWrite(_ connection: BenchConnection)
}

extension BenchRole {
    func receivedBlock(_ input: UnsafeRawBufferPointer) -> Int { 0 }
    func endOfRead(_ connection: BenchConnection) {}
    func ponged(_ connection: BenchConnection) {}
    func canWrite(_ connection: BenchConnection) {}
}

/// One connection of the benchmark: no buffering of its own but the beginning of an operation that is not complete.
final class BenchConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let role: any BenchRole
    private let failed: (String) -> Void
    private let connectLine: String
    private var partial = ByteBuffer()
    private var context: ChannelHandlerContext?
    private var isGreeted = false
    private var isClosing = false

    init(role: any BenchRole, connectLine: String, failed: @escaping (String) -> Void) {
        self.role = role
        self.connectLine = connectLine
        self.failed = failed
    }

    func channelActive(context: ChannelHandlerContext) { self.context = context }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var input = unwrapInboundIn(data)
        if partial.readableBytes > 0 {
            partial.writeBuffer(&input)
            swap(&partial, &input)
            partial.clear()
        }
        let consumed = unsafe input.withUnsafeReadableBytes { bytes in unsafe process(bytes) }
        input.moveReaderIndex(forwardBy: consumed)
        if input.readableBytes > 0 {
            partial.clear()
            partial.writeBuffer(&input)
        }
        role.endOfRead(self)
    }

    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        var position = 0
        do throws(ProtocolViolation) {
            while position < bytes.count {
                let taken = unsafe role.receivedBlock(UnsafeRawBufferPointer(rebasing: bytes[position...]))
                position += taken
                guard position < bytes.count,
                    let (operation, end) = try unsafe ServerOperationReader.read(bytes, from: position)
                else { break }
                unsafe perform(operation)
                position = end
            }
        } catch {
            fail("the server sent \(error.reason)")
            return bytes.count
        }
        return position
    }

    private func perform(_ operation: ServerOperation) {
        switch unsafe operation {
        case .message(let message): unsafe role.received(message, on: self)
        case .info: if !isGreeted { write(ByteBuffer(string: connectLine)) }
        case .ping: write(ByteBuffer(string: "PONG\r\n"))
        case .pong:
            if isGreeted {
                role.ponged(self)
            } else {
                isGreeted = true
                role.begin(self)
            }
        case .ok: break
        case .error(let text): unsafe fail("the server says: \(String(decoding: text, as: UTF8.self))")
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { role.canWrite(self) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail("\(error)")
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        fail("the server closed a connection")
    }

    private func fail(_ reason: String) {
        if !isClosing { failed(reason) }
        isClosing = true
    }

    /// Whether the socket takes more without piling up.
    var isWritable: Bool { context?.channel.isWritable ?? false }

    /// Writes and flushes.
    func write(_ bytes: ByteBuffer) { context?.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }

    /// Writes without a flush.
    func append(_ bytes: ByteBuffer) { context?.write(wrapOutboundOut(bytes), promise: nil) }

    /// Flushes what was appended.
    func flush() { context?.flush() }

    /// Closes; an end of the connection is no failure then.
    func close() {
        isClosing = true
        context?.close(promise: nil)
    }
}
