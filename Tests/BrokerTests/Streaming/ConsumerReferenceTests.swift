import Testing

@testable import Broker

/// What durable consumers of one channel must do, as simply as it can be said. Time goes in multiples of
/// 20 ms, so that no two deadlines lie closer than the slack of a redelivery.
private struct Reference {
    struct Sent: Equatable {
        var sequence: UInt64
        var isAgain: Bool
    }

    struct Reader {
        var maxInFlight = 0
        var wait: UInt64 = 0
        /// Nil while it is offline.
        var subscription: EngineFixture.Subscribed?
        var cursor: UInt64 = 0
        /// Sequence → when it is sent again.
        var pending: [UInt64: UInt64] = [:]
        /// After a restart the broker looks for the client's inbox at this time first.
        var found: UInt64?
        /// What the client must have received since it was looked.
        var sent: [Sent] = []
    }

    let limit: Int
    var now: UInt64
    var first: UInt64 = 1
    var last: UInt64 = 0
    var stored: [UInt64: UInt64] = [:]
    var readers: [String: Reader] = [:]
    var acknowledged: UInt64 = 0
    var redelivered: UInt64 = 0

    mutating func publish(_ count: Int) {
        for _ in 0..<count {
            last += 1
            stored[last] = now
        }
        if limit > 0, last > UInt64(limit) { first = max(first, last - UInt64(limit) + 1) }
        flow()
    }

    mutating func purge(upTo sequence: UInt64) {
        first = max(first, min(sequence, last) + 1)
        for name in readers.keys {
            let kept = readers[name]?.pending.filter { $0.key >= first } ?? [:]
            readers[name]?.pending = kept
        }
        flow()
    }

    mutating func acknowledge(_ sequence: UInt64, by name: String) {
        guard readers[name]?.pending.removeValue(forKey: sequence) != nil else { return }
        acknowledged += 1
        flow()
    }

    mutating func online(
        _ name: String, _ subscription: EngineFixture.Subscribed, maxInFlight: Int, wait: UInt64
    ) {
        var reader = readers[name] ?? Reader()
        reader.subscription = subscription
        reader.maxInFlight = maxInFlight
        reader.wait = wait
        reader.found = nil
        reader.sent = []
        for sequence in reader.pending.keys.sorted() { again(sequence, next: now + wait, &reader) }
        readers[name] = reader
        flow()
    }

    mutating func offline(_ name: String) {
        readers[name]?.subscription = nil
        readers[name]?.found = nil
    }

    mutating func restart() {
        acknowledged = 0
        redelivered = 0
        for name in readers.keys where readers[name]?.subscription != nil {
            readers[name]?.found = now + 100_000_000
        }
    }

    /// A multiple of 20 ms passes.
    mutating func pass(milliseconds: UInt64) {
        for _ in 0..<(milliseconds / 20) { tick() }
    }

    private mutating func tick() {
        now += 20_000_000
        for name in readers.keys {
            guard var reader = readers[name], reader.subscription != nil else { continue }
            if reader.found == now {
                reader.found = nil
                for sequence in reader.pending.keys.sorted() {
                    let due = (stored[sequence] ?? 0) + reader.wait
                    if due <= now || sequence < first {
                        again(sequence, next: now + reader.wait, &reader)
                    } else {
                        reader.pending[sequence] = due
                    }
                }
            } else if reader.found == nil {
                let due = reader.pending.filter { $0.value <= now }
                for (sequence, deadline) in due.sorted(by: { ($0.value, $0.key) < ($1.value, $1.key) }) {
                    again(sequence, next: deadline + reader.wait, &reader)
                }
            }
            readers[name] = reader
        }
        flow()
    }

    /// Sends a pending message again; one that the channel has lost since counts as done with.
    private mutating func again(_ sequence: UInt64, next: UInt64, _ reader: inout Reader) {
        guard sequence >= first else {
            reader.pending[sequence] = nil
            return
        }
        reader.pending[sequence] = next
        reader.sent.append(Sent(sequence: sequence, isAgain: true))
        redelivered += 1
    }

    /// Everybody gets what he may have: no waiting for a tick, no stall.
    private mutating func flow() {
        for name in readers.keys {
            guard var reader = readers[name], reader.subscription != nil, reader.found == nil else {
                continue
            }
            while reader.pending.count < reader.maxInFlight, reader.cursor < last {
                reader.cursor = min(max(reader.cursor + 1, first), last)
                guard reader.cursor >= first else { break }
                reader.pending[reader.cursor] = now + reader.wait
                reader.sent.append(Sent(sequence: reader.cursor, isAgain: false))
            }
            readers[name] = reader
        }
    }
}

@Suite("Streaming: durables against a reference, to the message and to the counter")
struct ConsumerReferenceTests {
    private static let names = ["a", "b", "c"]

