import BrokerClient
import NIOCore

/// Requesters and responders of NATS core, each requester one request at a time.
final class RequestBench: BenchRun {
    let plan: CoreBenchPlan
    private var ready = 0
    private var requesters: [Requester] = []
    private var doneRequesters = 0
    private var startedAt: UInt64 = 0
    private var endedAt: UInt64 = 0
    fileprivate var latencies = LatencyHistogram()

    init(_ plan: CoreBenchPlan, loop: any EventLoop) {
        self.plan = plan
        super.init(loop: loop)
        for _ in 0..<plan.subscribers { connect(Responder(run: self), plan.client) }
        for index in 0..<plan.publishers {
            let requester = Requester(run: self, count: plan.share(of: index))
            requesters.append(requester)
            connect(requester, plan.client)
        }
    }

    fileprivate func isReady() {
        ready += 1
        guard ready == plan.publishers + plan.subscribers else { return }
        startedAt = BenchClock.now()
        for requester in requesters { requester.send() }
    }

    fileprivate func isDone() {
        doneRequesters += 1
        guard doneRequesters == plan.publishers else { return }
        endedAt = BenchClock.now()
        end(nil)
    }

    /// Requests answered so far.
    var done: Int { Int(latencies.count) }

    /// The result, after the end.
    var report: BenchReport {
        var report = BenchReport(
            title: "Request and reply: \(plan.publishers) requesters, \(plan.subscribers) responders, "
                + "\(Figures.grouped(plan.count)) requests of \(plan.size) bytes, each requester one at a time",
            settings: [
                "kind": .string("request"), "requesters": .integer(Int64(plan.publishers)),
                "responders": .integer(Int64(plan.subscribers)), "size": .integer(Int64(plan.size)),
                "count": .integer(Int64(plan.count)),
            ])
        report.rates.append(
            .init(
                name: "answered", messages: plan.count, bytes: plan.count * plan.size,
                seconds: Double(endedAt - startedAt) / 1e9))
        report.latencies.append(("round trip", latencies))
        return report
    }
}

private final class Requester: BenchRole {
    private unowned let run: RequestBench
    private var remaining: Int
    private var frame = ByteBuffer()
    private var connection: BenchConnection?
    private var sentAt: UInt64 = 0
    private let inbox = "_INBOX." + UniqueName.make()

    init(run: RequestBench, count: Int) {
        self.run = run
        remaining = count
        frame.writeString("PUB \(run.plan.subject) \(inbox) \(run.plan.size)\r\n")
        frame.writeRepeatingByte(UInt8(ascii: "x"), count: run.plan.size)
        frame.writeString("\r\n")
    }

    func begin(_ connection: BenchConnection) {
        self.connection = connection
        connection.write(ByteBuffer(string: "SUB \(inbox) 1\r\nPING\r\n"))
    }

    func ponged(_ connection: BenchConnection) { run.isReady() }

    func send() {
        guard remaining > 0 else {
            run.isDone()
            return
        }
        sentAt = BenchClock.now()
        connection?.write(frame)
    }

    func received(_ message: ServerMessage, on connection: BenchConnection) {
        if unsafe message.saysNoResponders {
            run.end(CommandFailure("\(ClientError.noResponders)"))
            return
        }
        run.latencies.record(BenchClock.now() &- sentAt)
        remaining -= 1
        send()
    }
}

private final class Responder: BenchRole {
    private unowned let run: RequestBench
    private var answers = ByteBuffer()

    init(run: RequestBench) { self.run = run }

    func begin(_ connection: BenchConnection) {
        connection.write(ByteBuffer(string: "SUB \(run.plan.subject) bench 1\r\nPING\r\n"))
    }

    func ponged(_ connection: BenchConnection) { run.isReady() }

    func received(_ message: ServerMessage, on connection: BenchConnection) {
        answers.writeString("PUB ")
        unsafe answers.writeBytes(message.reply)
        unsafe answers.writeString(" \(message.payload.count)\r\n")
        unsafe answers.writeBytes(message.payload)
        answers.writeString("\r\n")
    }

    func endOfRead(_ connection: BenchConnection) {
        guard answers.readableBytes > 0 else { return }
        connection.write(answers)
        answers = ByteBuffer()
    }
}
