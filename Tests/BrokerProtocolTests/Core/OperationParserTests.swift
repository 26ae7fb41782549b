import BrokerProtocol
import Testing

/// What a parser made of some input, as text.
private func parsed(_ pieces: [[UInt8]], limits: OperationLimits = OperationLimits()) -> [String] {
    var parser = OperationParser(limits: limits)
    var operation = Operation()
    var found: [String] = []
    for piece in pieces {
        // Memory of its own for each piece: a view that outlives its input shows under the sanitizer.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: piece.count, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: piece)
        guard var cursor = InputCursor(UnsafeRawBufferPointer(memory)) else { continue }
        reading: while true {
            switch parser.next(&cursor, into: &operation) {
            case .operation: found.append(describe(operation))
            case .needMore: break reading
            case .failure(let failure):
                found.append("failure \(failure)")
                return found
            }
        }
    }
    return found
}

private func parsed(_ text: String, limits: OperationLimits = OperationLimits()) -> [String] {
    parsed([Array(text.utf8)], limits: limits)
}

private func describe(_ operation: Operation) -> String {
    func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
    switch operation.kind {
    case .publish:
        return "PUB <\(text(operation.subject))> <\(text(operation.reply))> \(operation.headerSize) "
            + "<\(text(operation.payload))> <\(text(operation.sizes))>"
    case .subscribe:
        return "SUB <\(text(operation.subject))> <\(text(operation.queue))> <\(text(operation.sid))>"
    case .unsubscribe: return "UNSUB <\(text(operation.sid))> \(operation.maximum)"
    case .connect: return "CONNECT <\(text(operation.argument))>"
    case .info: return "INFO <\(text(operation.argument))>"
    case .error: return "ERR <\(text(operation.argument))>"
    case .ping: return "PING"
    case .pong: return "PONG"
    case .ok: return "OK"
    }
}

@Suite("the parser of client operations")
struct OperationParserTests {
    @Test(
        "understands",
        arguments: [
            ("PING\r\n", "PING"), ("PING\n", "PING"), ("ping   junk\r\n", "PING"), ("PONGx\r\n", "PONG"),
            ("+OK\r\n", "OK"), ("+ok whatever\n", "OK"), ("-ERR 'x'\r\n", "ERR <'x'>"),
            ("INFO {}\r\n", "INFO <{}>"), ("CONNECT {\"a\":1}\r\n", "CONNECT <{\"a\":1}>"),
            ("CONNECT{}\n", "CONNECT <{}>"), ("connect \t {} \r\n", "CONNECT <{} >"),
            ("CONNECT\r\n", "CONNECT <>"),
            ("PUB foo 2\r\nok\r\n", "PUB <foo> <> -1 <ok> <2>"),
            ("pUb foo 2\nok\r\n", "PUB <foo> <> -1 <ok> <2>"),
            ("PUB foo bar 0\r\n\r\n", "PUB <foo> <bar> -1 <> <0>"),
            ("PUB \t foo \t bar  02 \r\nok\r\n", "PUB <foo> <bar> -1 <ok> <02>"),
            ("PUB foo  2\r\nok\r\n", "PUB <foo> <> -1 <ok> <2>"),
            ("HPUB foo 3 5\r\nxyzok\r\n", "PUB <foo> <> 3 <xyzok> <3 5>"),
            ("hpub foo r 12 12\r\nNATS/1.0\r\n\r\n\r\n", "PUB <foo> <r> 12 <NATS/1.0\r\n\r\n> <12 12>"),
            ("SUB foo 1\r\n", "SUB <foo> <> <1>"), ("SUB foo  1\r\n", "SUB <foo> <> <1>"),
            ("sub foo q abc\n", "SUB <foo> <q> <abc>"), ("SUB\tfoo\tq\t1\t\r\n", "SUB <foo> <q> <1>"),
            ("UNSUB 1\r\n", "UNSUB <1> 0"), ("UNSUB 1 \r\n", "UNSUB <1> 0"), ("unsub 1 5\r\n", "UNSUB <1> 5"),
            ("UNSUB 1 x\r\n", "UNSUB <1> 0"),
        ] as [(String, String)])
    func understood(_ input: String, _ expected: String) {
        #expect(parsed(input) == [expected])
    }

