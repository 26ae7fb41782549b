import BrokerProtocol
import Testing

@testable import Broker

/// A subscription, or a queue group of two, as the specification says it must be.
private struct Expected {
    var durable: String
    var queue: String
    var maxInFlight: Int32
    /// Empty while it is offline.
    var members: [EngineFixture.Subscribed] = []
    var lastNew: UInt64 = 0
    var pending: Set<UInt64> = []
}

@Suite("Streaming: consumers against a small model")
struct ConsumerModelTests {
    @Test(
        "whatever happens, each consumer has every message once as new, and what is pending is known",
        arguments: 0..<20 as Range<UInt64>)
    func history(run: UInt64) throws {
        let seed = engineSeed() &+ run
        let note: Comment = "ENGINE_SEED=\(seed) swift test --filter ConsumerModelTests"
        var random = SeededGenerator(seed: seed)
        let fixture = try EngineFixture(storage: .disk(seed: seed))
        for id in ["me", "other"] { fixture.join(id) }
        var last: UInt64 = 0
        var consumers = [
            Expected(durable: "a", queue: "", maxInFlight: 1),
            Expected(durable: "b", queue: "", maxInFlight: 5),
            Expected(durable: "c", queue: "", maxInFlight: 1_000),
            Expected(durable: "d", queue: "q", maxInFlight: 3),
        ]

        func look(_ consumer: inout Expected) {
            let got = consumer.members.flatMap { fixture.delivered(to: $0.inbox) }
            for message in got where message.redelivered {
                // What moved between members in one settling may have come new just before.
                let isKnown =
                    consumer.pending.contains(message.sequence) || message.sequence > consumer.lastNew
                #expect(isKnown && message.count > 0, note)
            }
            for message in got.filter({ !$0.redelivered }).sorted(by: { $0.sequence < $1.sequence }) {
                consumer.lastNew += 1
                #expect(message == .init(sequence: consumer.lastNew, data: "\(consumer.lastNew)"), note)
                consumer.pending.insert(message.sequence)
            }
            guard !consumer.members.isEmpty else { return }
            let pending = consumer.members.flatMap { fixture.pending(at: $0.inbox) ?? [] }
            #expect(pending.sorted() == consumer.pending.sorted(), note)
            let room = Int(consumer.maxInFlight) * consumer.members.count
            #expect(consumer.lastNew == last || consumer.pending.count >= room, note)
        }

        for _ in 0..<120 {
            let index = Int.random(in: 0..<consumers.count, using: &random)
            switch Int.random(in: 0..<12, using: &random) {
            case 0..<4:
                let count = UInt64.random(in: 1...8, using: &random)
                fixture.publish(numbers: Int(last + 1)...Int(last + count), to: "foo")
                last += count
            case 4..<7:
                guard let member = consumers[index].members.randomElement(using: &random) else { continue }
                let held = fixture.pending(at: member.inbox) ?? []
                for sequence in held where Bool.random(using: &random) {
                    fixture.acknowledge(sequence, on: "foo", at: member.ackInbox)
                    consumers[index].pending.remove(sequence)
                }
            case 7:
                guard consumers[index].members.isEmpty else { continue }
                let wanted = consumers[index]
                for id in wanted.queue.isEmpty ? ["me"] : ["me", "other"] {
                    let subscription = fixture.subscribe(
                        "foo", by: id, queue: wanted.queue, durable: wanted.durable, start: .first,
                        maxInFlight: wanted.maxInFlight, ackWait: 1)
                    #expect(subscription.error == "", note)
                    consumers[index].members.append(subscription)
                }
            case 8:
                // A group of two would deal out what the first to leave had.
                guard let member = consumers[index].members.first, consumers[index].queue.isEmpty else {
                    continue
                }
                #expect(fixture.unsubscribe("foo", inbox: member.ackInbox, closing: true) == "", note)
                look(&consumers[index])
                consumers[index].members = []
            case 9, 10: fixture.advance(milliseconds: UInt64.random(in: 0...1_500, using: &random))
            default:
                // Until all that was delivered and acknowledged is on disk: a crash may forget the last of it.
                repeat { fixture.advance(milliseconds: 60) } while !fixture.engine.unsaved.isEmpty
                for index in consumers.indices { look(&consumers[index]) }
                switch Int.random(in: 0..<4, using: &random) {
                case 0: try fixture.restart()
                case 1: try fixture.crash(.process)
                case 2: try fixture.crash(.dropAll)
                default: try fixture.crash(.random)
                }
                fixture.advance(milliseconds: 250)
            }
            for index in consumers.indices { look(&consumers[index]) }
        }
        #expect(last > 0, note)
    }
}
