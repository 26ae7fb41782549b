import Testing

@testable import BrokerClient

@Suite("JSON is read and written")
struct JSONTests {
    func parse(_ text: String) -> JSON? { JSON(parsing: Array(text.utf8)) }

    @Test("every kind of value")
    func values() {
        #expect(parse(" null ") == .null)
        #expect(parse("[true,false]") == .array([.bool(true), .bool(false)]))
        #expect(parse("-12") == .integer(-12))
        #expect(parse("1.5e3") == .number(1500))
        #expect(parse("{}") == .object([:]))
        #expect(parse(#"{"a":[1,{"b":"c"}],"a":2}"#) == .object(["a": .integer(2)]))
        #expect(
            parse(#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800""#)
                == .string("\"\\/\u{08}\u{0C}\n\r\té😀\u{FFFD}"))
    }

    @Test(
        "what is no JSON is nil",
        arguments: [
            "", "{", "[", "\"", "{\"a\"}", "{\"a\":}", "[1,]", "[1 2]", "nul", "+1", ".5", "1 2", "\"\\x\"",
            "\"\\u12\"", "\"\n\"",
            "{1:2}", "--1", "é",
        ])
    func refused(text: String) {
        #expect(parse(text) == nil)
    }

    @Test("depth is bounded")
    func depth() {
        let deep = String(repeating: "[", count: 100_000)
        #expect(parse(deep) == nil)
        #expect(parse(String(repeating: "[", count: 60) + String(repeating: "]", count: 60)) != nil)
    }

    @Test("what is written reads back")
    func roundTrip() {
        let value = JSON.object([
            "b": .array([.null, .bool(true), .integer(.min), .number(0.5)]), "a": .string("\"\\\n\u{1}é"),
        ])
        #expect(parse(value.text) == value)
        #expect(value.text == #"{"a":"\"\\\n\u0001é","b":[null,true,-9223372036854775808,0.5]}"#)
    }

    @Test("INFO tells what the client needs, and unknown keys are ignored")
    func info() {
        let info = ServerInfo(
            json: Array(
                #"{"server_id":"S","version":"2.15.1","headers":true,"max_payload":7,"connect_urls":["a:1",5],"x":{}}"#
                    .utf8))
        #expect(info?.serverID == "S")
        #expect(info?.serverName == "S")
        #expect(info?.maxPayload == 7)
        #expect(info?.headers == true)
        #expect(info?.connectURLs == ["a:1"])
        #expect(ServerInfo(json: Array("[]".utf8)) == nil)
        #expect(ServerInfo(json: Array(#"{"max_payload":-1}"#.utf8))?.maxPayload == nil)
    }
}
