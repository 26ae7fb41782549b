import Testing

@testable import Broker

@Suite("subjects that no line of the protocol can carry")
struct UnroutableSubjectTests {
    @Test(
        "match nothing, whatever is subscribed",
        arguments: ["a b", "a\tb", "a\rb", "a\nb", "a\0b", " ", "a. .b", "x 1 0\r\n\r\nPING"])
    func refused(_ subject: String) {
        var router = Router(loop: 0)
        defer { router.deallocate() }
        for (tag, pattern) in [">", "*", "*.*.*", "a.>", "a b", subject].enumerated() {
            let interest = InterestPointer.allocate(capacity: 1)
            interest.initialize(
                to: Interest(
                    id: InterestID(loop: 0, number: UInt64(tag)), taker: .engine(tag: UInt64(tag)),
                    subject: Array(pattern.utf8), queue: [], sid: []))
            router.insert(interest)
        }
        Array(subject.utf8).withUnsafeBytes { bytes in
            let found = router.matches(bytes)
            #expect(found.isEmpty)
            let route = router.route(bytes)
            #expect(route.pointee.isEmpty)
        }
    }

    @Test("any other byte goes through", arguments: ["a\u{1}b", "a\u{7F}b", "a\u{C}b", "ä", "a>b", "_I.x"])
    func carried(_ subject: String) {
        var router = Router(loop: 0)
        defer { router.deallocate() }
        let interest = InterestPointer.allocate(capacity: 1)
        interest.initialize(
            to: Interest(
                id: InterestID(loop: 0, number: 1), taker: .engine(tag: 1), subject: Array(">".utf8),
                queue: [], sid: []))
        router.insert(interest)
        let found = Array(subject.utf8).withUnsafeBytes { router.matches($0).count }
        #expect(found == 1)
    }
}
