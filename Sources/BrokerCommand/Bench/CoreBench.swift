import BrokerClient
import Glibc
import NIOCore

/// What `bench core` is to do.
struct CoreBenchPlan: Sendable {
    var subject = "bench"
    var publishers = 1
    var subscribers = 0
    /// Bytes of payload.
    var size = 128
    /// Messages of all publishers together.
    var count = 1_000_000
    var client = ClientOptions()

    /// Messages of publisher `index`: the first ones take what does not divide.
    func share(of index: Int) -> Int { count / publishers + (index < count % publishers ? 1 : 0) }
}

/// Publishers and subscribers of NATS core at full speed.
///
/// A publisher writes blocks of many frames that were made once. It stays at most 16 MiB ahead of the slowest subscriber:
/// a server cuts off who is 64 MiB behind. Every eighth block has the time in its first message, for the latency.
final class CoreBench: BenchRun {
    let plan: CoreBenchPlan
    private var publishers: [CorePublisher] = []
    private var subscribers: [CoreSubscriber] = []
    private var readySubscribers = 0
    private var donePublishers = 0
    private(set) var sent = 0
    private(set) var startedAt: UInt64 = 0
    private var publishedAt: UInt64 = 0
    private var receivedAt: UInt64 = 0

    init(_ plan: CoreBenchPlan, loop: any EventLoop) {
        self.plan = plan
        super.init(loop: loop)
        for _ in 0..<plan.subscribers {
            let subscriber = CoreSubscriber(run: self)
            subscribers.append(subscriber)
            connect(subscriber, plan.client)
        }
        for index in 0..<plan.publishers {
            let publisher = CorePublisher(run: self, count: plan.share(of: index))
            publishers.append(publisher)
            connect(publisher, plan.client)
        }
    }

    /// Messages that may be sent now without leaving a subscriber too far behind.
    var allowance: Int {
        guard let slowest = subscribers.map(\.received).min() else { return .max }
        let window = max(1, (16 << 20) / (plan.size + 64))
        return window - (sent - slowest)
    }

    fileprivate func ready() {
        readySubscribers += 1
        guard readySubscribers == plan.subscribers + plan.publishers else { return }
        startedAt = BenchClock.now()
        for publisher in publishers { publisher.pump() }
    }

    fileprivate func didSend(_ count: Int) { sent += count }

    fileprivate func publisherDone() {
        donePublishers += 1
        if donePublishers == plan.publishers { publishedAt = BenchClock.now() }
        endIfDone()
    }

    fileprivate func subscriberProgressed() {
        for publisher in publishers { publisher.pump() }
        if subscribers.allSatisfy({ $0.received >= plan.count }) {
            if receivedAt == 0 { receivedAt = BenchClock.now() }
            endIfDone()
        }
    }

    private func endIfDone() {
        guard donePublishers == plan.publishers, subscribers.allSatisfy({ $0.received >= plan.count }) else {
            return
        }
        end(nil)
    }

    /// How many messages are through.
    var done: Int { subscribers.map(\.received).min() ?? sent }

    /// The result, after the end.
    var report: BenchReport {
        var report = BenchReport(
            title: "NATS core: \(plan.publishers) publishers, \(plan.subscribers) subscribers, "
                + "\(Figures.grouped(plan.count)) messages of \(plan.size) bytes",
            settings: [
                "kind": .string("core"), "publishers": .integer(Int64(plan.publishers)),
                "subscribers": .integer(Int64(plan.subscribers)), "size": .integer(Int64(plan.size)),
                "count": .integer(Int64(plan.count)),
            ])
        report.rates.append(
            .init(
                name: "published", messages: plan.count, bytes: plan.count * plan.size,
                seconds: Double(publishedAt - startedAt) / 1e9))
        guard !subscribers.isEmpty else { return report }
        let received = subscribers.map(\.received).reduce(0, +)
        report.rates.append(
            .init(
                name: "delivered", messages: received, bytes: received * plan.size,
                seconds: Double(receivedAt - startedAt) / 1e9))
        report.latencies.append(("latency", subscribers[0].latencies))
        return report
    }
}

/// Writes frames.
private final class CorePublisher: BenchRole {
    private unowned let run: CoreBench
    private var remaining: Int
    private var connection: BenchConnection?
    /// Many frames, and where the payload of the first one begins.
    private var block = ByteBuffer()
    private var frameLength = 0
    private var framesPerBlock = 0
    private let payloadOffset: Int
    private var blocks = 0
    private var isFinishing = false

