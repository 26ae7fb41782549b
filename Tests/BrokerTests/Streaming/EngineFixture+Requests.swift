import BrokerProtocol

@testable import Broker

extension EngineFixture {
    // MARK: The protocol's requests

    /// Connects a client whose heartbeats go to `_HB.<id>`; it answers them if it `listens`.
    func connect(
        _ id: String, connection: String? = nil, protocolVersion: Int32 = 1, heartbeatInbox: String? = nil,
        listens: Bool = true
    ) -> ConnectResponse {
        var request = ConnectRequest()
        request.clientID = Array(id.utf8)
        let inbox = heartbeatInbox ?? self.heartbeatInbox(of: id)
        request.heartbeatInbox = Array(inbox.utf8)
        if listens && !inbox.isEmpty {
            transport.receivers.insert(inbox)
            living.insert(id)
        }
        request.protocolVersion = protocolVersion
        request.connectionID = Array((connection ?? "conn-\(id)").utf8)
        request.pingIntervalSeconds = 5
        request.pingMaxOut = 3
        let response = self.request(request.encoded(), to: "_STAN.discover.vc") ?? []
        return response.withUnsafeBytes { ConnectResponse(decoding: $0) } ?? ConnectResponse()
    }

    /// Connects a client that is there and answers its heartbeats; the error text, empty for success.
    @discardableResult
    func join(_ id: String, connection: String? = nil, heartbeatInbox: String? = nil) -> String {
        String(
            decoding: connect(id, connection: connection, heartbeatInbox: heartbeatInbox).error, as: UTF8.self
        )
    }

    /// A connect request.
    func connectPayload(_ id: String, connection: String, heartbeatInbox: String) -> [UInt8] {
        var request = ConnectRequest()
        request.clientID = Array(id.utf8)
        request.heartbeatInbox = Array(heartbeatInbox.utf8)
        request.protocolVersion = 1
        request.connectionID = Array(connection.utf8)
        return request.encoded()
    }

    /// The error text of a connect response, empty for success.
    static func connectError(_ payload: [UInt8]) -> String {
        let response = payload.withUnsafeBytes { ConnectResponse(decoding: $0) }
        return response.map { String(decoding: $0.error, as: UTF8.self) } ?? "no ConnectResponse"
    }

    /// Publishes one message; the error text of its acknowledgement, nil for success, and
    /// "no ack" if none came.
    @discardableResult
    func publish(
        _ data: String, to channel: String, by id: String = "me", connection: String = "", guid: String = "g"
    ) -> String? {
        let ackInbox = inbox()
        publish(data, to: channel, by: id, guid: guid, ackInbox: ackInbox, connection: connection)
        settle()
        guard let ack = publishAcks(at: ackInbox).first else { return "no ack" }
        return ack.error.isEmpty ? nil : ack.error
    }

    /// Publishes one message without ending the tick. `subject` is where it is published if not where
    /// the client library would.
    func publish(
        _ data: String, to channel: String, by id: String = "me", guid: String = "g", ackInbox: String,
        connection: String = "", reply: String = "", subject: String? = nil
    ) {
        // The codec's strings are views: they all lie in one array while the message is made.
        let fields = [id, guid, channel, data, connection, reply].map { Array($0.utf8) }
        let payload: [UInt8] = fields.flatMap { $0 }.withUnsafeBytes { bytes in
            var start = 0
            let views = fields.map { field in
                defer { start += field.count }
                return UnsafeRawBufferPointer(rebasing: bytes[start..<start + field.count])
            }
            var message = PubMsg()
            message.clientID = views[0]
            message.guid = views[1]
            message.subject = views[2]
            message.data = views[3]
            message.connectionID = views[4]
            message.reply = views[5]
            return [UInt8](unsafeUninitializedCapacity: message.encodedSize) { memory, count in
                count = message.encode(into: UnsafeMutableRawBufferPointer(memory))
            }
        }
        send(payload, to: subject ?? "_STAN.pub.vc.\(channel)", reply: ackInbox)
    }

