import BrokerProtocol
import Testing

@testable import Broker

/// A router with interests that no connection stands behind.
private final class RouterUnderTest {
    var router = Router(loop: 0)
    private var number: UInt64 = 0

    deinit { router.deallocate() }

    func add(_ subject: String, queue: String = "", loop: Int = 0, tag: UInt64 = 0) -> InterestPointer {
        number += 1
        let interest = InterestPointer.allocate(capacity: 1)
        interest.initialize(
            to: Interest(
                id: InterestID(loop: loop, number: number),
                taker: loop == 0 ? .engine(tag: number) : .remote(nil),
                subject: Array(subject.utf8), queue: Array(queue.utf8), sid: Array("7".utf8)))
        router.insert(interest)
        return interest
    }

    /// Tags of the engine's interests on the route of `subject`.
    func tags(_ subject: String) -> Set<UInt64> {
        Array(subject.utf8).withUnsafeBytes { Set(router.route($0).pointee.tags) }
    }
}

@Suite("the router")
struct RouterTests {
    @Test("finds what a plain comparison finds, through any series of changes")
    func model() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("router: seed \(seed); replay by putting it into RouterTests.model")
        var generator = SeededGenerator(seed: seed)
        let tokens = ["a", "b", "c", "*", ">", "a*"]
        func subject(_ tokens: [String]) -> String {
            (0..<Int.random(in: 1...4, using: &generator)).map { _ in tokens.randomElement(using: &generator)!
            }
            .joined(separator: ".")
        }
        let test = RouterUnderTest()
        var present: [(subject: String, interest: InterestPointer)] = []
        for step in 0..<5_000 {
            if Int.random(in: 0..<10, using: &generator) < 4, !present.isEmpty {
                let index = Int.random(in: 0..<present.count, using: &generator)
                test.router.remove(present.remove(at: index).interest)
            } else if present.count < 60 {
                let subject = subject(tokens)
                guard Subject.kind(of: Array(subject.utf8)) != .invalid else { continue }
                present.append((subject, test.add(subject)))
            }
            if step % 7 == 0 { test.router.collectGarbage() }
            let published = subject(["a", "b", "c", "a*", ""])
            let expected = present.filter {
                Subject.matches(Array(published.utf8), pattern: Array($0.subject.utf8))
            }.map { interest -> UInt64 in
                guard case .engine(let tag) = interest.interest.pointee.taker else { return 0 }
                return tag
            }
            #expect(test.tags(published) == Set(expected), "\(published) at step \(step)")
        }
        for (_, interest) in present { test.router.remove(interest) }
        #expect(test.router.count == 0)
    }

    @Test("a route is kept until an interest of its subject changes")
    func cache() {
        let test = RouterUnderTest()
        let first = test.add("a.b")
        #expect(test.tags("a.b").count == 1)
        let generation = test.router.generation
        _ = test.add("a.c")
        #expect(test.router.generation == generation, "another literal changes no other route")
        _ = test.add("a.b")
        #expect(test.tags("a.b").count == 2)
        test.router.remove(first)
        #expect(test.tags("a.b").count == 1)
        _ = test.add("a.*")
        #expect(test.tags("a.b").count == 2)
        #expect(test.router.cachedRoutes == 1)
    }

    @Test("100,000 subjects do not fill the memory")
    func bounded() {
        let test = RouterUnderTest()
        _ = test.add(">")
        for number in 0..<100_000 {
            #expect(test.tags("subject.\(number)").count == 1)
            if number % 1000 == 0 { test.router.collectGarbage() }
        }
        #expect(test.router.cachedRoutes <= 16_384)
    }

    @Test(
        "the beginning of a delivery's line is ready on the route, groups are by name, other loops come last")
    func contents() {
        let test = RouterUnderTest()
        _ = test.add("a.*", loop: 2)
        _ = test.add("a.b", loop: 1)
        _ = test.add("a.b", queue: "q", loop: 1)
        _ = test.add("a.>", queue: "q", loop: 2)
        _ = test.add("a.>", queue: "r", loop: 2)
        Array("a.b".utf8).withUnsafeBytes { subject in
            let route = test.router.route(subject)
            #expect(route.pointee.localCount == 0)
            #expect(route.pointee.plain.map(\.id.loop) == [1, 2])
            let target = route.pointee.plain[0]
            let prefix = UnsafeBufferPointer(start: target.prefix, count: target.prefixCount)
            #expect(prefix.text == "HMSG a.b 7 ")
            #expect(route.pointee.groupEnds.count == 2)
            #expect(route.pointee.members.count == 3)
        }
    }

    @Test("names of connections and interests survive the way through a word")
    func names() {
        let connection = ConnectionID(loop: 3, generation: 65_535, slot: 1_000_000)
        #expect(ConnectionID(rawValue: connection.rawValue) == connection)
        let interest = InterestID(loop: 5, number: 1 << 40)
        #expect(interest.loop == 5)
        #expect(InterestID(rawValue: interest.rawValue) == interest)
    }
}
