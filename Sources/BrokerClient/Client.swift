import BrokerProtocol
import NIOCore

/// A client of a NATS server or of this broker: publish, subscribe, request and reply.
///
/// ```swift
/// let client = try await Client.connect(ClientOptions("nats://127.0.0.1:4222"))
/// let orders = try await client.subscribe("orders.*", queueGroup: "billing")
/// try await client.publish("orders.new", Array("42".utf8))
/// for try await message in orders {
///     print(message.text)
///     break
/// }
/// let answer = try await client.request("time", [], timeout: .seconds(1))
/// await client.close()
/// ```
///
/// A client connects again by itself after a loss, restores its subscriptions and then sends what was published meanwhile
/// (up to `maxPendingBytes`; beyond, publishers wait). What had been handed to the lost connection may or may not have
/// arrived: delivery is at most once, as always in NATS. `StreamingClient` knows better.
///
/// It can be used from any number of tasks. `close` it, or `drain` it: dropping the last reference does not.
public final class Client: Sendable {
    let core: ClientCore

    private init(core: ClientCore) { self.core = core }

    /// Connects.
    ///
    /// - Throws: `.noServer` with what was wrong with each, `.authorization`, `.tlsRequired`, `.cancelled`.
    public static func connect(_ options: ClientOptions) async throws(ClientError) -> Client {
        let client = Client(core: ClientCore(options: options))
        try await client.core.start()
        return client
    }

    /// What happens to the connection, from now on. Each call makes a stream of its own.
    public func events() -> AsyncStream<ClientEvent> { core.events.stream() }

    /// What the server last said of itself.
    public func serverInfo() async -> ServerInfo { await core.onLoop { $0.info } }

    // MARK: Publishing

    /// Publishes a message. It returns when the message is in the client's buffer, usually at once; `flush` waits until
    /// the server has it.
    ///
    /// - Parameters:
    ///   - subject: A subject without wildcards.
    ///   - payload: Any bytes.
    ///   - reply: Where answers are to go.
    ///   - headers: Headers, if the server supports them.
    /// - Throws: `.invalidSubject`, `.invalidHeader`, `.headersNotSupported`, `.payloadTooLarge`, `.closed`, `.cancelled`.
    public func publish(
        _ subject: String, _ payload: [UInt8], reply: String? = nil, headers: Headers = Headers()
    ) async throws(ClientError) {
        try await core.publish(subject, payload, reply: reply, headers: headers)
    }

    /// Publishes a text.
    public func publish(
        _ subject: String, _ text: String, reply: String? = nil, headers: Headers = Headers()
    ) async throws(ClientError) {
        try await publish(subject, Array(text.utf8), reply: reply, headers: headers)
    }

    /// Returns when the server has processed everything that was published and subscribed before.
    ///
    /// - Throws: `.timeout`, `.connectionLost`, `.closed`, `.cancelled`.
    public func flush(timeout: Duration = .seconds(10)) async throws(ClientError) {
        try await core.flush(timeout: timeout)
    }

    // MARK: Subscribing

    /// Subscribes.
    ///
    /// - Parameters:
    ///   - subject: A subject; `*` stands for one token, `>` for the rest.
    ///   - queueGroup: Each message goes to one of the subscriptions with the same name.
    /// - Throws: `.invalidSubject`, `.invalidQueueGroup`, `.closed`.
    public func subscribe(_ subject: String, queueGroup: String? = nil) async throws(ClientError)
        -> Subscription
    {
        try SubjectRules.checkSubscribe(subject)
        if let queueGroup { try SubjectRules.checkQueueGroup(queueGroup) }
        let core = core
        let (id, buffer) = await core.onLoop { core in
            let id = core.newSubscriptionID()
            let buffer = MessageBuffer<Message, ClientError>(limit: core.options.subscriptionBufferBytes) {
                [core] in
                core.eventLoop.execute { core.drained(id) }
            }
            core.subscribe(subject, queueGroup: queueGroup, buffer: buffer, id: id)
            return (id, buffer)
        }
        return Subscription(subject: subject, id: id, buffer: buffer, core: core)
    }

    // MARK: Requests

    /// Publishes a request and waits for the first answer.
    ///
    /// - Throws: `.noResponders` when nobody listens, `.timeout`, and what `publish` throws.
    public func request(
        _ subject: String, _ payload: [UInt8], headers: Headers = Headers(), timeout: Duration = .seconds(2)
    ) async throws(ClientError) -> Message {
        try await core.request(subject, payload, headers: headers, timeout: timeout)
    }

    /// Publishes a text as request and waits for the first answer.
    public func request(
        _ subject: String, _ text: String, headers: Headers = Headers(), timeout: Duration = .seconds(2)
    ) async throws(ClientError) -> Message {
        try await request(subject, Array(text.utf8), headers: headers, timeout: timeout)
    }

    /// Answers a message that asks for it.
    ///
    /// - Throws: `.invalidSubject` when it has no reply subject, and what `publish` throws.
    public func reply(
        to message: Message, _ payload: [UInt8], headers: Headers = Headers()
    ) async throws(ClientError) {
        guard let reply = message.reply else { throw .invalidSubject("") }
        try await publish(reply, payload, headers: headers)
    }

    // MARK: Ending

