import BrokerProtocol

@testable import Broker

// Requests that the tests of the rules of nats-streaming.md §10 make, beyond those of the fixture.
extension EngineFixture {
    /// Connects a client that is there and answers its heartbeats; the error text, empty for success.
    @discardableResult
    func join(_ id: String, connection: String? = nil, heartbeatInbox: String? = nil) -> String {
        transport.receivers.insert(heartbeatInbox ?? "_HB.\(id)")
        living.insert(id)
        return String(
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

    /// Pings with a connection id; the error text, empty for success, nil without an answer.
    func pinged(_ connection: String) -> String? {
        var ping = Ping()
        ping.connectionID = Array(connection.utf8)
        guard let payload = request(ping.encoded(), to: "_STAN.discover.vc.pings") else { return nil }
        let response = payload.withUnsafeBytes { PingResponse(decoding: $0) }
        return response.map { String(decoding: $0.error, as: UTF8.self) } ?? "no PingResponse"
    }

    /// What a publisher was told.
    struct Outcome: Equatable {
        var guid: String
        var error = ""
    }

    /// Takes the acknowledgements of publishes that came to `inbox` so far.
    func outcomes(at inbox: String) -> [Outcome] {
        transport.take(inbox).map { answer in
            answer.payload.withUnsafeBytes { bytes in
                guard let ack = PubAck(decoding: bytes) else { return Outcome(guid: "?", error: "?") }
                return Outcome(
                    guid: String(decoding: ack.guid, as: UTF8.self),
                    error: String(decoding: ack.error, as: UTF8.self))
            }
        }
    }

    /// Publishes one message; the error text, nil for success.
    func attempt(
        _ data: String, to channel: String, by id: String = "me", connection: String = "", guid: String = "g"
    ) -> String? {
        let ackInbox = inbox()
        submit(data, to: channel, by: id, connection: connection, guid: guid, ackInbox: ackInbox)
        settle()
        guard let outcome = outcomes(at: ackInbox).first else { return "no ack" }
        return outcome.error.isEmpty ? nil : outcome.error
    }

    /// Publishes one message without ending the tick.
    func submit(
        _ data: String, to channel: String, by id: String = "me", connection: String = "", guid: String,
        reply: String = "", ackInbox: String
    ) {
        // PubMsg by field number: the codec's own struct holds views that end with a closure.
        let fields = [(1, id), (2, guid), (3, channel), (4, reply), (5, data), (6, connection)]
        var payload: [UInt8] = []
        for (number, value) in fields where !value.isEmpty {
            precondition(value.utf8.count < 128, "one byte of length")
            payload += [UInt8(number << 3 | 2), UInt8(value.utf8.count)] + Array(value.utf8)
        }
        send(payload, to: "_STAN.pub.vc.\(channel)", reply: ackInbox)
    }

    /// Publishes "\(number)" for each number, and settles.
    func fill(_ channel: String, _ numbers: ClosedRange<Int>, by id: String = "me") {
        for number in numbers { submit("\(number)", to: channel, by: id, guid: "g", ackInbox: "") }
        settle()
    }

    /// Acknowledges several messages.
    func acknowledgeAll(_ sequences: [UInt64], on channel: String, at ackInbox: String) {
        for sequence in sequences { acknowledge(sequence, on: channel, at: ackInbox) }
    }

    /// Sends a subscribe request as it is; the error text of the answer.
    func subscribeError(_ payload: [UInt8]) -> String {
        guard let answer = request(payload, to: "_STAN.sub.vc") else { return "no response" }
        let response = answer.withUnsafeBytes { SubscriptionResponse(decoding: $0) }
        return String(decoding: response?.error ?? [], as: UTF8.self)
    }

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
