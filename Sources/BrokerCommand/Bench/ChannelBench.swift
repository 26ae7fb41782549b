import BrokerClient
import BrokerProtocol
import NIOCore

/// What `bench channel` is to do.
struct ChannelBenchPlan: Sendable {
    var clusterID = "test-cluster"
    var channel = "bench"
    var publishers = 1
    var subscribers = 0
    /// Bytes of payload.
    var size = 128
    /// Messages of all publishers together.
    var count = 100_000
    /// Publishes of one publisher without an acknowledgement.
    var inFlight = 1024
    var client = ClientOptions()

    /// Messages of publisher `index`.
    func share(of index: Int) -> Int { count / publishers + (index < count % publishers ? 1 : 0) }
}

/// Publishers and subscribers of a channel of NATS Streaming.
final class ChannelBench: BenchRun {
    let plan: ChannelBenchPlan
    private var sessions: [ChannelBenchSession] = []
    private var publishers: [ChannelPublisher] = []
    private var subscribers: [ChannelSubscriber] = []
    private var waiting = 0
    private var donePublishers = 0
    private var startedAt: UInt64 = 0
    private var publishedAt: UInt64 = 0
    private var receivedAt: UInt64 = 0
    private var isClosing = false
    fileprivate var acknowledged = 0
    fileprivate var latencies = LatencyHistogram()
    fileprivate var errors = 0
    fileprivate var firstError: String?

    init(_ plan: ChannelBenchPlan, loop: any EventLoop) {
        self.plan = plan
        super.init(loop: loop)
        waiting = plan.subscribers + plan.publishers
        for _ in 0..<plan.subscribers {
            let subscriber = ChannelSubscriber(run: self)
            subscribers.append(subscriber)
            sessions.append(subscriber)
        }
        for index in 0..<plan.publishers {
            let publisher = ChannelPublisher(run: self, count: plan.share(of: index))
            publishers.append(publisher)
            sessions.append(publisher)
        }
        for session in sessions { connect(session, plan.client) }
    }

    fileprivate func ready() {
        waiting -= 1
        guard waiting == 0 else { return }
        startedAt = BenchClock.now()
        for publisher in publishers { publisher.start() }
    }

    fileprivate func publisherDone() {
        donePublishers += 1
        if donePublishers == plan.publishers { publishedAt = BenchClock.now() }
        closeIfDone()
    }

    fileprivate func subscriberProgressed() {
        // What was refused is not delivered.
        guard donePublishers == plan.publishers else { return }
        closeIfDone()
    }

    private func closeIfDone() {
        guard donePublishers == plan.publishers, !isClosing,
            subscribers.allSatisfy({ $0.received >= plan.count - errors })
        else { return }
        isClosing = true
        receivedAt = BenchClock.now()
        waiting = sessions.count
        for session in sessions { session.leave() }
        // A server that does not answer the close must not hold the result back.
        loop.assumeIsolated().scheduleTask(in: .seconds(2)) { self.end(nil) }
    }

    fileprivate func left() {
        waiting -= 1
        if waiting == 0 { end(nil) }
    }

    /// Messages that are through.
    var done: Int { subscribers.map(\.received).min() ?? acknowledged }

    /// The result, after the end.
    var report: BenchReport {
        var report = BenchReport(
            title: "NATS Streaming: \(plan.publishers) publishers, \(plan.subscribers) subscribers, "
                + "\(Figures.grouped(plan.count)) messages of \(plan.size) bytes, \(plan.inFlight) in flight",
            settings: [
                "kind": .string("channel"), "publishers": .integer(Int64(plan.publishers)),
                "subscribers": .integer(Int64(plan.subscribers)), "size": .integer(Int64(plan.size)),
                "count": .integer(Int64(plan.count)), "in_flight": .integer(Int64(plan.inFlight)),
            ])
        report.errors = errors
        if let firstError { report.settings["first_error"] = .string(firstError) }
        report.rates.append(
            .init(
                name: "acknowledged", messages: acknowledged, bytes: acknowledged * plan.size,
                seconds: Double(publishedAt - startedAt) / 1e9))
        if !subscribers.isEmpty {
            let received = subscribers.map(\.received).reduce(0, +)
            report.rates.append(
                .init(
                    name: "delivered", messages: received, bytes: received * plan.size,
                    seconds: Double(receivedAt - startedAt) / 1e9))
        }
        report.latencies.append(("acknowledgement", latencies))
        return report
    }
}

/// A client of NATS Streaming: registers, answers heartbeats, leaves.
private class ChannelBenchSession: BenchRole {
    unowned let run: ChannelBench
    let clientID = "bench-" + UniqueName.make()
    let connectionID = UniqueName.make()
    let acksInbox = "_STAN.acks." + UniqueName.make()
    private let heartbeatInbox = "_INBOX." + UniqueName.make()
    let answerInbox = "_INBOX." + UniqueName.make()
    private(set) var subjects = ConnectResponse()
    private(set) var connection: BenchConnection?
    private var isLeaving = false

