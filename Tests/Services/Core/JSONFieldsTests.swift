import Testing

@testable import ServicesCore

@Suite("The members of a JSON object")
struct JSONFieldsTests {
    private func fields(_ text: String) throws -> JSONFields { try JSONFields(parsing: Array(text.utf8)) }

    @Test("are taken by name and type; null counts as absent")
    func taking() throws {
        var fields = try fields(#"{"a":"x","b":true,"c":7,"d":["y","z"],"e":null,"f":{"g":"h"}}"#)
        #expect(try fields.string("a") == "x")
        #expect(try fields.boolean("b") == true)
        #expect(try fields.integer("c") == 7)
        #expect(try fields.strings("d") == ["y", "z"])
        #expect(try fields.string("e") == nil)
        var inner = try #require(try fields.object("f"))
        #expect(try inner.string("g") == "h")
        #expect(try fields.string("not there") == nil)
        try fields.finish()
    }

    @Test("that nobody asked for are refused in the words of the original")
    func unknown() throws {
        var fields = try fields(#"{"name":"a","x":1,"y":2}"#)
        _ = try fields.string("name")
        #expect(throws: JSONFailure(#"json: unknown field "x""#)) { try fields.finish() }
    }

    @Test(
        "must be of their type",
        arguments: [
            (#"{"s":1}"#, #"json: field "s" must be a string, not a number"#),
            (#"{"b":"true"}"#, #"json: field "b" must be a boolean, not a string"#),
            (#"{"i":"1"}"#, #"json: field "i" must be a number, not a string"#),
            (#"{"i":1.5}"#, #"json: field "i" must be a whole number of 32 bits"#),
            (#"{"i":2147483648}"#, #"json: field "i" must be a whole number of 32 bits"#),
            (#"{"i":1e400}"#, #"json: field "i" must be a whole number of 32 bits"#),
            (#"{"l":"a"}"#, #"json: field "l" must be an array of strings, not a string"#),
            (#"{"l":["a",null]}"#, #"json: field "l" must be an array of strings, not null"#),
            (#"{"s":"a\u0000b"}"#, #"json: "s" has a NUL character"#),
        ])
    func types(_ text: String, _ message: String) throws {
        #expect(throws: JSONFailure(message)) {
            var fields = try fields(text)
            _ = try fields.string("s")
            _ = try fields.boolean("b")
            _ = try fields.integer("i")
            _ = try fields.strings("l")
        }
    }

    @Test(
        "are not read from what is no object",
        arguments: [
            ("", "EOF"), (" \n", "EOF"), ("[]", "json: an object was expected, not an array"),
            ("null", "json: an object was expected, not null"),
            (#"{"a":1"#, "json: the text is not valid JSON, or nested too deeply"),
            (#"{"a":1} {}"#, "json: the text is not valid JSON, or nested too deeply"),
            (#"{a:1}"#, "json: the text is not valid JSON, or nested too deeply"),
            (#"{"a":1,"a":2}"#, #"json: duplicate field "a""#),
        ])
    func malformed(_ text: String, _ message: String) {
        #expect(throws: JSONFailure(message)) { try fields(text) }
    }

    @Test("are refused when nested deeply or not UTF-8")
    func hostile() {
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: JSONFailure.self) { try fields("{\"a\":" + deep) }
        #expect(throws: JSONFailure("json: \"a\" is not valid UTF-8")) {
            var fields = try JSONFields(parsing: Array(#"{"a":""#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8))
            _ = try fields.string("a")
        }
    }
}
