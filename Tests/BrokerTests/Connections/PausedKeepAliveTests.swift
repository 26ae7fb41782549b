import Testing

@testable import Broker

@Suite("a connection that the engine paused", .timeLimit(.minutes(10)))
struct PausedKeepAliveTests {
    @Test("does not go stale, since nobody reads its answers")
    func staysOpen() async throws {
        let prepare: @Sendable (LoopCore) -> Void = { core in
            core.engine = EngineCalls(
                receive: { _, _, _, _ in }, endOfTick: { false }, timeReached: { _ in },
                nextDeadline: { nil }, congestionEnded: {})
            core.listen(on: Array("svc".utf8), tag: 1)
        }
        try await CoreFixture.run(prepare: prepare) { core in
            let publisher = try await RawClient.ready(port: core.port)
            publisher.send("PUB svc 1\r\n1\r\n")
            #expect(try await publisher.untilPong() == "")
            let pingsOut = try await core.onLoop(0) { core in
                core.pausePublishers()
                var now = LoopCore.monotonicNow()
                for _ in 0..<5 {
                    now += 600_000_000_000
                    core.timeReached(now)
                }
                core.resumePublishers()
                return core.state.pointee.connections.all.map { $0.pointee.keepAlive.pingsOut }
            }
            #expect(pingsOut == [0])
            #expect(try await publisher.untilPong() == "")
            #expect(try await core.counters().staleConnections == 0)
        }
    }
}