    @Test(
        "takes no operation for what is none",
        arguments: [
            "ZZZ\r\n", " PING\r\n", "\r\n", "\n", "PUBS foo 2\r\n", "SUBZZZ foo 1\r\n", "UNSUB_ 1\r\n",
            "PUB\r\n",
            "SUB\r\n", "UNSUB\r\n", "HPUB\r\n", "MSG foo 1 2\r\n", "-ERR\r\n", "-EX", "+NO", "\u{0B}OK\r\n",
            "\rERR x\r\n", "PUX", "PAN", "PUB foo 2\r\nok \r\n", "PUB foo 2\r\nok\r \n", "PUB foo 0\r\n\n",
            "R", "\0",
        ])
    func unknown(_ input: String) {
        #expect(parsed(input).last == "failure \(ParseFailure.unknownOperation)")
    }

    @Test(
        "refuses arguments",
        arguments: [
            ("PUB foo\r\n", Operation.Kind.publish), ("PUB \r\n", .publish), ("PUB foo bar\r\n", .publish),
            ("PUB a b c 1\r\n", .publish), ("PUB foo -1\r\n", .publish), ("PUB foo 1x\r\n", .publish),
            ("PUB foo +1\r\n", .publish), ("PUB foo 0x1\r\n", .publish), ("PUB foo 1234567890\r\n", .publish),
            ("PUB foo 9999999999999999999999999999999999999999999999999999999999999999\r\n", .publish),
            ("HPUB foo 5\r\n", .publish), ("HPUB foo 5 3\r\n", .publish), ("HPUB foo a b c 3\r\n", .publish),
            ("HPUB foo x 3\r\n", .publish), ("SUB foo\r\n", .subscribe), ("SUB a b c 1\r\n", .subscribe),
            ("SUB \r\n", .subscribe), ("UNSUB \r\n", .unsubscribe), ("UNSUB 1 2 3\r\n", .unsubscribe),
        ] as [(String, Operation.Kind)])
    func badArguments(_ input: String, _ kind: Operation.Kind) {
        #expect(parsed(input) == ["failure \(ParseFailure.badArguments(operation: kind))"])
    }

    @Test("a payload above the limit fails by its line alone, one at the limit passes")
    func payloadLimit() {
        let limits = OperationLimits(payload: 5)
        #expect(parsed("PUB foo 5\r\nhello\r\n", limits: limits) == ["PUB <foo> <> -1 <hello> <5>"])
        #expect(
            parsed("PUB foo 6\r\n", limits: limits) == ["failure \(ParseFailure.payloadTooLarge(size: 6))"])
        #expect(
            parsed("HPUB foo 4 6\r\n", limits: limits) == ["failure \(ParseFailure.payloadTooLarge(size: 6))"]
        )
    }

    @Test("arguments at the control line's limit pass, one byte more fails, also without a line end")
    func controlLineLimit() {
        let limits = OperationLimits(controlLine: 10)
        let failure = ["failure \(ParseFailure.controlLineTooLong)"]
        #expect(parsed("SUB 12345678 1\r\n", limits: limits) == ["SUB <12345678> <> <1>"])
        #expect(parsed("SUB      12345678 1\r\n", limits: limits) == ["SUB <12345678> <> <1>"])
        #expect(parsed("SUB 123456789 1\r\n", limits: limits) == failure)
        #expect(parsed("SUB 12345678 1 \r\n", limits: limits) == failure)
        #expect(parsed("PUB 12345678 1\r\nx\r\n", limits: limits) == ["PUB <12345678> <> -1 <x> <1>"])
        #expect(parsed("PUB 123456789 1\r\nx\r\n", limits: limits) == failure)
        #expect(parsed("CONNECT {12345678}\r\n", limits: limits) == ["CONNECT <{12345678}>"])
        #expect(parsed("CONNECT {123456789}\r\n", limits: limits) == failure)
        #expect(parsed("SUB 12345678901", limits: limits) == failure)
        #expect(parsed("SUB 1234567890", limits: limits) == [])
        #expect(parsed("SUB 12345678 1\r", limits: limits) == [])
        #expect(parsed([Array("SUB 123456".utf8), Array("78901".utf8)], limits: limits) == failure)
        // What is skipped has no limit.
        #expect(parsed("PING 12345678901234567890\r\n", limits: limits) == ["PING"])
    }

    @Test("an endless line of blanks or junk is not kept")
    func bounded() {
        var parser = OperationParser(limits: OperationLimits(controlLine: 10))
        var operation = Operation()
        for text in [
            "PUB   ", String(repeating: " ", count: 100_000), String(repeating: "\t", count: 100_000),
        ] {
            Array(text.utf8).withUnsafeBytes { bytes in
                var cursor = InputCursor(bytes)!
                #expect(parser.next(&cursor, into: &operation) == .needMore)
            }
            let carried = parser.carriedBytes
            #expect(carried < 16)
        }
        Array("foo 1\r\nx\r\n".utf8).withUnsafeBytes { bytes in
            var cursor = InputCursor(bytes)!
            #expect(parser.next(&cursor, into: &operation) == .operation)
            #expect(describe(operation) == "PUB <foo> <> -1 <x> <1>")
            #expect(parser.next(&cursor, into: &operation) == .needMore)
        }
        let isBetween = parser.isBetweenOperations
        #expect(isBetween)
    }

    @Test("what follows the subject can be sent on exactly when the line is spaced plainly")
    func tail() {
        func tail(_ text: String) -> String {
            var parser = OperationParser(limits: OperationLimits())
            var operation = Operation()
            return Array(text.utf8).withUnsafeBytes { bytes in
                var cursor = InputCursor(bytes)!
                #expect(parser.next(&cursor, into: &operation) == .operation)
                return String(decoding: operation.tail, as: UTF8.self)
            }
        }
        #expect(tail("PUB foo 2\r\nok\r\n") == "2\r\nok")
        #expect(tail("PUB foo  2\r\nok\r\n") == "2\r\nok")
        #expect(tail("PUB foo bar 2\r\nok\r\n") == "bar 2\r\nok")
        #expect(tail("PUB foo bar  2\r\nok\r\n") == "")
        #expect(tail("PUB foo 2 \r\nok\r\n") == "")
        #expect(tail("PUB foo 2\nok\r\n") == "")
        #expect(tail("PUB foo\tbar 2\r\nok\r\n") == "bar 2\r\nok")
        #expect(tail("HPUB foo bar 1 2\r\nok\r\n") == "bar 1 2\r\nok")
        #expect(tail("HPUB foo 1  2\r\nok\r\n") == "")
        #expect(tail("HPUB foo bar 1\t2\r\nok\r\n") == "")
        #expect(tail("PUB foo bar\t2\r\nok\r\n") == "")
    }
}

