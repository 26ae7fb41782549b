import BrokerProtocol

@testable import Broker

extension EngineFixture {
    // MARK: The protocol's requests

    /// Connects a client that answers heartbeats at `_HB.<id>` if the test lets it.
    func connect(
        _ id: String, connection: String? = nil, protocolVersion: Int32 = 1, heartbeatInbox: String? = nil,
        listens: Bool = true
    ) -> ConnectResponse {
        var request = ConnectRequest()
        request.clientID = Array(id.utf8)
        let inbox = heartbeatInbox ?? "_HB.\(id)"
        request.heartbeatInbox = Array(inbox.utf8)
        if listens && !inbox.isEmpty { transport.receivers.insert(inbox) }
        request.protocolVersion = protocolVersion
        request.connectionID = Array((connection ?? "conn-\(id)").utf8)
        request.pingIntervalSeconds = 5
        request.pingMaxOut = 3
        let response = self.request(request.encoded(), to: "_STAN.discover.vc") ?? []
        return response.withUnsafeBytes { ConnectResponse(decoding: $0) } ?? ConnectResponse()
    }

    /// Publishes one message; the error text of its acknowledgement, nil for success, and
    /// "no ack" if none came.
    @discardableResult
    func publish(_ data: String, to channel: String, by id: String = "me") -> String? {
        let ackInbox = inbox()
        publish(data, to: channel, by: id, guid: "g", ackInbox: ackInbox)
        settle()
        guard let answer = transport.take(ackInbox).first else { return "no ack" }
        return answer.payload.withUnsafeBytes { bytes in
            guard let ack = PubAck(decoding: bytes) else { return "no PubAck" }
            return ack.error.isEmpty ? nil : String(decoding: ack.error, as: UTF8.self)
        }
    }

    /// Publishes one message without ending the tick.
    func publish(_ data: String, to channel: String, by id: String, guid: String, ackInbox: String) {
        let fields = (Array(id.utf8), Array(guid.utf8), Array(channel.utf8), Array(data.utf8))
        let payload: [UInt8] = fields.0.withUnsafeBytes { id in
            fields.1.withUnsafeBytes { guid in
                fields.2.withUnsafeBytes { channel in
                    fields.3.withUnsafeBytes { data in
                        var message = PubMsg()
                        message.clientID = id
                        message.guid = guid
                        message.subject = channel
                        message.data = data
                        return [UInt8](unsafeUninitializedCapacity: message.encodedSize) { memory, count in
                            count = message.encode(into: UnsafeMutableRawBufferPointer(memory))
                        }
                    }
                }
            }
        }
        send(payload, to: "_STAN.pub.vc.\(channel)", reply: ackInbox)
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
        maxInFlight: Int32 = 1_024,
        ackWait: Int32 = 30
    ) -> Subscribed {
        var request = SubscriptionRequest()
        request.clientID = Array(id.utf8)
        request.subject = Array(channel.utf8)
        request.queueGroup = Array(queue.utf8)
        request.durableName = Array(durable.utf8)
        let inbox = inbox()
        request.inbox = Array(inbox.utf8)
        request.maxInFlight = maxInFlight
        request.ackWaitSeconds = ackWait
        request.startPosition = start
        request.startSequence = sequence
        request.startTimeDelta = timeDelta
        let payload = self.request(request.encoded(), to: "_STAN.sub.vc") ?? []
        let response = payload.withUnsafeBytes { SubscriptionResponse(decoding: $0) }
        settle()
        return Subscribed(
            inbox: inbox, ackInbox: String(decoding: response?.ackInbox ?? [], as: UTF8.self),
            error: response.map { String(decoding: $0.error, as: UTF8.self) } ?? "no response")
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
        guard let payload = self.request(request.encoded(), to: "_STAN.close.vc") else {
            return "no response"
        }
        let response = payload.withUnsafeBytes { CloseResponse(decoding: $0) }
        return String(decoding: response?.error ?? [], as: UTF8.self)
    }

    func acknowledge(_ sequence: UInt64, on channel: String, at ackInbox: String) {
        let payload: [UInt8] = Array(channel.utf8).withUnsafeBytes { channel in
            let ack = Ack(subject: channel, sequence: sequence)
            return [UInt8](unsafeUninitializedCapacity: ack.encodedSize) { memory, count in
                count = ack.encode(into: UnsafeMutableRawBufferPointer(memory))
            }
        }
        send(payload, to: ackInbox)
        settle()
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

    /// Answers the heartbeats and duplicate checks that wait at a client's heartbeat inbox.
    func answerHeartbeats(_ id: String) {
        for heartbeat in transport.take("_HB.\(id)") { send([], to: heartbeat.reply) }
        settle()
    }
}
