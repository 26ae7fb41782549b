import BrokerProtocol
import NIOCore

/// The moving parts of a streaming client: its registration at the server, pings, heartbeats and subscriptions.
// Every stored `var` belongs to the core's event loop. `subjects` is written once, on that loop, before `connect` returns.
final class StreamingSession: @unchecked Sendable {
    let core: ClientCore
    let clientID: String
    let options: StreamingOptions
    let window: PublishWindow
    let connectionID = UniqueName.make()
    let guidPrefix = UniqueName.make() + "."
    let acksInbox = "_STAN.acks." + UniqueName.make()
    private let heartbeatInbox = "_INBOX." + UniqueName.make()
    private let pingInbox = "_INBOX." + UniqueName.make()

    private(set) var subjects = ConnectResponse()
    /// Why the session has ended; nil while it has not.
    private(set) var whyEnded: StreamingError?
    private var pingTask: RepeatedTask?
    private var expiryTask: RepeatedTask?
    private var pingsOut = 0
    private var internalSubscriptions: [UInt64] = []
    private var subscriptions: [UInt64: MessageBuffer<ChannelMessage, StreamingError>] = [:]

    init(core: ClientCore, clientID: String, options: StreamingOptions) {
        self.core = core
        self.clientID = clientID
        self.options = options
        window = PublishWindow(limit: options.maxPublishesInFlight)
    }

    // MARK: Beginning

    /// Listens where the server will send; on the loop, before the connect request. The core keeps the session alive by
    /// these until `end`.
    func listen() {
        internalSubscriptions = [
            unsafe core.listen(on: heartbeatInbox) { [self] in unsafe self.heartbeat($0) },
            unsafe core.listen(on: acksInbox) { [self] in unsafe self.acknowledged($0) },
            unsafe core.listen(on: pingInbox) { [self] in unsafe self.pinged($0) },
        ]
    }

    var connectRequest: ConnectRequest {
        var request = ConnectRequest()
        request.clientID = Array(clientID.utf8)
        request.heartbeatInbox = Array(heartbeatInbox.utf8)
        request.protocolVersion = 1
        request.connectionID = Array(connectionID.utf8)
        request.pingIntervalSeconds = options.pingInterval.wholeSeconds
        request.pingMaxOut = Int32(clamping: options.maxPingsOut)
        return request
    }

