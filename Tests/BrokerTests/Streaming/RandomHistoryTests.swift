import BrokerLog
import Testing

@testable import Broker

/// What the clients of a random history saw, and what follows from it. It knows nothing of the engine:
/// numbers that were acknowledged, deliveries that arrived, acknowledgements that were sent.
struct HistoryModel {
    /// One durable or one queue group of one channel.
    struct Reader {
        /// First sequence that it must get.
        var start: UInt64 = 1
        var delivered: Set<UInt64> = []
        /// Delivered, and the broker cannot have forgotten it: in this run, or on disk since.
        var known: Set<UInt64> = []
        var knownOnDisk: Set<UInt64> = []
        /// Acknowledged by whoever held the message, and on disk since.
        var settled: Set<UInt64> = []
        /// Acknowledged, but a crash may have forgotten it.
        var unsettled: Set<UInt64> = []

        /// What held in `earlier` is on disk.
        mutating func sync(_ earlier: Reader) {
            settled.formUnion(earlier.unsettled)
            unsettled.subtract(earlier.unsettled)
            knownOnDisk.formUnion(earlier.known)
        }

        mutating func crash() {
            unsettled = []
            known = knownOnDisk
        }
    }

    /// What was published with a success answer: sequence → data.
    var stored: [UInt64: String] = [:]
    var readers: [String: Reader] = [:]
    private(set) var faults: [String] = []

    mutating func fault(_ text: String) { faults.append(text) }

    /// `reader` received `message`.
    mutating func delivered(_ message: EngineFixture.Delivered, to reader: String) {
        if let data = stored[message.sequence], data != message.data {
            fault("\(reader) got \(message.data) as \(message.sequence) in place of \(data)")
        }
        stored[message.sequence] = message.data
        if readers[reader]?.settled.contains(message.sequence) == true {
            fault("\(reader) got \(message.sequence) again after its acknowledgement was on disk")
        }
        readers[reader]?.delivered.insert(message.sequence)
        readers[reader]?.known.insert(message.sequence)
    }

    /// The broker heard an acknowledgement. That of a delivery which a crash made it forget is of
    /// nothing: the message comes again.
    mutating func acknowledged(_ sequence: UInt64, to reader: String) {
        guard readers[reader]?.known.contains(sequence) == true else { return }
        readers[reader]?.unsettled.insert(sequence)
    }

    /// Everything acknowledged up to an earlier moment is on disk; what was delivered since may not be.
    mutating func synced(_ earlier: HistoryModel) {
        for (name, reader) in earlier.readers { readers[name]?.sync(reader) }
    }

    mutating func crashed() {
        for name in readers.keys.sorted() { readers[name]?.crash() }
    }
}

/// Clients, a durable and a durable queue group on one channel, driven by a seed.
final class RandomHistory {
    private struct Open {
        var client: String
        var reader: String
        var subscription: EngineFixture.Subscribed
        /// Received and not acknowledged yet.
        var inHand: [UInt64] = []
    }

    let seed: UInt64
    private var random: SeededGenerator
    let fixture: EngineFixture
    var model = HistoryModel()
    private var subscriptions: [Open] = []
    private var connected: Set<String> = []
    private var published = 0
    private let clients = ["a", "b", "c"]
    private let crashes: Bool

    init(seed: UInt64, storage: EngineFixture.Storage, crashes: Bool) throws {
        self.seed = seed
        self.crashes = crashes
        random = SeededGenerator(seed: seed)
        fixture = try EngineFixture(storage: storage) { options in
            options.heartbeatIntervalNanoseconds = 2_000_000_000
            options.heartbeatTimeoutNanoseconds = 500_000_000
            options.maxFailedHeartbeats = 2
        }
        _ = fixture.connect("publisher")
        // Both exist from the start, so that they must get everything.
        _ = fixture.connect("a")
        connected = ["a"]
        open("durable", by: "a")
        open("group", by: "a")
    }