    // The ids of the subscriptions.
    static let answers: UInt64 = 1
    static let heartbeats: UInt64 = 2
    static let acks: UInt64 = 3
    static let messages: UInt64 = 4

    init(run: ChannelBench) { self.run = run }

    func begin(_ connection: BenchConnection) {
        self.connection = connection
        var lines = ByteBuffer(
            string: "SUB \(answerInbox) 1\r\nSUB \(heartbeatInbox) 2\r\nSUB \(acksInbox) 3\r\n")
        var request = ConnectRequest()
        request.clientID = Array(clientID.utf8)
        request.heartbeatInbox = Array(heartbeatInbox.utf8)
        request.protocolVersion = 1
        request.connectionID = Array(connectionID.utf8)
        lines.writePublish("_STAN.discover.\(run.plan.clusterID)", reply: answerInbox, request.encoded())
        connection.write(lines)
    }

    func received(_ message: ServerMessage, on connection: BenchConnection) {
        switch unsafe message.subscriptionID {
        case Self.answers: unsafe answered(message)
        case Self.heartbeats:
            var line = ByteBuffer()
            unsafe line.writePublish(String(decoding: message.reply, as: UTF8.self), [])
            connection.write(line)
        default: unsafe work(message)
        }
    }

    private func answered(_ message: ServerMessage) {
        if isLeaving {
            run.left()
            return
        }
        if unsafe message.saysNoResponders {
            run.end(CommandFailure("\(StreamingError.noStreamingServer(clusterID: run.plan.clusterID))"))
            return
        }
        if subjects.publishPrefix.isEmpty {
            guard let response = unsafe ConnectResponse(decoding: message.payload), response.error.isEmpty
            else {
                let response = unsafe ConnectResponse(decoding: message.payload)
                run.end(
                    CommandFailure(
                        String(decoding: response?.error ?? Array("bad connect response".utf8), as: UTF8.self)
                    ))
                return
            }
            subjects = response
            registered()
        } else {
            unsafe answeredFurther(message)
        }
    }

    func leave() {
        isLeaving = true
        var request = CloseRequest()
        request.clientID = Array(clientID.utf8)
        var line = ByteBuffer()
        line.writePublish(
            String(decoding: subjects.closeRequests, as: UTF8.self), reply: answerInbox, request.encoded())
        connection?.write(line)
    }

    /// The client is registered.
    func registered() {}
    /// An answer after that of the registration.
    func answeredFurther(_ message: ServerMessage) {}
    /// An acknowledgement or a message of the channel.
    func work(_ message: ServerMessage) {}
    func endOfRead(_ connection: BenchConnection) {}
    func canWrite(_ connection: BenchConnection) {}
}

/// Publishes with a window of frames that were encoded once: a slot of the window is a guid.
private final class ChannelPublisher: ChannelBenchSession {
    private var remaining: Int
    private var unacknowledged = 0
    private let window: Int
    /// A frame for each slot, one after the other, all of one length.
    private var frames = ByteBuffer()
    private var frameLength = 0
    private var nextSlot = 0
    private var sentAt: [UInt64]

    init(run: ChannelBench, count: Int) {
        remaining = count
        window = max(1, min(run.plan.inFlight, 1_000_000))
        sentAt = [UInt64](repeating: 0, count: window)
        super.init(run: run)
    }

    override func registered() {
        let prefix = String(decoding: subjects.publishPrefix, as: UTF8.self)
        let payload = [UInt8](repeating: UInt8(ascii: "x"), count: run.plan.size)
        for slot in 0..<window {
            // Seven digits, so that every frame has the same length.
            let guid = String(10_000_000 + slot)
            let body = ChannelFrames.publish(
                clientID: clientID, guid: guid, channel: run.plan.channel, payload: payload,
                connectionID: connectionID)
            let start = frames.writerIndex
            frames.writePublish("\(prefix).\(run.plan.channel)", reply: acksInbox, body)
            frameLength = frames.writerIndex - start
        }
        run.ready()
    }

    /// Everybody is registered and subscribed: what is published before has nobody to deliver to.
    func start() {
        hasStarted = true
        pump()
    }

    private func pump() {
        guard let connection else { return }
        var room = min(window - unacknowledged, remaining)
        guard room > 0 else { return }
        let now = BenchClock.now()
        while room > 0 {
            let count = min(room, window - nextSlot)
            guard let slice = frames.getSlice(at: nextSlot * frameLength, length: count * frameLength) else {
                return
            }
            connection.append(slice)
            for slot in nextSlot..<nextSlot + count { sentAt[slot] = now }
            nextSlot = (nextSlot + count) % window
            unacknowledged += count
            remaining -= count
            room -= count
        }
        connection.flush()
    }

