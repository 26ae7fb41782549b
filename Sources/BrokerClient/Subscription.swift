import Synchronization

/// The messages of one subject, as an asynchronous sequence for one consumer.
///
/// ```swift
/// let subscription = try await client.subscribe("orders.*")
/// for try await message in subscription {
///     print(message.subject, message.text)
/// }
/// ```
///
/// When the consumer falls behind by `ClientOptions.subscriptionBufferBytes` the client stops reading its socket until
/// half of that was taken: nothing is dropped here. A subscription lives across reconnects, and ends when it is
/// unsubscribed or drained, when the client is closed, or when the last reference to it goes away.
public struct Subscription: AsyncSequence, Sendable {
    /// A message.
    public typealias Element = Message
    /// What can end it but the end.
    public typealias Failure = ClientError

    /// The subject, perhaps with wildcards.
    public let subject: String
    private let handle: SubscriptionHandle

    init(subject: String, id: UInt64, buffer: MessageBuffer<Message, ClientError>, core: ClientCore) {
        self.subject = subject
        handle = SubscriptionHandle(id: id, buffer: buffer, core: core)
    }

    /// Ends the subscription. What was received before can still be taken.
    public func unsubscribe() async {
        let id = handle.id
        await handle.core.onLoop { $0.unsubscribe(id) }
    }

    /// Ends the subscription when it has received `count` messages in all; the server counts.
    public func unsubscribe(after count: Int) async {
        let id = handle.id
        await handle.core.onLoop { $0.unsubscribe(id, after: Swift.max(count, 0)) }
    }

    /// Ends the subscription at the server and returns when everything that it had sent is here: the sequence ends behind
    /// the last message that was routed to it.
    ///
    /// - Throws: `.connectionLost` or `.closed` when that cannot be known.
    public func drain() async throws(ClientError) {
        let id = handle.id
        let completion = Completion<Void>()
        await handle.core.onLoop { core in
            guard core.subscriptions[id] != nil else {
                completion.complete(.success(()))
                return
            }
            core.stopRouting(id)
            core.ping(completion)
        }
        defer { handle.core.eventLoop.execute { [core = handle.core] in core.remove(id, error: nil) } }
        try await completion.value()
    }

    /// An iterator; only one may be in use.
    public func makeAsyncIterator() -> Iterator { Iterator(handle: handle) }

    /// Takes message after message.
    public struct Iterator: AsyncIteratorProtocol {
        let handle: SubscriptionHandle

        /// The next message; nil at the end and when the task is cancelled.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(ClientError)
            -> Message?
        {
            try await handle.buffer.next().get()
        }

        /// The next message; nil at the end and when the task is cancelled.
        public mutating func next() async throws(ClientError) -> Message? {
            try await handle.buffer.next().get()
        }
    }
}

/// What keeps a subscription alive: when the last copy of `Subscription` goes, so does it, lest a buffer that nobody
/// reads stops the connection.
final class SubscriptionHandle: Sendable {
    let id: UInt64
    let buffer: MessageBuffer<Message, ClientError>
    let core: ClientCore

    init(id: UInt64, buffer: MessageBuffer<Message, ClientError>, core: ClientCore) {
        self.id = id
        self.buffer = buffer
        self.core = core
    }

    deinit {
        core.eventLoop.execute { [core, id] in core.unsubscribe(id) }
    }
}
