import Testing

@testable import BrokerClient

@Suite("The client reads a server's operations in place")
struct ServerOperationTests {
    /// The operations of a whole input in words, and how many bytes they took.
    func read(_ bytes: [UInt8]) throws -> (words: [String], consumed: Int) {
        try bytes.withUnsafeBytes { bytes in
            var words: [String] = []
            var position = 0
            while position < bytes.count,
                let (operation, end) = try ServerOperationReader.read(bytes, from: position)
            {
                words.append(describe(operation))
                position = end
            }
            return (words, position)
        }
    }

    func read(_ text: String) throws -> [String] { try read(Array(text.utf8)).words }

    func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

    func describe(_ operation: ServerOperation) -> String {
        switch operation {
        case .message(let m):
            "\(text(m.subject))|\(m.subscriptionID)|\(text(m.reply))|\(text(m.headers))|\(text(m.payload))"
        case .info(let json): "info \(text(json))"
        case .error(let message): "error \(text(message))"
        case .ping: "ping"
        case .pong: "pong"
        case .ok: "ok"
        }
    }

    @Test("messages with and without reply and headers")
    func messages() throws {
        #expect(try read("MSG a.b 7 5\r\nhello\r\n") == ["a.b|7|||hello"])
        #expect(try read("MSG a 7 in.box 0\r\n\r\n") == ["a|7|in.box||"])
        #expect(try read("msg\ta  7\t2 \r\n\r\n\r\n") == ["a|7|||\r\n"])
        let block = "NATS/1.0\r\nA: B\r\n\r\n"
        #expect(try read("HMSG a 1 18 20\r\n\(block)hi\r\n") == ["a|1||\(block)|hi"])
        #expect(try read("HMSG a 1 r 18 18\r\n\(block)\r\n") == ["a|1|r|\(block)|"])
        #expect(try read("MSG i.x 1  3\r\nabc\r\n") == ["i.x|1|||abc"])
    }

    @Test("the other operations, in either case and with either line end")
    func others() throws {
        #expect(try read("PING\r\nPONG\r\n+OK\r\nping\nPong\n") == ["ping", "pong", "ok", "ping", "pong"])
        #expect(try read("INFO {\"a\":1} \r\n") == ["info {\"a\":1}"])
        #expect(try read("-ERR 'Stale Connection'\r\n") == ["error Stale Connection"])
        #expect(try read("-ERR\r\n") == ["error "])
    }

    @Test(
        "what is no operation is a violation",
        arguments: [
            "\r\n", "X\r\n", "PUB a 1\r\n", "MSG\r\n", "MSG a\r\n", "MSG a 1\r\n", "MSG a 1 r 5 6\r\n",
            "MSG a x 5\r\n",
            "MSG a 1 -5\r\n", "MSG a 1 99999999999999999999\r\n", "MSG a 1 5x\r\n", "MSG a 1 999999999\r\n",
            "MSG a 1 2\r\nabcd\r\n", "MSG a 1 2\r\nab\rX", "HMSG a 1 5 4\r\n", "HMSG a 1 5\r\n",
            "HMSG a 1 r 1 2 3\r\n",
            "MSG a 18446744073709551616 1\r\n", "\u{0}\u{0}\u{0}\u{0}\n",
        ])
    func violations(text: String) {
        #expect(throws: ProtocolViolation.self) { try self.read(text) }
    }

    @Test("a line without an end is refused at the limit, not collected for ever")
    func endlessLine() throws {
        let limit = ServerOperationReader.maxControlLine
        let fits = [UInt8](repeating: UInt8(ascii: "a"), count: limit)
        #expect(try read(fits).consumed == 0)
        #expect(throws: ProtocolViolation.self) { try self.read(fits + [0]) }
    }

    @Test("split at any byte, the operations are the same")
    func splits() throws {
        let stream = Array(
            "INFO {}\r\nPING\r\nMSG a 1 2\r\n\r\n\r\nHMSG b 2 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n-ERR 'x'\r\nPONG\r\n"
                .utf8)
        let whole = try read(stream).words
        #expect(whole.count == 6)
        for split in 0...stream.count {
            let (first, consumed) = try read(Array(stream[..<split]))
            let (second, rest) = try read(Array(stream[consumed...]))
            #expect(first + second == whole, "split at \(split)")
            #expect(consumed + rest == stream.count)
        }
    }

    @Test("random bytes are read or refused, never believed")
    func fuzz() {
        var generator = SeededGenerator()
        let pieces = [
            "MSG ", "HMSG ", "a", " ", "1", "12", "\r\n", "PING", "\u{0}", "999999999", "INFO {", "-ERR ",
            "é",
        ]
        for _ in 0..<20_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...12, using: &generator) {
                if Bool.random(using: &generator) {
                    bytes += (pieces.randomElement(using: &generator) ?? "").utf8
                } else {
                    bytes.append(UInt8.random(in: 0...255, using: &generator))
                }
            }
            if let (_, consumed) = try? read(bytes) {
                #expect(consumed <= bytes.count, "CLIENT_SEED=\(generator.seed)")
            }
        }
    }
}