    /// The guid and error of the publish acknowledgements that came to `inbox`.
    func publishAcks(at inbox: String) -> [PublishAck] {
        transport.take(inbox).map { message in
            message.payload.withUnsafeBytes { bytes in
                guard let ack = PubAck(decoding: bytes) else { return PublishAck(guid: "?", error: "?") }
                return PublishAck(
                    guid: String(decoding: ack.guid, as: UTF8.self),
                    error: String(decoding: ack.error, as: UTF8.self))
            }
        }
    }

    /// A publish acknowledgement.
    struct PublishAck: Equatable {
        var guid: String
        var error = ""
    }

    /// Publishes `data` in one go each, and ends the tick once.
    func publishAll(_ data: [String], to channel: String, by id: String = "me") {
        let ackInbox = inbox()
        for text in data { publish(text, to: channel, by: id, ackInbox: ackInbox) }
        settle()
    }

    /// Publishes messages whose data is the number given.
    func publish(numbers: ClosedRange<Int>, to channel: String, by id: String = "me") {
        publishAll(numbers.map { "\($0)" }, to: channel, by: id)
    }

    /// A subscription as its client sees it.
    struct Subscribed {
        var inbox: String
        var ackInbox: String
        var error: String
    }

    func subscribe(
        _ channel: String, by id: String = "me", queue: String = "", durable: String = "",
        start: StartPosition = .newOnly, sequence: UInt64 = 0, timeDelta: Int64 = 0,
        maxInFlight: Int32 = 1_024, ackWait: Int32 = 30, inbox name: String? = nil
    ) -> Subscribed {
        let inbox = inbox(name)
        let request = subscription(
            channel, by: id, queue: queue, durable: durable, start: start, sequence: sequence,
            timeDelta: timeDelta, maxInFlight: maxInFlight, ackWait: ackWait, inbox: inbox)
        let payload = self.request(request.encoded(), to: "_STAN.sub.vc")
        return subscribed(payload, inbox: inbox)
    }

    /// Sends a subscribe request as it is; the error text of the answer.
    func subscribeError(_ payload: [UInt8]) -> String {
        subscribed(request(payload, to: "_STAN.sub.vc"), inbox: "").error
    }

    /// What a subscribe response says.
    func subscribed(_ payload: [UInt8]?, inbox: String) -> Subscribed {
        let response = (payload ?? []).withUnsafeBytes { SubscriptionResponse(decoding: $0) }
        guard payload != nil, let response else {
            return Subscribed(inbox: inbox, ackInbox: "", error: "no response")
        }
        return Subscribed(
            inbox: inbox, ackInbox: String(decoding: response.ackInbox, as: UTF8.self),
            error: String(decoding: response.error, as: UTF8.self))
    }

    /// A subscribe request.
    func subscription(
        _ channel: String, by id: String = "me", queue: String = "", durable: String = "",
        start: StartPosition = .newOnly, sequence: UInt64 = 0, timeDelta: Int64 = 0,
        maxInFlight: Int32 = 1_024, ackWait: Int32 = 30, inbox: String
    ) -> SubscriptionRequest {
        var request = SubscriptionRequest()
        request.clientID = Array(id.utf8)
        request.subject = Array(channel.utf8)
        request.queueGroup = Array(queue.utf8)
        request.durableName = Array(durable.utf8)
        request.inbox = Array(inbox.utf8)
        request.maxInFlight = maxInFlight
        request.ackWaitSeconds = ackWait
        request.startPosition = start
        request.startSequence = sequence
        request.startTimeDelta = timeDelta
        return request
    }

