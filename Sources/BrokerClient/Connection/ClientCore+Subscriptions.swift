import NIOCore

/// Receives messages in place: the views in a message are valid only while the closure runs, and it must not keep them.
@safe struct InPlaceReceiver {
    private let receive: (ServerMessage) -> Void

    init(_ receive: @escaping (ServerMessage) -> Void) {
        unsafe self.receive = receive
    }

    func callAsFunction(_ message: ServerMessage) {
        unsafe receive(message)
    }
}

/// A subscription as the core keeps it, on the loop.
struct SubscriptionState {
    /// Where its messages go.
    enum Sink {
        /// To a consumer.
        case buffer(MessageBuffer<Message, ClientError>)
        /// To the client's own machinery (replies, acknowledgements, heartbeats), read in place.
        case machinery(InPlaceReceiver)
    }

    let subject: String
    let queueGroup: String?
    let sink: Sink
    /// Messages after which the server ends it; nil for no bound.
    var maxMessages: Int?
    /// Messages that came so far.
    var received = 0

    /// SUB, as the server reads it.
    func subscribeLine(id: UInt64) -> String {
        queueGroup.map { "SUB \(subject) \($0) \(id)\r\n" } ?? "SUB \(subject) \(id)\r\n"
    }

    /// What a new connection is told.
    func resubscribeLines(id: UInt64) -> String {
        guard let maxMessages else { return subscribeLine(id: id) }
        // What a connection before has delivered counts: only the rest may come.
        return subscribeLine(id: id) + "UNSUB \(id) \(max(1, maxMessages - received))\r\n"
    }

    func end(_ error: ClientError?) {
        if case .buffer(let buffer) = sink { buffer.finish(error) }
    }
}

extension ClientCore {
    /// Subscribes for the client itself; returns the id. On the loop.
    @discardableResult
    func listen(on subject: String, _ receive: @escaping (ServerMessage) -> Void) -> UInt64 {
        unsafe add(
            SubscriptionState(subject: subject, queueGroup: nil, sink: .machinery(InPlaceReceiver(receive))))
    }

    /// Subscribes for a consumer. On the loop.
    func subscribe(
        _ subject: String, queueGroup: String?, buffer: MessageBuffer<Message, ClientError>, id: UInt64
    ) {
        if case .closed = phase {
            buffer.finish(.closed)
            return
        }
        let state = SubscriptionState(subject: subject, queueGroup: queueGroup, sink: .buffer(buffer))
        subscriptions[id] = state
        if case .connected = phase { control(state.subscribeLine(id: id)) }
    }

    private func add(_ state: SubscriptionState) -> UInt64 {
        let id = newSubscriptionID()
        if case .closed = phase { return id }
        subscriptions[id] = state
        // Without a connection the next one is told everything.
        if case .connected = phase { control(state.subscribeLine(id: id)) }
        return id
    }

    /// A number for a subscription. On the loop.
    func newSubscriptionID() -> UInt64 {
        defer { nextSubscriptionID += 1 }
        return nextSubscriptionID
    }

    /// Ends a subscription, now or after `maxMessages` in all. On the loop.
    func unsubscribe(_ id: UInt64, after maxMessages: Int? = nil) {
        guard var state = subscriptions[id] else { return }
        if let maxMessages, state.received < maxMessages {
            state.maxMessages = maxMessages
            subscriptions[id] = state
            if case .connected = phase { control("UNSUB \(id) \(maxMessages)\r\n") }
            return
        }
        remove(id, error: nil)
        if case .connected = phase { control("UNSUB \(id)\r\n") }
    }

    /// Forgets a subscription; its consumer gets what is buffered and then the end.
    func remove(_ id: UInt64, error: ClientError?) {
        guard let state = subscriptions.removeValue(forKey: id) else { return }
        state.end(error)
        drained(id)
    }

    /// A buffer that was full has room again, or its subscription is gone.
    func drained(_ id: UInt64) {
        guard fullBuffers.remove(id) != nil, fullBuffers.isEmpty else { return }
        if case .connected(let connection) = phase { connection.setReading(true) }
    }

    /// Hands a message to its subscription.
    func deliver(_ message: ServerMessage) {
        let id = unsafe message.subscriptionID
        // Messages that were on their way when the subscription ended are nobody's.
        guard let index = subscriptions.index(forKey: id) else { return }
        switch subscriptions.values[index].sink {
        case .machinery(let receive): unsafe receive(message)
        case .buffer(let buffer):
            subscriptions.values[index].received += 1
            let copy = unsafe Message(message)
            let isLast = subscriptions.values[index].received == subscriptions.values[index].maxMessages
            if buffer.append(copy, cost: copy.cost), fullBuffers.insert(id).inserted {
                events.send(.readingPaused(subject: subscriptions.values[index].subject))
                if case .connected(let connection) = phase { connection.setReading(false) }
            }
            if isLast { remove(id, error: nil) }
        }
    }

    /// The server does not permit a subscription: `Permissions Violation for Subscription to "<subject>"…`.
    func endSubscriptions(refusedBy text: String) {
        let parts = text.split(separator: "\"", omittingEmptySubsequences: false)
        guard parts.count >= 3 else { return }
        let queueGroup = parts.count >= 5 ? String(parts[3]) : nil
        let refused = subscriptions.filter {
            $0.value.subject == parts[1] && (queueGroup == nil || $0.value.queueGroup == queueGroup)
        }
        for id in refused.keys { remove(id, error: .permission(text)) }
    }

    // MARK: Requests

    /// Sends a request; the completion gets the first answer. On the loop; returns the reply subject's token.
    func register(_ completion: Completion<Message>) -> (token: UInt64, inbox: String) {
        let prefix: String
        if let requestPrefix {
            prefix = requestPrefix
        } else {
            prefix = "_INBOX.\(UniqueName.make())."
            requestPrefix = prefix
            let prefixLength = prefix.utf8.count
            unsafe listen(on: prefix + "*") { [unowned self] message in
                unsafe self.answered(message, prefixLength: prefixLength)
            }
        }
        nextRequest += 1
        requests[nextRequest] = completion
        if case .closed = phase { completion.complete(.failure(.closed)) }
        return (nextRequest, prefix + String(nextRequest))
    }

    private func answered(_ message: ServerMessage, prefixLength: Int) {
        guard unsafe message.subject.count > prefixLength else { return }
        let token = unsafe String(
            decoding: UnsafeRawBufferPointer(rebasing: message.subject[prefixLength...]), as: UTF8.self)
        // An answer that comes after the timeout, or a second one, is nobody's.
        guard let number = UInt64(token), let completion = requests.removeValue(forKey: number) else {
            return
        }
        if unsafe message.saysNoResponders {
            completion.complete(.failure(.noResponders))
        } else {
            completion.complete(.success(unsafe Message(message)))
        }
    }
}