    init(run: CoreBench, count: Int) {
        self.run = run
        remaining = count
        let line = "PUB \(run.plan.subject) \(run.plan.size)\r\n"
        payloadOffset = line.utf8.count
        var frame = ByteBuffer(string: line)
        frame.writeRepeatingByte(0, count: run.plan.size)
        frame.writeString("\r\n")
        frameLength = frame.readableBytes
        framesPerBlock = max(1, 65_536 / frameLength)
        for _ in 0..<framesPerBlock { block.writeImmutableBuffer(frame) }
    }

    func begin(_ connection: BenchConnection) {
        self.connection = connection
        run.ready()
    }

    func received(_ message: ServerMessage, on connection: BenchConnection) {}

    func canWrite(_ connection: BenchConnection) { pump() }

    func pump() {
        guard run.startedAt > 0, let connection, !isFinishing else { return }
        var didWrite = false
        while remaining > 0, connection.isWritable {
            let frames = min(framesPerBlock, remaining, run.allowance)
            guard frames > 0 else { break }
            if blocks % 8 == 0, run.plan.subscribers > 0, run.plan.size >= 8 {
                block.setInteger(BenchClock.now(), at: payloadOffset)
            } else if blocks % 8 == 1, run.plan.size >= 8 {
                block.setInteger(UInt64(0), at: payloadOffset)
            }
            blocks += 1
            guard let slice = block.getSlice(at: 0, length: frames * frameLength) else { break }
            connection.append(slice)
            didWrite = true
            remaining -= frames
            run.didSend(frames)
        }
        if remaining == 0 {
            isFinishing = true
            connection.append(ByteBuffer(string: "PING\r\n"))
            didWrite = true
        }
        if didWrite { connection.flush() }
    }

    func ponged(_ connection: BenchConnection) { run.publisherDone() }
}

/// Counts frames.
private final class CoreSubscriber: BenchRole {
    private unowned let run: CoreBench
    private(set) var received = 0
    private(set) var latencies = LatencyHistogram()
    private var isReady = false
    /// The line of every message, once one was read.
    private var line: [UInt8] = []
    private let size: Int
    private let hasTimes: Bool

    init(run: CoreBench) {
        self.run = run
        size = run.plan.size
        hasTimes = size >= 8
    }

    func begin(_ connection: BenchConnection) {
        connection.write(ByteBuffer(string: "SUB \(run.plan.subject) 1\r\nPING\r\n"))
    }

    func ponged(_ connection: BenchConnection) {
        if !isReady { run.ready() }
        isReady = true
    }

    func received(_ message: ServerMessage, on connection: BenchConnection) {
        if line.isEmpty, unsafe message.payload.count == size {
            unsafe line = Array(
                "MSG \(String(decoding: message.subject, as: UTF8.self)) \(message.subscriptionID) \(size)\r\n"
                    .utf8)
        }
        unsafe count(message.payload)
    }

    private func count(_ payload: UnsafeRawBufferPointer) {
        received += 1
        guard hasTimes, payload.count >= 8 else { return }
        let sentAt = unsafe UInt64(bigEndian: payload.loadUnaligned(as: UInt64.self))
        if sentAt != 0 { latencies.record(BenchClock.now() &- sentAt) }
    }

    /// Frames that look like the one before are compared and counted without being taken apart.
    func receivedBlock(_ input: UnsafeRawBufferPointer) -> Int {
        guard !line.isEmpty else { return 0 }
        let lineLength = line.count
        let frameLength = lineLength + size + 2
        var position = 0
        unsafe line.withUnsafeBytes { line in
            guard let expected = line.baseAddress, let base = input.baseAddress else { return }
            while input.count - position >= frameLength {
                let frame = unsafe base + position
                guard unsafe memcmp(frame, expected, lineLength) == 0,
                    unsafe frame.load(fromByteOffset: frameLength - 1, as: UInt8.self) == UInt8(ascii: "\n")
                else { return }
                received += 1
                if hasTimes {
                    let sentAt = unsafe UInt64(
                        bigEndian: frame.loadUnaligned(fromByteOffset: lineLength, as: UInt64.self))
                    if sentAt != 0 { latencies.record(BenchClock.now() &- sentAt) }
                }
                position += frameLength
            }
        }
        return position
    }

    func endOfRead(_ connection: BenchConnection) { if isReady { run.subscriberProgressed() } }
}