    /// Unsubscribes, or with `closing` closes; the error text, empty for success.
    func unsubscribe(
        _ channel: String, inbox: String, by id: String = "me", closing: Bool = false
    ) -> String {
        var request = UnsubscribeRequest()
        request.clientID = Array(id.utf8)
        request.subject = Array(channel.utf8)
        request.inbox = Array(inbox.utf8)
        let subject = closing ? "_STAN.subclose.vc" : "_STAN.unsub.vc"
        guard let payload = self.request(request.encoded(), to: subject) else { return "no response" }
        let response = payload.withUnsafeBytes { SubscriptionResponse(decoding: $0) }
        return String(decoding: response?.error ?? [], as: UTF8.self)
    }

    /// Closes a client; the error text, empty for success.
    func close(_ id: String) -> String {
        var request = CloseRequest()
        request.clientID = Array(id.utf8)
        return closeError(self.request(request.encoded(), to: "_STAN.close.vc"))
    }

    /// The error in a close response, empty for success.
    func closeError(_ payload: [UInt8]?) -> String {
        guard let payload else { return "no response" }
        let response = payload.withUnsafeBytes { CloseResponse(decoding: $0) }
        return String(decoding: response?.error ?? [], as: UTF8.self)
    }

    /// Pings; the error text, empty for success, nil without an answer.
    func ping(connection: String) -> String? {
        var ping = Ping()
        ping.connectionID = Array(connection.utf8)
        guard let payload = self.request(ping.encoded(), to: "_STAN.discover.vc.pings") else { return nil }
        let response = payload.withUnsafeBytes { PingResponse(decoding: $0) }
        return response.map { String(decoding: $0.error, as: UTF8.self) } ?? "no PingResponse"
    }

    /// Acknowledges several messages, each in a tick of its own.
    func acknowledge(_ sequences: some Sequence<UInt64>, on channel: String, at ackInbox: String) {
        for sequence in sequences { acknowledge(sequence, on: channel, at: ackInbox) }
    }

    /// Acknowledges one message; false if the engine does not listen on the ack inbox (any more).
    @discardableResult
    func acknowledge(
        _ sequence: UInt64, on channel: String, at ackInbox: String, settling: Bool = true
    ) -> Bool {
        let payload: [UInt8] = Array(channel.utf8).withUnsafeBytes { channel in
            let ack = Ack(subject: channel, sequence: sequence)
            return [UInt8](unsafeUninitializedCapacity: ack.encodedSize) { memory, count in
                count = ack.encode(into: UnsafeMutableRawBufferPointer(memory))
            }
        }
        let isHeard = send(payload, to: ackInbox)
        if settling { settle() }
        return isHeard
    }

    /// A delivered message.
    struct Delivered: Equatable {
        var sequence: UInt64
        var data: String
        var redelivered = false
        var count: UInt32 = 0
    }

    /// Takes what was delivered to an inbox so far.
    func delivered(to inbox: String) -> [Delivered] {
        transport.take(inbox).map { message in
            message.payload.withUnsafeBytes { bytes in
                guard let proto = MsgProto(decoding: bytes) else { return Delivered(sequence: 0, data: "?") }
                return Delivered(
                    sequence: proto.sequence, data: String(decoding: proto.data, as: UTF8.self),
                    redelivered: proto.redelivered, count: proto.redeliveryCount)
            }
        }
    }

    /// The sequences of what was delivered to an inbox so far.
    func sequences(to inbox: String) -> [UInt64] { delivered(to: inbox).map(\.sequence) }

    // MARK: What the engine holds

    /// Messages pending at the subscription with this inbox; nil if there is none.
    func pending(at inbox: String) -> [UInt64]? {
        for channel in engine.channels.values {
            for member in channel.consumers.flatMap(\.members) where member.inbox == Array(inbox.utf8) {
                return member.pending.sequences
            }
        }
        return nil
    }

    /// Stored subscriptions over all channels, offline ones included.
    var storedSubscriptions: Int { engine.channels.values.reduce(0) { $0 + $1.subscriptionCount } }
}
