import NIOCore
import Testing

@testable import BrokerClient

@Suite("What waits to be sent")
struct OutboxTests {
    func append(_ outbox: Outbox, _ payload: String, reply: String? = nil, headers: Headers? = nil)
        -> Outbox.Outcome
    {
        let bytes = Array(payload.utf8)
        let publish = Outbox.Publish(subject: "a.b", reply: reply, headers: (try? headers?.encoded()) ?? [])
        return outbox.publish(publish, payloadSize: bytes.count) { $0.writeBytes(bytes) }
    }

    @Test("publishes are written as the protocol says and taken as one")
    func wire() {
        let outbox = Outbox(limit: 1000)
        guard case .appended(let first, true) = append(outbox, "hi") else {
            Issue.record("the first append tells the loop")
            return
        }
        guard case .appended(let second, false) = append(outbox, "", reply: "r", headers: ["A": "B"]) else {
            Issue.record("the second need not")
            return
        }
        #expect(!outbox.control("PING\r\n"))
        #expect(outbox.untaken.takenEnd == 0)
        #expect(outbox.untaken.pings == 1)
        let bytes = outbox.take()
        #expect(
            bytes.map { String(buffer: $0) }
                == "PUB a.b 2\r\nhi\r\nHPUB a.b r 18 18\r\nNATS/1.0\r\nA: B\r\n\r\n\r\nPING\r\n")
        #expect(first == 15)
        #expect(outbox.untaken.takenEnd == second + 6)
        #expect(outbox.untaken.pings == 0)
        #expect(outbox.take() == nil)
    }

    @Test(
        "a publisher beyond the bound waits until everything was taken; what keeps a session alive does not")
    func bound() async throws {
        let outbox = Outbox(limit: 10)
        _ = append(outbox, "0123456789")
        guard case .full(let completion) = append(outbox, "x") else {
            Issue.record("it is full")
            return
        }
        let publish = Outbox.Publish(subject: "ack", reply: nil, headers: [])
        guard
            case .appended = outbox.publish(publish, payloadSize: 0, isBounded: false, writePayload: { _ in })
        else {
            Issue.record("an acknowledgement is never refused")
            return
        }
        #expect(outbox.take() != nil)
        try await completion.value()
        guard case .appended = append(outbox, "x") else {
            Issue.record("there is room again")
            return
        }
    }

    @Test("what the server does not allow is refused, and everything once it is closed")
    func refusals() async {
        let outbox = Outbox(limit: 100)
        var info = ServerInfo()
        info.maxPayload = 20
        info.headers = false
        outbox.update(info)
        guard
            case .refused(.payloadTooLarge(size: 21, limit: 20)) = append(
                outbox, String(repeating: "x", count: 21)),
            case .refused(.headersNotSupported) = append(outbox, "", headers: ["A": "B"]),
            case .appended = append(outbox, String(repeating: "x", count: 20))
        else {
            Issue.record("the server's limits hold")
            return
        }
        outbox.close(.closed)
        guard case .refused(.closed) = append(outbox, "") else {
            Issue.record("it is closed")
            return
        }
    }
}
