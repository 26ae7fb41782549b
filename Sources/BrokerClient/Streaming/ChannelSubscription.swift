import BrokerProtocol

/// The messages of a channel, as an asynchronous sequence for one consumer.
///
/// ```swift
/// let options = ChannelSubscriptionOptions(start: .first, durableName: "billing")
/// let orders = try await streaming.subscribe("orders", options)
/// for try await order in orders {
///     print(order.sequence, order.text)     // acknowledged when the next one is asked for
/// }
/// ```
///
/// The server sends no more than `maxInFlight` messages that are not acknowledged: a consumer that falls behind holds them
/// back. A message on which the loop was left is not acknowledged and comes again. The subscription lives across
/// reconnects and restarts of the server until `close` or `unsubscribe`; it ends with an error when the session is lost.
public struct ChannelSubscription: AsyncSequence, Sendable {
    /// A message.
    public typealias Element = ChannelMessage
    /// What can end it but the end.
    public typealias Failure = StreamingError

    /// The channel.
    public let channel: String
    /// What was asked for.
    public let options: ChannelSubscriptionOptions

    let session: StreamingSession
    let id: UInt64
    let buffer: MessageBuffer<ChannelMessage, StreamingError>
    let acknowledger: ChannelAcknowledger

    /// Ends the subscription; the server keeps the position of a durable for the next subscribe.
    ///
    /// - Throws: `.refused`, `.timeout`, `.notSupported`, `.closed`.
    public func close() async throws(StreamingError) {
        guard !session.subjects.subscriptionCloseRequests.isEmpty else {
            throw .notSupported("closing a subscription")
        }
        try await end(session.subjects.subscriptionCloseRequests, what: "close")
    }

    /// Ends the subscription for good: the server forgets a durable.
    ///
    /// - Throws: `.refused`, `.timeout`, `.closed`.
    public func unsubscribe() async throws(StreamingError) {
        try await end(session.subjects.unsubscribeRequests, what: "unsubscribe")
    }

    /// Stops receiving without a word to the streaming server, for when it cannot be asked: `close` is better. The server
    /// keeps the subscription until the session ends, and gives its messages to other members of a queue group as soon as
    /// it sees that nobody listens.
    public func stop() async {
        let (session, id) = (session, id)
        await session.core.onLoop { _ in session.stopReceiving(id) }
    }

    private func end(_ subject: [UInt8], what: String) async throws(StreamingError) {
        var request = UnsubscribeRequest()
        request.clientID = Array(session.clientID.utf8)
        request.subject = Array(channel.utf8)
        request.inbox = Array(acknowledger.ackInbox.utf8)
        request.durableName = Array((options.durableName ?? "").utf8)
        let answer: [UInt8]
        do throws(StreamingError) {
            answer = try await session.request(subject, request.encoded(), what: what)
        } catch {
            await stop()
            throw error
        }
        await stop()
        let response = unsafe answer.withUnsafeBytes { unsafe SubscriptionResponse(decoding: $0) }
        guard let response else { throw .malformedResponse(what) }
        guard response.error.isEmpty else { throw .refused(String(decoding: response.error, as: UTF8.self)) }
    }

    /// An iterator; only one may be in use.
    public func makeAsyncIterator() -> Iterator {
        Iterator(buffer: buffer, acknowledges: !options.manualAck)
    }

    /// Takes message after message.
    public struct Iterator: AsyncIteratorProtocol {
        let buffer: MessageBuffer<ChannelMessage, StreamingError>
        let acknowledges: Bool
        private var current: ChannelMessage?

        init(buffer: MessageBuffer<ChannelMessage, StreamingError>, acknowledges: Bool) {
            self.buffer = buffer
            self.acknowledges = acknowledges
        }

        /// The next message; the one before is acknowledged first unless the consumer does that itself. Nil at the end and
        /// when the task is cancelled.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(StreamingError) -> ChannelMessage? {
            if acknowledges { current?.acknowledge() }
            current = nil
            current = try await buffer.next().get()
            return current
        }

        /// See `next(isolation:)`.
        public mutating func next() async throws(StreamingError) -> ChannelMessage? {
            try await next(isolation: nil)
        }
    }
}