    /// Everything that can be compared is compared.
    private func compare(_ fixture: EngineFixture, _ model: inout Reference, _ note: String) -> Bool {
        var isRight =
            fixture.engine.redeliveredMessages == model.redelivered
            && fixture.engine.acknowledgedMessages == model.acknowledged
        #expect(fixture.engine.redeliveredMessages == model.redelivered, "\(note)")
        #expect(fixture.engine.acknowledgedMessages == model.acknowledged, "\(note)")
        for name in Self.names {
            guard let reader = model.readers[name] else { continue }
            if let subscription = reader.subscription {
                let got = fixture.delivered(to: subscription.inbox)
                    .map { Reference.Sent(sequence: $0.sequence, isAgain: $0.redelivered) }
                #expect(got == reader.sent, "\(name): \(note)")
                isRight = isRight && got == reader.sent
                model.readers[name]?.sent = []
            }
            let consumer = fixture.engine.channels.values.flatMap(\.consumers)
                .first { $0.kind == .durable(name: Array(name.utf8)) }
            let pending = consumer?.members[0].pending.sequences ?? []
            #expect(pending == reader.pending.keys.sorted(), "\(name): \(note)")
            isRight = isRight && pending == reader.pending.keys.sorted()
        }
        return isRight
    }

    @Test(
        "publish, acknowledge early and late, leave, take over, expire, purge, restart: nothing differs",
        arguments: 0..<40 as Range<UInt64>)
    func history(run: UInt64) throws {
        let seed = engineSeed() &+ run
        var random = SeededGenerator(seed: seed &* 977)
        let limit = [0, 0, 12, 40][Int(random.next() % 4)]
        let fixture = try EngineFixture(
            storage: random.next() % 4 == 0 ? .memory : .disk(seed: seed)
        ) {
            $0.replaceDurable = true
            $0.maxMessages = limit
            $0.heartbeatIntervalNanoseconds = 3_600_000_000_000
        }
        let canRestart = if case .disk = fixture.storage { true } else { false }
        fixture.join("me")
        fixture.publish(numbers: 1...1, to: "foo")
        var model = Reference(limit: limit, now: fixture.clock.now)
        model.publish(1)
        var trace: [String] = []
        for number in 0..<150 {
            let name = Self.names[Int(random.next() % 3)]
            switch random.next() % 20 {
            case 0..<5:
                let count = Int(1 + random.next() % 8)
                trace.append("publish \(count)")
                fixture.publish(numbers: 1...count, to: "foo")
                model.publish(count)
            case 5..<11:
                guard let reader = model.readers[name], let subscription = reader.subscription else {
                    continue
                }
                // Old ones too, and some that were never sent.
                for _ in 0..<(1 + random.next() % 5) {
                    let sequence =
                        random.next() % 5 == 0
                        ? 1 + random.next() % (model.last + 2)
                        : reader.pending.keys.sorted().randomElement(using: &random) ?? 1
                    trace.append("ack \(sequence) by \(name)")
                    fixture.acknowledge(sequence, on: "foo", at: subscription.ackInbox)
                    model.acknowledge(sequence, by: name)
                }
            case 11..<14:
                // A new subscribe, a resume, or a take-over of one that is online.
                let maxInFlight = [1, 3, 10, 100][Int(random.next() % 4)]
                let wait = 1 + random.next() % 3
                let old = model.readers[name]?.subscription
                trace.append("subscribe \(name) \(maxInFlight) \(wait)s")
                let subscription = fixture.subscribe(
                    "foo", durable: name, start: .first, maxInFlight: Int32(maxInFlight), ackWait: Int32(wait)
                )
                #expect(subscription.error == "")
                if model.readers[name] == nil {
                    model.readers[name] = Reference.Reader()
                    model.readers[name]?.cursor = model.first - 1
                }
                model.online(name, subscription, maxInFlight: maxInFlight, wait: wait * 1_000_000_000)
                if let old {
                    #expect(!fixture.acknowledge(1, on: "foo", at: old.ackInbox), "the old one is gone")
                }
            case 14:
                guard let subscription = model.readers[name]?.subscription else { continue }
                trace.append("close \(name)")
                #expect(fixture.unsubscribe("foo", inbox: subscription.ackInbox, closing: true) == "")
                model.offline(name)
            case 15:
                let sequence = 1 + random.next() % (model.last + 1)
                trace.append("purge \(sequence)")
                #expect(fixture.ask(.purge(.upTo(sequence: sequence)), "foo")?.contains("error") == false)
                model.purge(upTo: sequence)
            case 16 where canRestart:
                // Deliveries and acknowledgements are on disk after 50 ms; so are those of what came due meanwhile, after as many.
                var settles = 0
                repeat {
                    fixture.advance(milliseconds: 60)
                    model.pass(milliseconds: 60)
                    guard compare(fixture, &model, "seed \(seed), before restart: \(trace.suffix(12))") else {
                        return
                    }
                    settles += 1
                } while !fixture.engine.unsaved.isEmpty && settles < 20
                #expect(fixture.engine.unsaved.isEmpty, "seed \(seed)")
                let kind = random.next() % 4
                trace.append("restart \(kind)")
                switch kind {
                case 0: try fixture.restart()
                case 1: try fixture.crash(.process)
                case 2: try fixture.crash(.dropAll)
                default: try fixture.crash(.random)
                }
                model.restart()
            default:
                let time = 100 * (1 + random.next() % 15)
                trace.append("\(time) ms")
                fixture.advance(milliseconds: time)
                model.pass(milliseconds: time)
            }
            let note =
                "ENGINE_SEED=\(seed) swift test --filter ConsumerReferenceTests; step \(number), limit \(limit), now \(model.now): \(trace.suffix(12))"
            guard compare(fixture, &model, note) else { return }
        }
    }
}
