import BrokerProtocol
import Synchronization

/// A message of a channel, as a subscription received it.
public struct ChannelMessage: Sendable {
    /// The channel.
    public let channel: String
    /// Its sequence in the channel, from 1.
    public let sequence: UInt64
    /// When the server stored it: nanoseconds since 1970.
    public let timestampNanoseconds: Int64
    /// Its payload.
    public let payload: [UInt8]
    /// A reply subject that the publisher gave; nil for none.
    public let reply: String?
    /// Whether it may have been delivered before.
    public let isRedelivered: Bool
    /// How often it was sent before, as far as the server remembers.
    public let redeliveryCount: Int

    private let acknowledger: ChannelAcknowledger

    init(_ message: MsgProto, acknowledger: ChannelAcknowledger) {
        unsafe channel = String(decoding: message.subject, as: UTF8.self)
        sequence = message.sequence
        timestampNanoseconds = message.timestamp
        unsafe payload = [UInt8](message.data)
        unsafe reply = message.reply.isEmpty ? nil : String(decoding: message.reply, as: UTF8.self)
        isRedelivered = message.redelivered
        redeliveryCount = Int(message.redeliveryCount)
        self.acknowledger = acknowledger
    }

    /// The payload as text; bytes that are not UTF-8 become U+FFFD.
    public var text: String { String(decoding: payload, as: UTF8.self) }

    /// Tells the server that the message is handled. Nothing answers; an acknowledgement that is lost on the way makes the
    /// server send the message again. Acknowledging twice does no harm.
    public func acknowledge() {
        acknowledger.acknowledge(sequence)
    }
}

/// Sends the acknowledgements of one subscription.
final class ChannelAcknowledger: Sendable {
    private let core: ClientCore
    private let channel: [UInt8]
    private let inbox = Mutex("")

    init(core: ClientCore, channel: String) {
        self.core = core
        self.channel = Array(channel.utf8)
    }

    /// The server's ack inbox, known from the answer to the subscribe request.
    var ackInbox: String {
        get { inbox.withLock { $0 } }
        set { inbox.withLock { $0 = newValue } }
    }

    func acknowledge(_ sequence: UInt64) {
        let subject = ackInbox
        guard !subject.isEmpty else { return }
        let payload = unsafe channel.withUnsafeBytes { channel -> [UInt8] in
            let ack = unsafe Ack(subject: channel, sequence: sequence)
            let size = ack.encodedSize
            return unsafe [UInt8](unsafeUninitializedCapacity: size) { memory, count in
                count = unsafe ack.encode(into: UnsafeMutableRawBufferPointer(memory))
            }
        }
        core.sendUnbounded(subject, payload)
    }
}
