import BrokerLog
import BrokerProtocol
import Logging
import Testing

@testable import Broker

/// A transport without sockets: what the engine publishes is kept by subject, and a subject has a
/// receiver when a test says so.
final class ManualTransport: MessageTransport {
    struct Message {
        var subject: String
        var reply: String
        var payload: [UInt8]
    }

    /// Subjects that somebody listens on; patterns are allowed.
    var receivers: Set<String> = []
    /// Subjects whose connection is congested.
    var congested: Set<String> = []
    private(set) var sent: [Message] = []
    private(set) var listeners: [(subject: [UInt8], tag: UInt64)] = []
    private(set) var publishersArePaused = false

    func publish(
        subject: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer
    ) -> DeliveryOutcome {
        let name = String(decoding: subject, as: UTF8.self)
        guard isReceived(name) else { return .none }
        sent.append(
            Message(subject: name, reply: String(decoding: reply, as: UTF8.self), payload: Array(payload)))
        return DeliveryOutcome(receivers: 1, congested: congested.contains(name))
    }

    func listen(on subject: [UInt8], tag: UInt64) { listeners.append((subject, tag)) }

    func stopListening(on subject: [UInt8], tag: UInt64) {
        listeners.removeAll { $0.subject == subject && $0.tag == tag }
    }

    func hasReceiver(for subject: UnsafeRawBufferPointer) -> Bool {
        isReceived(String(decoding: subject, as: UTF8.self))
    }

    func pausePublishers() { publishersArePaused = true }
    func resumePublishers() { publishersArePaused = false }

    /// The tag of the listener that a publish on `subject` reaches.
    func tag(for subject: String) -> UInt64? {
        listeners.first { Subject.matches(Array(subject.utf8), pattern: $0.subject) }?.tag
    }

    /// Takes what was sent to `subject` so far.
    func take(_ subject: String) -> [Message] {
        let taken = sent.filter { $0.subject == subject }
        sent.removeAll { $0.subject == subject }
        return taken
    }

    private func isReceived(_ name: String) -> Bool {
        receivers.contains { Subject.matches(Array(name.utf8), pattern: Array($0.utf8)) }
    }
}

/// An engine on a manual transport, a manual clock and a memory log.
final class EngineFixture {
    typealias Engine = StreamingEngine<ManualTransport>

    /// Turned by hand: nanoseconds since the start of the test.
    final class Clock: @unchecked Sendable {
        // Sendable: a test runs on one thread.
        var now: UInt64 = 1_000_000_000
        /// 2026-01-01T00:00:00Z and what has passed.
        var wall: Int64 { 1_767_225_600_000_000_000 + Int64(now) }
    }

    let clock = Clock()
    let transport = ManualTransport()
    let log: Log
    var engine: Engine
    private var inboxes = 0

    init(_ change: (inout BrokerOptions) -> Void = { _ in }) throws {
        var options = BrokerOptions()
        options.clusterID = "vc"
        options.store = .memory
        change(&options)
        let configuration = LogConfiguration(storage: .memory)
        log = try Log.open(configuration, wake: {}, report: { _ in })
        let clock = clock
        engine = Engine(
            options: options, log: log, transport: transport, logger: Logger(label: "engine"),
            clock: EngineClock(monotonic: { clock.now }, wall: { clock.wall }))
    }

    /// Ends the tick until there is nothing left to do.
    func settle() { while engine.endOfTick() {} }

    /// Lets time pass in steps of at most 5 ms, as the loop's timer would.
    func advance(milliseconds: UInt64) {
        let end = clock.now + milliseconds * 1_000_000
        while true {
            let next = min(end, engine.nextDeadline ?? end)
            clock.now = max(clock.now, next)
            engine.timeReached(clock.now)
            settle()
            if clock.now >= end, engine.nextDeadline ?? .max > end { return }
        }
    }

    /// A subject that somebody listens on.
    func inbox(_ name: String? = nil) -> String {
        inboxes += 1
        let subject = name ?? "_INBOX.test\(inboxes)"
        transport.receivers.insert(subject)
        return subject
    }

    /// Publishes to the engine as a client would. False: the engine does not listen on `subject`.
    @discardableResult
    func send(_ payload: [UInt8], to subject: String, reply: String = "") -> Bool {
        guard let tag = transport.tag(for: subject) else { return false }
        Array(subject.utf8).withUnsafeBytes { subject in
            Array(reply.utf8).withUnsafeBytes { reply in
                payload.withUnsafeBytes { payload in
                    engine.receive(tag: tag, subject: subject, reply: reply, payload: payload)
                }
            }
        }
        return true
    }

    /// Publishes and returns what came back by the end of the tick.
    func request(_ payload: [UInt8], to subject: String) -> [UInt8]? {
        let reply = inbox()
        send(payload, to: subject, reply: reply)
        settle()
        return transport.take(reply).first?.payload
    }

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