@Suite("any split of a client's stream gives the same operations")
struct SplitTests {
    private static let streams = [
        "CONNECT {\"verbose\":false}\r\nPING\r\nSUB foo.* q 1\r\nPUB foo.a 5\r\nhello\r\nUNSUB 1 5\r\n",
        "PING junk\nPONG\r\n+OK\r\nHPUB foo  re 12  17\r\nNATS/1.0\r\n\r\nhello\r\nPUB a 0\r\n\r\nINFO {}\r\n-ERR 'x'\r\n",
        "PUB foo 12\r\nPUB x 1\r\na\r\n\r\nsub\t a\tb \r\npub \t a  2 \nok\r\nPING\r\n",
        "PUB foo 2\r\nokx", "PUB foo 2\r\nok\rx", "SUB a b c d\r\nPING\r\n", "PING\r\nBAD\r\n",
        "PUB foo 99999999999\r\n",
        "PUB   \r\n", "PUB\r\n", "-ERR   \r\n", "UNSUB   1   \r\n",
    ]

    @Test("at every position, and byte by byte", arguments: streams)
    func everySplit(_ stream: String) {
        let bytes = Array(stream.utf8)
        let whole = parsed([bytes])
        for position in 0...bytes.count {
            #expect(
                parsed([Array(bytes[..<position]), Array(bytes[position...])]) == whole, "at \(position)")
        }
        #expect(parsed(bytes.map { [$0] }) == whole)
        for first in 0...bytes.count {
            for second in first...min(first + 4, bytes.count) {
                let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]].map { Array($0) }
                #expect(parsed(pieces) == whole, "at \(first) and \(second)")
            }
        }
    }

    @Test("random streams, split at random, and random bytes never crash")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("operation parser: seed \(seed); replay by putting it into SplitTests.random")
        var generator = SeededGenerator(seed: seed)
        let parts = Self.streams.map { Array($0.utf8) }
        for _ in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes += parts.randomElement(using: &generator)!
            }
            for _ in 0..<Int.random(in: 0...2, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
                    UInt8.random(in: 0...255, using: &generator)
            }
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Int.random(in: 1...min(rest.count, 40), using: &generator)
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            let limits = OperationLimits(controlLine: 64, payload: 1000)
            #expect(parsed(pieces, limits: limits) == parsed([bytes], limits: limits), "\(bytes)")
        }
    }
}
