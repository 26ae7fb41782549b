import BrokerProtocol
import NIOCore

/// A client of NATS Streaming: of this broker, or of the original server.
///
/// ```swift
/// let streaming = try await StreamingClient.connect(
///     clusterID: "devpie-client", clientID: "billing-1", ClientOptions("nats://127.0.0.1:4222"))
/// try await streaming.publish("orders", Array("42".utf8))      // returns when the server has stored it
/// let orders = try await streaming.subscribe("orders", ChannelSubscriptionOptions(start: .first))
/// for try await order in orders { print(order.sequence, order.text) }
/// try await streaming.close()
/// ```
///
/// A publish that returned is stored (and synced, as the server was told). One that threw `.publishTimeout` or
/// `.acknowledgementLost` may be stored: the application decides whether to publish again. The session survives reconnects
/// and restarts of a server with a store on disk; subscriptions go on without being asked. When the server does not know the
/// client any more, everything ends with `.sessionLost`, also as an event: connect anew then.
public final class StreamingClient: Sendable {
    /// The core client whose connection it uses.
    public let client: Client
    /// The cluster's id.
    public let clusterID: String
    /// The id that this client is registered under.
    public let clientID: String

    private let session: StreamingSession
    private let ownsClient: Bool

    private init(client: Client, clusterID: String, session: StreamingSession, ownsClient: Bool) {
        self.client = client
        self.clusterID = clusterID
        clientID = session.clientID
        self.session = session
        self.ownsClient = ownsClient
    }

    /// Connects to a server and registers.
    ///
    /// - Parameters:
    ///   - clusterID: The server's cluster id (`-cid`).
    ///   - clientID: Letters, digits, `-` and `_`; unique in the cluster while it is connected.
    ///   - options: Servers and credentials.
    /// - Throws: `.noStreamingServer`, `.refused` (`stan: clientID already registered`), `.invalidClientID`, `.connection`.
    public static func connect(
        clusterID: String, clientID: String, _ options: ClientOptions,
        streaming: StreamingOptions = StreamingOptions()
    ) async throws(StreamingError) -> StreamingClient {
        guard Subject.isValidClientID(Array(clientID.utf8)) else { throw .invalidClientID(clientID) }
        var options = options
        if options.name == nil { options.name = clientID }
        let client: Client
        do throws(ClientError) {
            client = try await Client.connect(options)
        } catch {
            throw StreamingError(error)
        }
        do throws(StreamingError) {
            return try await register(
                client, clusterID: clusterID, clientID: clientID, options: streaming, ownsClient: true)
        } catch {
            await client.close()
            throw error
        }
    }

    /// Registers over a connection that exists; `close` leaves it open. One streaming client a connection.
    ///
    /// - Throws: See `connect(clusterID:clientID:_:streaming:)`.
    public static func connect(
        clusterID: String, clientID: String, over client: Client,
        streaming: StreamingOptions = StreamingOptions()
    ) async throws(StreamingError) -> StreamingClient {
        guard Subject.isValidClientID(Array(clientID.utf8)) else { throw .invalidClientID(clientID) }
        return try await register(
            client, clusterID: clusterID, clientID: clientID, options: streaming, ownsClient: false)
    }

    private static func register(
        _ client: Client, clusterID: String, clientID: String, options: StreamingOptions, ownsClient: Bool
    ) async throws(StreamingError) -> StreamingClient {
        let session = StreamingSession(core: client.core, clientID: clientID, options: options)
        await client.core.onLoop { _ in session.listen() }
        do throws(StreamingError) {
            let answer: Message
            do throws(ClientError) {
                answer = try await client.request(
                    "\(options.discoverPrefix).\(clusterID)", session.connectRequest.encoded(),
                    timeout: options.requestTimeout)
            } catch .timeout, .noResponders {
                throw StreamingError.noStreamingServer(clusterID: clusterID)
            } catch {
                throw StreamingError(error)
            }
            let response = unsafe answer.payload.withUnsafeBytes { unsafe ConnectResponse(decoding: $0) }
            guard let response else { throw StreamingError.malformedResponse("connect") }
            guard response.error.isEmpty else {
                throw StreamingError.refused(String(decoding: response.error, as: UTF8.self))
            }
            await client.core.onLoop { _ in session.begin(response) }
            return StreamingClient(
                client: client, clusterID: clusterID, session: session, ownsClient: ownsClient)
        } catch {
            await client.core.onLoop { _ in session.end(.closed) }
            throw error
        }
    }

    /// What happens to the connection and the session, from now on; that the session is lost is told later too.
    public func events() -> AsyncStream<ClientEvent> { client.events() }

    // MARK: Publishing

    /// Publishes a message and returns when the server has stored it. Any number of tasks may publish at a time, up to
    /// `maxPublishesInFlight`.
    ///
    /// - Throws: `.refused` with the server's reason, `.publishTimeout` and `.acknowledgementLost` (it may be stored),
    ///   `.invalidChannel`, `.sessionLost`, `.closed`, `.connection`; `.cancelled` (it may be stored).
    public func publish(
        _ channel: String, _ payload: [UInt8], reply: String? = nil
    ) async throws(StreamingError) {
        let completion = Completion<PublishWindow.Outcome>()
        try await publish(channel, payload, reply: reply) { completion.complete(.success($0)) }
        let outcome: PublishWindow.Outcome
        do throws(ClientError) {
            outcome = try await completion.value()
        } catch {
            throw StreamingError(error)
        }
        try outcome.get()
    }

