import BrokerProtocol
import Testing

@Suite("JSON")
struct JSONTests {
    private func parse(_ text: String) -> JSONValue? {
        Array(text.utf8).withUnsafeBytes { JSONValue(parsing: $0) }
    }

    @Test("values are read with their escapes resolved")
    func values() {
        #expect(parse("null") == .null)
        #expect(
            parse(" [1, -2.5e+3, true, false] ")
                == .array([
                    .number(Array("1".utf8)), .number(Array("-2.5e+3".utf8)), .boolean(true), .boolean(false),
                ]))
        #expect(
            parse("{\"a\":{\"b\":[]},\"a\":\"x\"}")
                == .object([
                    (Array("a".utf8), .object([(Array("b".utf8), .array([]))])),
                    (Array("a".utf8), .string(Array("x".utf8))),
                ]))
        #expect(
            parse("\"\\u00e9\\ud83d\\ude00\\n\\\\\\\"\\/\\ud800x\"")
                == .string(Array("é😀\n\\\"/\u{FFFD}x".utf8)))
    }

    @Test(
        "is refused",
        arguments: [
            "", "{", "}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "[1,]", "[1 2]", "01", "1.", ".5", "+1", "1e",
            "\"a", "\"\\x\"",
            "\"\\u12g4\"", "tru", "nul", "{} x", "{a:1}", "\"a\nb\"", "--1", "{\"a\":1 \"b\":2}",
        ])
    func refused(_ text: String) {
        #expect(parse(text) == nil)
    }

    @Test("nesting without end is refused, not followed")
    func depth() {
        #expect(parse(String(repeating: "[", count: 100_000)) == nil)
        #expect(parse(String(repeating: "{\"a\":", count: 100_000)) == nil)
        #expect(parse(String(repeating: "[", count: 50) + String(repeating: "]", count: 50)) != nil)
    }

    @Test("random bytes never crash the reader")
    func random() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("JSON: seed \(seed); replay by putting it into JSONTests.random")
        var generator = SeededGenerator(seed: seed)
        let alphabet = Array("{}[]\":,\\u0123eE+-.truefalsn \u{7F}\u{01}".utf8)
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator)!
            }
            _ = text.withUnsafeBytes { JSONValue(parsing: $0) }
            _ = text.withUnsafeBytes { ConnectOptions(parsing: $0) }
        }
    }

    @Test("is written as Go writes it")
    func writing() {
        var json = JSONWriter(isPretty: true)
        json.beginObject()
        json.field("text", "a<b>&\"\\\n\u{01}\u{2028}é")
        json.field("bytes", [0x41, 0xFF])
        json.field("whole", 2.0)
        json.field("half", 0.5)
        json.beginObject("empty")
        json.endObject()
        json.beginArray("list")
        json.element(1)
        json.beginObject()
        json.field("yes", true)
        json.endObject()
        json.endArray()
        json.beginArray("none")
        json.endArray()
        json.endObject()
        #expect(
            String(decoding: json.bytes, as: UTF8.self) == """
                {
                  "text": "a\\u003cb\\u003e\\u0026\\"\\\\\\n\\u0001\\u2028é",
                  "bytes": "A\u{FFFD}",
                  "whole": 2,
                  "half": 0.5,
                  "empty": {},
                  "list": [
                    1,
                    {
                      "yes": true
                    }
                  ],
                  "none": []
                }
                """)
    }

    @Test("a text is plain when each of its bytes is, wherever it stands and whatever stands around it")
    func plain() {
        let escaped = Set(Array(0..<0x20) + Array(0x80...0xFF) + Array("\"\\<>&".utf8))
        for around in [UInt8(0x20), 0x21, 0x3D, 0x5B, 0x7F] {
            for length in 1...26 {
                for place in 0..<length {
                    for byte in UInt8.min...UInt8.max {
                        var text = [UInt8](repeating: around, count: length)
                        text[place] = byte
                        let isPlain = text.withUnsafeBytes { JSONWriter.isPlain($0) }
                        #expect(
                            isPlain == !escaped.contains(byte),
                            "\(byte) at \(place) of \(length), \(around) around")
                    }
                }
            }
        }
        #expect([UInt8]().withUnsafeBytes { JSONWriter.isPlain($0) })
    }

    @Test("CONNECT's keys have types, and the last of two wins")
    func connect() {
        func read(_ text: String) -> ConnectOptions? {
            Array(text.utf8).withUnsafeBytes { ConnectOptions(parsing: $0) }
        }
        let options = read(
            "{\"verbose\":false,\"PEDANTIC\":false,\"echo\":true,\"echo\":false,\"protocol\":1,\"headers\":true,"
                + "\"user\":\"u\",\"pass\":\"p\",\"auth_token\":\"t\",\"name\":\"n\",\"lang\":\"l\",\"version\":\"v\"}"
        )
        #expect(options?.verbose == false)
        #expect(options?.pedantic == false)
        #expect(options?.echo == false)
        #expect(options?.protocolVersion == 1)
        #expect(options?.headers == true)
        #expect(options?.user == [0x75])
        for wrong in [
            "{\"verbose\":\"x\"}", "{\"protocol\":1.5}", "{\"protocol\":\"1\"}", "{\"user\":1}",
            "{\"nkey\":[]}",
            "{\"tls_required\":0}", "[]", "1", "\"\"",
        ] {
            #expect(read(wrong) == nil, "\(wrong)")
        }
    }
}