    private func chance(_ outOf: UInt64) -> Bool { random.next() % outOf == 0 }

    private func pick<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[Int(random.next() % UInt64(elements.count))]
    }

    private func open(_ reader: String, by client: String) {
        let isGroup = reader == "group"
        if !isGroup && (client != "a" || subscriptions.contains { $0.reader == reader }) { return }
        let subscription = fixture.subscribe(
            "foo", by: client, queue: isGroup ? "q" : "", durable: "d", start: .first,
            maxInFlight: Int32([1, 3, 100][Int(random.next() % 3)]), ackWait: Int32(1 + random.next() % 3))
        if subscription.error != "" {
            return model.fault("subscribe \(reader) by \(client): \(subscription.error)")
        }
        if model.readers[reader] == nil { model.readers[reader] = HistoryModel.Reader() }
        subscriptions.append(Open(client: client, reader: reader, subscription: subscription))
    }

    /// One thing that happens.
    func step() throws {
        switch random.next() % 16 {
        case 0...3: publish()
        case 4...7: acknowledge()
        case 8: fixture.advance(milliseconds: random.next() % 60)
        case 9: fixture.advance(milliseconds: random.next() % 1_500)
        case 10: connect()
        case 11: leave()
        case 12: vanish()
        case 13: comeBack()
        case 14: if chance(3) { settleOnDisk() }
        default: if crashes && chance(4) { try crash() }
        }
        receive()
        checkHolders()
    }

    private func publish() {
        for _ in 0..<(1 + random.next() % 5) {
            published += 1
            if let error = fixture.publish("\(published)", to: "foo", by: "publisher") {
                model.fault("publish \(published): \(error)")
            }
        }
    }

    private func receive() {
        for index in subscriptions.indices {
            for message in fixture.delivered(to: subscriptions[index].subscription.inbox) {
                model.delivered(message, to: subscriptions[index].reader)
                subscriptions[index].inHand.append(message.sequence)
            }
        }
    }

    /// Somebody acknowledges something that it received, however late.
    private func acknowledge() {
        guard let index = pick(Array(subscriptions.indices)) else { return }
        let open = subscriptions[index]
        for _ in 0..<(1 + random.next() % 6) {
            guard let sequence = pick(subscriptions[index].inHand) else { return }
            subscriptions[index].inHand.removeAll { $0 == sequence }
            if fixture.acknowledge(sequence, on: "foo", at: open.subscription.ackInbox) {
                model.acknowledged(sequence, to: open.reader)
            }
        }
    }

    private func connect() {
        guard let client = pick(clients) else { return }
        if connected.insert(client).inserted {
            let response = fixture.connect(client, connection: "\(client)-\(random.next())")
            if !response.error.isEmpty { model.fault("connect \(client) failed") }
        }
        open(chance(2) ? "group" : "durable", by: client)
    }

    /// Closes a subscription or a whole client in good order.
    private func leave() {
        guard let open = pick(subscriptions) else { return }
        if chance(2) {
            let error = fixture.unsubscribe(
                "foo", inbox: open.subscription.ackInbox, by: open.client, closing: true)
            if error != "" { model.fault("close of \(open.reader) by \(open.client): \(error)") }
            subscriptions.removeAll { $0.subscription.inbox == open.subscription.inbox }
        } else {
            let error = fixture.close(open.client)
            if error != "" { model.fault("close of \(open.client): \(error)") }
            forget(open.client)
        }
    }

    /// A client dies; it connects again with its id, or times out.
    private func vanish() {
        guard let client = pick(connected.sorted()) else { return }
        receive()
        fixture.kill(client, inboxes: subscriptions.filter { $0.client == client }.map(\.subscription.inbox))
        forget(client)
        if chance(2) { fixture.advance(milliseconds: 10_000) }
    }

    private func forget(_ client: String) {
        connected.remove(client)
        subscriptions.removeAll { $0.client == client }
    }

    /// The inbox of a subscription is unheard for a while.
    private func comeBack() {
        guard let open = pick(subscriptions) else { return }
        fixture.transport.receivers.remove(open.subscription.inbox)
        fixture.publish("\(published + 1)", to: "foo", by: "publisher")
        published += 1
        fixture.advance(milliseconds: random.next() % 3_000)
        fixture.transport.receivers.insert(open.subscription.inbox)
    }

    private func settleOnDisk() {
        receive()
        let before = model
        fixture.advance(milliseconds: 60)
        receive()
        model.synced(before)
    }

    private func crash() throws {
        receive()
        model.crashed()
        try fixture.crash([.process, .dropAll, .random][Int(random.next() % 3)])
        model.fault(ifDamaged: fixture.log)
    }

    /// Never do two members of a group hold one message.
    private func checkHolders() {
        for channel in fixture.engine.channels.values {
            for consumer in channel.consumers {
                let pending = consumer.members.flatMap { $0.pending.sequences }
                if Set(pending).count != pending.count { model.fault("two members hold one message") }
            }
        }
    }

    /// Everybody comes back and acknowledges whatever arrives.
    func finish() {
        if connected.insert("a").inserted { _ = fixture.connect("a", connection: "last") }
        for reader in ["durable", "group"] where !subscriptions.contains(where: { $0.reader == reader }) {
            open(reader, by: "a")
        }
        for _ in 0..<400 {
            receive()
            for index in subscriptions.indices {
                for sequence in subscriptions[index].inHand {
                    fixture.acknowledge(
                        sequence, on: "foo", at: subscriptions[index].subscription.ackInbox, settling: false)
                }
                subscriptions[index].inHand = []
            }
            fixture.advance(milliseconds: 100)
        }
        for (name, reader) in model.readers {
            let missing = model.stored.keys.filter { $0 >= reader.start && !reader.delivered.contains($0) }
            if !missing.isEmpty { model.fault("\(name) never got \(missing.sorted())") }
        }
        if model.stored.keys.max() ?? 0 != UInt64(published) || model.stored.count != published {
            model.fault("\(published) were acknowledged, \(model.stored.count) came")
        }
        for subscription in fixture.engine.subscriptions.values where !subscription.member.pending.isEmpty {
            model.fault("pending after everything was acknowledged: \(subscription.member.pending.sequences)")
        }
    }
}

