import BrokerProtocol

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

    /// What a new engine finds: nobody has told it to listen yet.
    func forgetListeners() { listeners = [] }

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
