import NIOCore
import Synchronization
import Testing

@testable import BrokerClient

@Suite("The publishes that wait for their acknowledgement", .timeLimit(.minutes(10)))
struct PublishWindowTests {
    final class Outcomes: Sendable {
        let list = Mutex<[String]>([])
        func report(_ name: String) -> @Sendable (PublishWindow.Outcome) -> Void {
            { outcome in
                let word =
                    switch outcome {
                    case .success: "stored"
                    case .failure(let error): "\(error)"
                    }
                self.list.withLock { $0.append("\(name): \(word)") }
            }
        }
        var all: [String] { list.withLock { $0 } }
    }
    let outcomes = Outcomes()
    let far = NIODeadline.uptimeNanoseconds(1_000_000)

    @Test("each is reported once, by its own acknowledgement")
    func once() async throws {
        let window = PublishWindow(limit: 10)
        let a = try await window.enter(deadline: far, report: outcomes.report("a"))
        let b = try await window.enter(deadline: far, report: outcomes.report("b"))
        window.acknowledged(b, .failure(.refused("no")))
        window.acknowledged(a, .success(()))
        window.acknowledged(a, .success(()))
        window.acknowledged(77, .success(()))
        #expect(outcomes.all == ["b: no", "a: stored"])
        try await window.empty()
    }

    @Test("flushing waits until everybody has been told, also the last one and whoever is told by another")
    func flushed() async throws {
        let window = PublishWindow(limit: 10)
        let flush = { @Sendable (name: String) in
            // Runs up to where it waits before the report goes on.
            Task.immediate {
                try await window.empty()
                self.outcomes.list.withLock { $0.append("flushed \(name)") }
            }
        }
        let flushes = Mutex<[Task<Void, any Error>]>([])
        let b = try await window.enter(deadline: far, report: outcomes.report("b"))
        let a = try await window.enter(deadline: far) { outcome in
            // The other is the last that is pending; this one is still being told.
            flushes.withLock { $0.append(flush("before")) }
            window.acknowledged(b, .success(()))
            flushes.withLock { $0.append(flush("after")) }
            self.outcomes.report("a")(outcome)
        }
        window.acknowledged(a, .success(()))
        for task in flushes.withLock({ $0 }) { try await task.value }
        #expect(outcomes.all.prefix(2) == ["b: stored", "a: stored"])
        #expect(Set(outcomes.all.dropFirst(2)) == ["flushed before", "flushed after"])
    }

    @Test("beyond the limit a publisher waits for a place")
    func limit() async throws {
        let window = PublishWindow(limit: 1)
        let first = try await window.enter(deadline: far, report: outcomes.report("a"))
        let waiting = Task { try await window.enter(deadline: far, report: outcomes.report("b")) }
        let cancelled = Task { try await window.enter(deadline: far, report: outcomes.report("c")) }
        cancelled.cancel()
        await #expect(throws: StreamingError.cancelled) { try await cancelled.value }
        #expect(window.count == 1)
        window.acknowledged(first, .success(()))
        window.acknowledged(try await waiting.value, .success(()))
        #expect(outcomes.all == ["a: stored", "b: stored"])
    }

    @Test("a lost connection fails what had been handed to it, and what turns out to have been")
    func lost() async throws {
        let window = PublishWindow(limit: 10)
        let sent = try await window.enter(deadline: far, report: outcomes.report("sent"))
        window.sent(sent, end: 100)
        let waiting = try await window.enter(deadline: far, report: outcomes.report("waiting"))
        window.sent(waiting, end: 200)
        let late = try await window.enter(deadline: far, report: outcomes.report("late"))
        window.connectionLost(takenEnd: 150)
        window.sent(late, end: 150)
        #expect(outcomes.all == ["sent", "late"].map { "\($0): \(StreamingError.acknowledgementLost)" })
        window.acknowledged(waiting, .success(()))
        #expect(outcomes.all.last == "waiting: stored")
    }

    @Test("what is due fails, in order, and nothing else")
    func expiry() async throws {
        let window = PublishWindow(limit: 10)
        for (name, at) in [("a", 10), ("b", 20), ("c", 30)] as [(String, UInt64)] {
            _ = try await window.enter(deadline: .uptimeNanoseconds(at), report: outcomes.report(name))
        }
        window.acknowledged(1, .success(()))
        window.expire(now: .uptimeNanoseconds(9))
        #expect(outcomes.all.count == 1)
        window.expire(now: .uptimeNanoseconds(20))
        #expect(outcomes.all == ["a: stored", "b: \(StreamingError.publishTimeout)"])
        #expect(window.count == 1)
    }

    @Test("closing fails everything, also who waits and who comes later")
    func close() async throws {
        let window = PublishWindow(limit: 1)
        _ = try await window.enter(deadline: far, report: outcomes.report("a"))
        let waiting = Task { try await window.enter(deadline: far, report: outcomes.report("b")) }
        window.close(.sessionLost("gone"))
        await #expect(throws: StreamingError.sessionLost("gone")) { try await waiting.value }
        #expect(outcomes.all == ["a: \(StreamingError.sessionLost("gone"))"])
        try await window.empty()
    }

    @Test("a publish that was not sent is withdrawn without a report")
    func withdrawn() async throws {
        let window = PublishWindow(limit: 1)
        #expect(window.withdraw(try await window.enter(deadline: far, report: outcomes.report("a"))))
        #expect(outcomes.all.isEmpty)
        let reported = try await window.enter(deadline: far, report: outcomes.report("b"))
        window.close(.closed)
        #expect(!window.withdraw(reported), "it has its outcome")
        #expect(outcomes.all == ["b: \(StreamingError.closed)"])
    }

    @Test(
        "of many publishers, some of them cancelled while they wait for the one place, nobody waits for ever")
    func cancelledPublishers() async throws {
        var generator = SeededGenerator()
        let window = PublishWindow(limit: 1)
        let first = try await window.enter(deadline: far, report: outcomes.report("first"))
        let tasks = (0..<100).map { number in
            Task {
                let id = try await window.enter(deadline: far, report: outcomes.report("\(number)"))
                await Task.yield()
                window.acknowledged(id, .success(()))
            }
        }
        for (index, task) in tasks.shuffled(using: &generator).enumerated() {
            // From here on acknowledgements arrive while others are cancelled.
            if index == tasks.count / 2 { window.acknowledged(first, .success(())) }
            switch Int.random(in: 0..<3, using: &generator) {
            case 0: task.cancel()
            case 1: await Task.yield()
            default: break
            }
        }
        var cancelled = 0
        for task in tasks {
            do {
                try await task.value
            } catch StreamingError.cancelled {
                cancelled += 1
            }
        }
        #expect(window.count == 0, "seed \(generator.seed)")
        #expect(outcomes.all.count + cancelled == tasks.count + 1, "seed \(generator.seed)")
    }
}
