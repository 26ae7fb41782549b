import BrokerProtocol
import Testing

@testable import BrokerClient

extension StreamingClientTests {
    @Test("a session that is lost before anybody listens is told to whoever listens then")
    func sessionLostBefore() async throws {
        let session = try await session()
        await session.connection.close()
        let second = try await session.server.greeted()
        for _ in 0..<4 { _ = try await second.line("SUB ") }
        // The first ping after a reconnect comes at once.
        let (inbox, _) = try await publication(second, on: "_STAN.discover.vc.pings")
        var response = PingResponse()
        response.error = Array("unknown".utf8)
        send(second, inbox, sid: try #require(session.sids[inbox]), response.encoded())
        // Nobody acknowledges it: it ends with the session.
        await #expect(throws: StreamingError.sessionLost("unknown")) {
            try await session.client.publish("orders", [])
        }
        // The event comes in the same turn of the loop.
        await session.client.client.core.onLoop { _ in }
        var events = session.client.events().makeAsyncIterator()
        #expect(await events.next() == .sessionLost(reason: "unknown"))
        await session.close()
        #expect(await events.next() == .closed(reason: nil))
    }

    @Test(
        "a publish that was reported while it waited for room in the client's buffer does not throw as well")
    func reportedWhileItWaited() async throws {
        let session = try await session {
            $0.publishTimeout = .milliseconds(10)
        } client: {
            $0.maxPendingBytes = 1
        }
        var events = session.client.events().makeAsyncIterator()
        await session.connection.close()
        _ = await events.next()
        // Nobody greets the next connection: the first publish fills the buffer for good.
        try await session.client.publish("orders", [1]) { _ in }
        let (reports, report) = AsyncStream.makeStream(of: StreamingError?.self)
        let waiting = Task {
            try await session.client.publish("orders", [2]) { outcome in
                if case .failure(let error) = outcome { report.yield(error) } else { report.yield(nil) }
            }
        }
        var iterator = reports.makeAsyncIterator()
        #expect(await iterator.next() == .publishTimeout)
        await session.client.client.close()
        try await waiting.value
        await session.close()
    }
}