    /// The server has registered the client; on the loop.
    func begin(_ response: ConnectResponse) {
        subjects = response
        core.events.sessionBegins()
        core.whenConnectionLost = { [weak self] takenEnd in self?.window.connectionLost(takenEnd: takenEnd) }
        core.whenConnected = { [weak self] in self?.reconnected() }
        core.whenClosed = { [weak self] error in self?.end(error.map { StreamingError($0) } ?? .closed) }
        // A timeout is noticed late by a tenth of it at most.
        let period = TimeAmount(options.publishTimeout / 10)
        expiryTask = core.eventLoop.scheduleRepeatedTask(initialDelay: period, delay: period) { [window] _ in
            window.expire(now: .now())
        }
        guard response.pingIntervalSeconds > 0, !response.pingRequests.isEmpty else { return }
        let interval = TimeAmount.seconds(Int64(response.pingIntervalSeconds))
        pingTask = core.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
            [weak self] _ in self?.pingDue()
        }
    }

    // MARK: What comes from the server

    private func heartbeat(_ message: ServerMessage) {
        guard unsafe !message.reply.isEmpty else { return }
        unsafe core.sendUnbounded(String(decoding: message.reply, as: UTF8.self), [])
    }

    private func acknowledged(_ message: ServerMessage) {
        guard let ack = unsafe PubAck(decoding: message.payload), let id = unsafe publishID(ack.guid) else {
            return
        }
        if unsafe ack.error.isEmpty {
            window.acknowledged(id, .success(()))
        } else {
            window.acknowledged(id, .failure(.refused(unsafe String(decoding: ack.error, as: UTF8.self))))
        }
    }

    /// The number behind the prefix of a guid of this session.
    private func publishID(_ guid: UnsafeRawBufferPointer) -> UInt64? {
        let prefixLength = guidPrefix.utf8.count
        guard guid.count > prefixLength, guid.count <= prefixLength + 19,
            unsafe guid.starts(with: guidPrefix.utf8)
        else {
            return nil
        }
        var value: UInt64 = 0
        for index in prefixLength..<guid.count {
            let digit = unsafe guid[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            value = value &* 10 &+ UInt64(digit)
        }
        return value
    }

    private func pinged(_ message: ServerMessage) {
        // Nobody was there to answer: the ping stays unanswered.
        guard unsafe !message.saysNoResponders, let response = unsafe PingResponse(decoding: message.payload)
        else {
            return
        }
        if response.error.isEmpty {
            pingsOut = 0
        } else {
            end(.sessionLost(String(decoding: response.error, as: UTF8.self)))
        }
    }

    private func reconnected() {
        // A ping at once: the server that had missed us resumes, and one that has forgotten us says so.
        if !subjects.pingRequests.isEmpty { ping() }
    }

    private func pingDue() {
        guard pingsOut < options.maxPingsOut else {
            end(.sessionLost("stan: connection lost due to PING failure"))
            return
        }
        pingsOut += 1
        // Without a connection the ping is not sent but counts: the server does not see us either.
        if case .connected = core.phase { ping() }
    }

    private func ping() {
        var request = Ping()
        request.connectionID = Array(connectionID.utf8)
        core.sendUnbounded(
            String(decoding: subjects.pingRequests, as: UTF8.self), request.encoded(), reply: pingInbox)
    }

    // MARK: Subscriptions

    /// Listens on a message inbox; on the loop. Returns the core's id of the subscription.
    func receive(
        on inbox: String, into buffer: MessageBuffer<ChannelMessage, StreamingError>,
        acknowledger: ChannelAcknowledger
    ) -> UInt64 {
        let id = unsafe core.listen(on: inbox) { message in
            guard let stored = unsafe MsgProto(decoding: message.payload) else { return }
            let sequence = stored.sequence
            // Sent again because it still waits here: the consumer gets it once.
            if stored.redelivered, buffer.contains(where: { $0.sequence == sequence }) { return }
            let copy = ChannelMessage(stored, acknowledger: acknowledger)
            // The server bounds what waits here by the subscription's `maxInFlight`: reading goes on, so that heartbeats
            // and acknowledgements come through.
            _ = buffer.append(copy, cost: 0)
        }
        if let whyEnded { buffer.finish(whyEnded) } else { subscriptions[id] = buffer }
        return id
    }

    /// Forgets a subscription; on the loop.
    func stopReceiving(_ id: UInt64) {
        core.unsubscribe(id)
        subscriptions.removeValue(forKey: id)?.finish()
    }

    // MARK: Ending

    /// Ends the session; on the loop. `.closed` ends subscriptions without an error.
    func end(_ reason: StreamingError) {
        guard whyEnded == nil else { return }
        whyEnded = reason
        pingTask?.cancel()
        expiryTask?.cancel()
        core.whenConnectionLost = nil
        core.whenConnected = nil
        core.whenClosed = nil
        for id in internalSubscriptions { core.unsubscribe(id) }
        for (id, buffer) in subscriptions {
            core.unsubscribe(id)
            buffer.finish(reason == .closed ? nil : reason)
        }
        subscriptions = [:]
        window.close(reason)
        if case .sessionLost(let text) = reason { core.events.send(.sessionLost(reason: text)) }
    }
}

extension ClientCore {
    /// Publishes at once, whatever is waiting; on the loop or not.
    func sendUnbounded(_ subject: String, _ payload: [UInt8], reply: String? = nil) {
        let publish = Outbox.Publish(subject: subject, reply: reply, headers: [])
        let outcome = outbox.publish(publish, payloadSize: payload.count, isBounded: false) {
            $0.writeBytes(payload)
        }
        guard case .appended(_, let mustFlush) = outcome, mustFlush else { return }
        if eventLoop.inEventLoop { flush() } else { eventLoop.execute { self.flush() } }
    }
}

extension Duration {
    /// Whole seconds, rounded up, at least one, as the protocol's 32-bit fields carry them.
    var wholeSeconds: Int32 {
        let (seconds, attoseconds) = components
        return Int32(clamping: max(1, seconds + (attoseconds > 0 ? 1 : 0)))
    }

    /// Nanoseconds; saturates at 292 years.
    var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        let (sum, carry) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return carry ? (seconds < 0 ? .min : .max) : sum
    }
}
