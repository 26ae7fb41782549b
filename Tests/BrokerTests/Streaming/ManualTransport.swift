import BrokerProtocol

@testable import Broker

/// A transport without sockets: what the engine publishes is kept by subject, and a subject has a
/// receiver when a test says so.
final class ManualTransport: MessageTransport {
    struct Message {
        /// Messages are numbered in the order in which they were sent, over all subjects.
        var order: Int
        var reply: String
        var payload: [UInt8]
    }

    /// Literal subjects that somebody listens on.
    var receivers: Set<String> = []
    /// Subjects whose connection is congested.
    var congested: Set<String> = []
    private var sent: [String: [Message]] = [:]
    private var sentCount = 0
    private(set) var listeners: [(subject: [UInt8], tag: UInt64)] = []
    private(set) var publishersArePaused = false

    func publish(
        subject: UnsafeRawBufferPointer, reply: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer
    ) -> DeliveryOutcome {
        let name = String(decoding: subject, as: UTF8.self)
        guard receivers.contains(name) else { return .none }
        sentCount += 1
        sent[name, default: []].append(
            Message(
                order: sentCount, reply: String(decoding: reply, as: UTF8.self), payload: Array(payload)))
        return DeliveryOutcome(receivers: 1, congested: congested.contains(name))
    }

    func listen(on subject: [UInt8], tag: UInt64) { listeners.append((subject, tag)) }

    func stopListening(on subject: [UInt8], tag: UInt64) {
        listeners.removeAll { $0.subject == subject && $0.tag == tag }
    }

    /// What a new engine finds: nobody has told it to listen yet.
    func forgetListeners() { listeners = [] }

    func hasReceiver(for subject: UnsafeRawBufferPointer) -> Bool {
        receivers.contains(String(decoding: subject, as: UTF8.self))
    }

    func pausePublishers() { publishersArePaused = true }
    func resumePublishers() { publishersArePaused = false }

    /// The tag of the listener that a publish on `subject` reaches.
    func tag(for subject: String) -> UInt64? {
        let name = Array(subject.utf8)
        return listeners.first { Subject.matches(name, pattern: $0.subject) }?.tag
    }

    /// Takes what was sent to `subject` so far.
    func take(_ subject: String) -> [Message] { sent.removeValue(forKey: subject) ?? [] }

    /// How many messages wait at `subject`.
    func waiting(at subject: String) -> Int { sent[subject]?.count ?? 0 }
}
