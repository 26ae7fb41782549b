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
}