extension HistoryModel {
    /// The disk is honest in these histories: recovery must find nothing broken.
    mutating func fault(ifDamaged log: Log) {
        for damage in log.recovery.damage { fault("damage: \(damage)") }
    }
}

@Suite("Streaming: histories by seed")
struct RandomHistoryTests {
    private func run(
        _ storage: (UInt64) -> EngineFixture.Storage, crashes: Bool, seeds: Int, steps: Int
    ) throws {
        let first = engineSeed()
        // ENGINE_SEED=n swift test --filter RandomHistoryTests replays from n on.
        for seed in first..<(first + UInt64(seeds)) {
            let history = try RandomHistory(seed: seed, storage: storage(seed), crashes: crashes)
            for _ in 0..<steps where history.model.faults.isEmpty { try history.step() }
            if history.model.faults.isEmpty { history.finish() }
            let faults = history.model.faults
            #expect(faults.isEmpty, "ENGINE_SEED=\(seed) swift test --filter RandomHistoryTests")
            if !faults.isEmpty { return }
        }
    }

    @Test("in memory every durable and group gets everything, one member at a time")
    func inMemory() throws { try run({ _ in .memory }, crashes: false, seeds: 60, steps: 150) }

    @Test("the same when durability and reads are answered late")
    func late() throws { try run({ .late(seed: $0) }, crashes: false, seeds: 60, steps: 150) }

    @Test("the same on a disk, with crashes: nothing acknowledged is lost, nothing settled comes again")
    func onDisk() throws { try run({ .disk(seed: $0) }, crashes: true, seeds: 60, steps: 150) }
}
