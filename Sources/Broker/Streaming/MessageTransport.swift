/// What came of one publish of the streaming engine.
struct DeliveryOutcome {
    /// Subscriptions that took the message; one of another loop counts as having taken it.
    var receivers: Int
    /// One of the receiving connections has more than 4 MiB waiting to be written, or its loop as much to take over.
    var congested: Bool

    static let none = DeliveryOutcome(receivers: 0, congested: false)
}

/// What the streaming engine needs of the NATS core below it. Two conform: `LoopCore`, and the
/// transport of the tests, which runs on a manual clock.
protocol MessageTransport: AnyObject {
    /// Routes one message, always by subject. `reply` may be empty. The bytes are copied before
    /// it returns.
    @discardableResult
    func publish(
        subject: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer
    ) -> DeliveryOutcome

    /// From now on messages on `subject`, which may have wildcards, come to the engine's `receive`
    /// with `tag`. In force on this loop when it returns, on the others in mailbox order.
    func listen(on subject: [UInt8], tag: UInt64)

    /// Ends what `listen` began.
    func stopListening(on subject: [UInt8], tag: UInt64)

    /// Whether some connection would receive a message on `subject` (an inbox, whose client may be
    /// away).
    func hasReceiver(for subject: UnsafeRawBufferPointer) -> Bool

    /// Whether one of the connections that would receive a message on `subject` was reported congested and has not
    /// drained yet.
    func isCongested(_ subject: UnsafeRawBufferPointer) -> Bool

    /// Stops reading from the connections that publish to the engine.
    func pausePublishers()

    /// Reads from them again.
    func resumePublishers()
}