    /// Ends every subscription at the server, lets the consumers take what had been sent to them, sends what was published,
    /// and closes.
    ///
    /// - Throws: `.timeout` when consumers or the server took longer; the client is closed all the same.
    public func drain(timeout: Duration = .seconds(30)) async throws(ClientError) {
        let core = core
        let deadline = ContinuousClock.now + timeout
        do throws(ClientError) {
            let buffers = await core.onLoop { core in core.stopRoutingAll() }
            try await core.flush(timeout: timeout)
            await core.onLoop { core in core.endDrainedSubscriptions() }
            for buffer in buffers {
                while !buffer.isEmpty {
                    guard ContinuousClock.now < deadline else { throw .timeout }
                    do { try await Task.sleep(for: .milliseconds(5)) } catch { throw .cancelled }
                }
            }
            try await core.flush(timeout: max(deadline - .now, .milliseconds(100)))
        } catch {
            await close()
            throw error
        }
        await close()
    }

    /// Hands what was published to the socket and closes. Subscriptions end, waiting calls throw `.closed`.
    public func close() async {
        await core.onLoop { $0.close(nil) }
    }
}

extension ClientCore {
    /// Puts a message into the outbox, waiting for room until the deadline, if there is one; returns its
    /// end position in the stream of bytes.
    func send(
        _ publish: Outbox.Publish, payloadSize: Int, until deadline: NIODeadline? = nil,
        writePayload: (inout ByteBuffer) -> Void
    ) async throws(ClientError) -> UInt64 {
        while true {
            switch outbox.publish(publish, payloadSize: payloadSize, writePayload: writePayload) {
            case .appended(let end, let mustFlush):
                if mustFlush { eventLoop.execute { self.flush() } }
                return end
            case .full(let room): try await value(of: room, until: deadline)
            case .refused(let error): throw error
            }
        }
    }

    /// Waits for a result, which is `.timeout` at the deadline.
    private func value<Value>(
        of completion: Completion<Value>, until deadline: NIODeadline?
    ) async throws(ClientError) -> Value {
        let timeout = deadline.map { deadline in
            eventLoop.scheduleTask(deadline: deadline) { _ = completion.complete(.failure(.timeout)) }
        }
        defer { timeout?.cancel() }
        return try await completion.value()
    }

    /// See `Client.publish`.
    func publish(
        _ subject: String, _ payload: [UInt8], reply: String? = nil, headers: Headers = Headers(),
        until deadline: NIODeadline? = nil
    ) async throws(ClientError) {
        try SubjectRules.checkPublish(subject)
        if let reply { try SubjectRules.checkReply(reply) }
        let publish = Outbox.Publish(
            subject: subject, reply: reply, headers: headers.fields.isEmpty ? [] : try headers.encoded())
        _ = try await send(publish, payloadSize: payload.count, until: deadline) { $0.writeBytes(payload) }
    }

    /// See `Client.request`.
    func request(
        _ subject: String, _ payload: [UInt8], headers: Headers = Headers(), timeout: Duration
    ) async throws(ClientError) -> Message {
        let deadline = NIODeadline.now() + TimeAmount(timeout)
        let completion = Completion<Message>()
        let (token, inbox) = await onLoop { $0.register(completion) }
        defer { eventLoop.execute { self.requests[token] = nil } }
        try await publish(subject, payload, reply: inbox, headers: headers, until: deadline)
        return try await value(of: completion, until: deadline)
    }

    /// See `Client.flush`.
    func flush(timeout: Duration) async throws(ClientError) {
        let completion = Completion<Void>()
        eventLoop.execute { self.ping(completion) }
        try await value(of: completion, until: .now() + TimeAmount(timeout))
    }

    /// Tells the server to route no more to a subscription; what is on its way still comes.
    func stopRouting(_ id: UInt64) {
        if case .connected = phase { control("UNSUB \(id)\r\n") }
    }

    /// The same for every subscription of a consumer; returns their buffers.
    func stopRoutingAll() -> [MessageBuffer<Message, ClientError>] {
        var buffers: [MessageBuffer<Message, ClientError>] = []
        for (id, subscription) in subscriptions {
            guard case .buffer(let buffer) = subscription.sink else { continue }
            stopRouting(id)
            buffers.append(buffer)
        }
        return buffers
    }

    /// Ends what `stopRoutingAll` has stopped.
    func endDrainedSubscriptions() {
        for (id, subscription) in subscriptions {
            if case .buffer = subscription.sink { remove(id, error: nil) }
        }
    }
}

/// What may stand in a protocol line.
enum SubjectRules {
    static func checkPublish(_ subject: String) throws(ClientError) {
        guard Subject.kind(of: Array(subject.utf8)) == .literal else { throw .invalidSubject(subject) }
    }
    static func checkSubscribe(_ subject: String) throws(ClientError) {
        guard Subject.kind(of: Array(subject.utf8)) != .invalid else { throw .invalidSubject(subject) }
    }
    static func checkReply(_ reply: String) throws(ClientError) {
        guard isToken(reply) else { throw .invalidSubject(reply) }
    }
    static func checkQueueGroup(_ name: String) throws(ClientError) {
        guard isToken(name) else { throw .invalidQueueGroup(name) }
    }
    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F }
    }
}
