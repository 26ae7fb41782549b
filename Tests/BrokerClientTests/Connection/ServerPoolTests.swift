import Testing

@testable import BrokerClient

@Suite("The servers that a client knows")
struct ServerPoolTests {
    @Test(
        "take turns; after a loss the same one is tried first; members that leave are dropped, named ones stay"
    )
    func turns() throws {
        var pool = ServerPool(try ServerURL.list("a,b"))
        #expect(pool.next()?.host == "a")
        #expect(pool.next()?.host == "b")
        #expect(pool.next()?.host == "a")
        pool.stay()
        #expect(pool.next()?.host == "a")
        #expect(pool.discovered(["b:4222", "c:1", "no port:x"]) == ["c:1"])
        #expect(pool.servers.map(\.address) == ["a:4222", "b:4222", "c:1"])
        #expect(pool.discovered([]).isEmpty)
        #expect(pool.servers.count == 3)
        #expect(pool.discovered(["d:2"]) == ["d:2"])
        #expect(pool.servers.map(\.address) == ["a:4222", "b:4222", "d:2"])
        var empty = ServerPool([])
        #expect(empty.next() == nil)
    }
}