    /// Publishes a message without waiting for its acknowledgement: returns when there is a place among the
    /// `maxPublishesInFlight` and in the client's buffer. `acknowledged` is called exactly once, soon, on the client's event
    /// loop: it must not block. Not called when this throws.
    ///
    /// - Throws: `.invalidChannel`, `.sessionLost`, `.closed`, `.connection`, `.cancelled`: the message was not sent.
    public func publish(
        _ channel: String, _ payload: [UInt8], reply: String? = nil,
        acknowledged: @escaping @Sendable (Result<Void, StreamingError>) -> Void
    ) async throws(StreamingError) {
        guard Subject.isValidChannel(Array(channel.utf8)), Subject.kind(of: Array(channel.utf8)) == .literal
        else {
            throw .invalidChannel(channel)
        }
        let timeout = TimeAmount(session.options.publishTimeout)
        let id = try await session.window.enter(deadline: .now() + timeout, report: acknowledged)
        let body = session.publishMessage(id: id, channel: channel, reply: reply, payload: payload)
        let envelope = Outbox.Publish(
            subject: session.publishPrefix + channel, reply: session.acksInbox, headers: [])
        do throws(ClientError) {
            let end = try await session.core.send(envelope, payloadSize: body.count) { $0.writeBytes(body) }
            session.window.sent(id, end: end)
        } catch {
            // What was reported while it waited for room has an outcome already.
            if session.window.withdraw(id) { throw StreamingError(error) }
        }
    }

    /// Returns when every publish so far was acknowledged or has failed.
    ///
    /// - Throws: `.cancelled`.
    public func flush() async throws(StreamingError) {
        try await session.window.empty()
    }

    // MARK: Subscribing

    /// Subscribes to a channel; it need not exist yet.
    ///
    /// - Throws: `.refused` with the server's reason, `.timeout`, `.invalidChannel`, `.sessionLost`, `.closed`.
    public func subscribe(
        _ channel: String, _ options: ChannelSubscriptionOptions = ChannelSubscriptionOptions()
    ) async throws(StreamingError) -> ChannelSubscription {
        guard Subject.isValidChannel(Array(channel.utf8)) else { throw .invalidChannel(channel) }
        let session = session
        let inbox = "_INBOX." + UniqueName.make()
        let acknowledger = ChannelAcknowledger(core: session.core, channel: channel)
        let buffer = MessageBuffer<ChannelMessage, StreamingError>(limit: .max) {}
        // Listening comes first: the first message follows the answer at once.
        let id = await session.core.onLoop { _ in
            session.receive(on: inbox, into: buffer, acknowledger: acknowledger)
        }
        do throws(StreamingError) {
            let request = session.subscriptionRequest(channel: channel, inbox: inbox, options)
            let answer = try await session.request(
                session.subjects.subscribeRequests, request.encoded(), what: "subscribe")
            let response = unsafe answer.withUnsafeBytes { unsafe SubscriptionResponse(decoding: $0) }
            guard let response else { throw StreamingError.malformedResponse("subscribe") }
            guard response.error.isEmpty else {
                throw StreamingError.refused(String(decoding: response.error, as: UTF8.self))
            }
            acknowledger.ackInbox = String(decoding: response.ackInbox, as: UTF8.self)
        } catch {
            await session.core.onLoop { _ in session.stopReceiving(id) }
            throw error
        }
        return ChannelSubscription(
            channel: channel, options: options, session: session, id: id, buffer: buffer,
            acknowledger: acknowledger)
    }

    /// Whether the server has a channel. Asking does not create it, as subscribing would.
    ///
    /// - Throws: `.timeout`, `.invalidChannel`, `.sessionLost`, `.closed`.
    public func hasChannel(_ channel: String) async throws(StreamingError) -> Bool {
        guard Subject.isValidChannel(Array(channel.utf8)) else { throw .invalidChannel(channel) }
        // The protocol has no such question. Closing a subscription that nobody has is refused in one way where there is
        // no such channel (nats-streaming.md 3.0), and in another where there is.
        var request = UnsubscribeRequest()
        request.clientID = Array(clientID.utf8)
        request.subject = Array(channel.utf8)
        request.inbox = Array(("_INBOX." + UniqueName.make()).utf8)
        let what = "channel lookup"
        let answer = try await session.request(
            session.subjects.subscriptionCloseRequests, request.encoded(), what: what)
        let response = unsafe answer.withUnsafeBytes { unsafe SubscriptionResponse(decoding: $0) }
        guard let response else { throw .malformedResponse(what) }
        return response.error != Array("stan: unknown channel".utf8)
    }

    // MARK: Ending

    /// Takes leave of the server: plain subscriptions end, durables keep their position. Publishes without an
    /// acknowledgement throw `.closed`; call `flush` before to wait for them.
    ///
    /// - Throws: `.refused` or `.timeout` when the server did not agree; the client is closed all the same.
    public func close() async throws(StreamingError) {
        var request = CloseRequest()
        request.clientID = Array(clientID.utf8)
        let outcome: Result<[UInt8], StreamingError>
        do throws(StreamingError) {
            outcome = .success(
                try await session.request(session.subjects.closeRequests, request.encoded(), what: "close"))
        } catch {
            outcome = .failure(error)
        }
        let session = session
        await session.core.onLoop { _ in session.end(.closed) }
        if ownsClient { await client.close() }
        let answer = try outcome.get()
        let response = unsafe answer.withUnsafeBytes { unsafe CloseResponse(decoding: $0) }
        guard let response else { throw .malformedResponse("close") }
        guard response.error.isEmpty else { throw .refused(String(decoding: response.error, as: UTF8.self)) }
    }
}