    override func work(_ message: ServerMessage) {
        guard let ack = unsafe PubAck(decoding: message.payload) else { return }
        unacknowledged -= 1
        if unsafe ack.error.isEmpty {
            run.acknowledged += 1
        } else {
            run.errors += 1
            if run.firstError == nil { unsafe run.firstError = String(decoding: ack.error, as: UTF8.self) }
        }
        var slot = 0
        for index in 0..<(unsafe ack.guid.count) {
            unsafe slot = slot &* 10 &+ Int(ack.guid[index] &- UInt8(ascii: "0"))
        }
        slot &-= 10_000_000
        guard sentAt.indices.contains(slot) else { return }
        run.latencies.record(readAt() &- sentAt[slot])
    }

    /// The time of this wake-up, read once.
    private var timeOfRead: UInt64 = 0
    private func readAt() -> UInt64 {
        if timeOfRead == 0 { timeOfRead = BenchClock.now() }
        return timeOfRead
    }

    override func endOfRead(_ connection: BenchConnection) {
        timeOfRead = 0
        // The run may be over and gone by now: nothing of it is touched unless this publisher is at work.
        guard hasStarted, !isDone else { return }
        pump()
        if remaining == 0, unacknowledged == 0 {
            isDone = true
            run.publisherDone()
        }
    }

    private var hasStarted = false
    private var isDone = false
}

/// Subscribes from now on and acknowledges each message.
private final class ChannelSubscriber: ChannelBenchSession {
    private(set) var received = 0
    private var ackInbox = ""
    private var acks = ByteBuffer()
    private let inbox = "_INBOX." + UniqueName.make()
    private var channelBytes: [UInt8] = []

    override func registered() {
        channelBytes = Array(run.plan.channel.utf8)
        var request = SubscriptionRequest()
        request.clientID = Array(clientID.utf8)
        request.subject = channelBytes
        request.inbox = Array(inbox.utf8)
        request.maxInFlight = Int32(clamping: max(run.plan.inFlight, 1024))
        request.ackWaitSeconds = 30
        var lines = ByteBuffer(string: "SUB \(inbox) 4\r\n")
        lines.writePublish(
            String(decoding: subjects.subscribeRequests, as: UTF8.self), reply: answerInbox, request.encoded()
        )
        connection?.write(lines)
    }

    override func answeredFurther(_ message: ServerMessage) {
        guard let response = unsafe SubscriptionResponse(decoding: message.payload), response.error.isEmpty
        else {
            let response = unsafe SubscriptionResponse(decoding: message.payload)
            run.end(
                CommandFailure(
                    String(decoding: response?.error ?? Array("bad subscribe response".utf8), as: UTF8.self)))
            return
        }
        ackInbox = String(decoding: response.ackInbox, as: UTF8.self)
        run.ready()
    }

    override func work(_ message: ServerMessage) {
        guard let stored = unsafe MsgProto(decoding: message.payload) else { return }
        // Only first deliveries count: a copy is not another message.
        if !stored.redelivered { received += 1 }
        let sequence = stored.sequence
        unsafe channelBytes.withUnsafeBytes { channel in
            let ack = unsafe Ack(subject: channel, sequence: sequence)
            let size = ack.encodedSize
            acks.writeString("PUB ")
            acks.writeString(ackInbox)
            acks.writeString(" \(size)\r\n")
            unsafe acks.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { memory in
                unsafe ack.encode(into: UnsafeMutableRawBufferPointer(rebasing: memory[..<size]))
            }
            acks.writeString("\r\n")
        }
    }

    override func endOfRead(_ connection: BenchConnection) {
        guard acks.readableBytes > 0 else { return }
        connection.write(acks)
        acks = ByteBuffer()
        run.subscriberProgressed()
    }
}

/// Frames of the streaming protocol.
enum ChannelFrames {
    /// An encoded `PubMsg`.
    static func publish(
        clientID: String, guid: String, channel: String, payload: [UInt8], connectionID: String
    ) -> [UInt8] {
        let (clientID, guid, channel, connectionID) = (
            Array(clientID.utf8), Array(guid.utf8), Array(channel.utf8), Array(connectionID.utf8)
        )
        // The views live as long as the arrays, which the nesting keeps.
        return unsafe clientID.withUnsafeBytes { clientID in
            unsafe guid.withUnsafeBytes { guid in
                unsafe channel.withUnsafeBytes { channel in
                    unsafe payload.withUnsafeBytes { payload in
                        unsafe connectionID.withUnsafeBytes { connectionID in
                            var message = PubMsg()
                            unsafe message.clientID = clientID
                            unsafe message.guid = guid
                            unsafe message.subject = channel
                            unsafe message.data = payload
                            unsafe message.connectionID = connectionID
                            return unsafe [UInt8](unsafeUninitializedCapacity: message.encodedSize) {
                                memory, count in
                                count = unsafe message.encode(into: UnsafeMutableRawBufferPointer(memory))
                            }
                        }
                    }
                }
            }
        }
    }
}

extension ByteBuffer {
    /// Appends a PUB.
    mutating func writePublish(_ subject: String, reply: String = "", _ payload: [UInt8]) {
        writeString("PUB \(subject) \(reply.isEmpty ? "" : reply + " ")\(payload.count)\r\n")
        writeBytes(payload)
        writeString("\r\n")
    }
}
