import BrokerProtocol
import Testing

@Suite("subjects")
struct SubjectTests {
    @Test(
        "can be subscribed to",
        arguments: [
            "foo", "*", ">", "foo.*", "foo.>", "foo*", "*bar", "foo.>>", "foo>bar", "foo.*bar", "a.*.b.>",
        ])
    func valid(_ subject: String) {
        #expect(Subject.kind(of: Array(subject.utf8)) != .invalid)
    }

    @Test(
        "cannot be subscribed to",
        arguments: ["", ".", ".foo", "foo.", "foo..bar", ">.bar", "foo.>.bar", "a b", "a\tb", "a\u{0C}b"])
    func invalid(_ subject: String) {
        #expect(Subject.kind(of: Array(subject.utf8)) == .invalid)
    }

    @Test("a wildcard is one only as a whole token")
    func literals() {
        for subject in ["foo", "foo*", "*bar", "foo.>>", "foo>bar", "foo.bar,*,>,baz"] {
            #expect(Subject.kind(of: Array(subject.utf8)) == .literal, "\(subject)")
        }
        for subject in ["*", ">", "foo.*", "*.foo", "foo.>"] {
            #expect(Subject.kind(of: Array(subject.utf8)) == .wildcard, "\(subject)")
        }
    }

    @Test(
        "match by tokens",
        arguments: [
            ("foo.*", "foo.a", true), ("foo.*", "foo", false), ("foo.*", "foo.a.b", false),
            ("foo.>", "foo.a", true), ("foo.>", "foo.a.b", true), ("foo.>", "foo", false),
            ("*.*", "a.b", true), ("*", "a.b", false), (">", "_INBOX.x", true), ("foo", "Foo", false),
            ("foo.*", "foo.*", true), ("foo.a", "foo.*", false), (">", "foo..bar", false), ("*", "", false),
            ("foo", "foo", true), ("foo.bar", "foo", false), ("foo", "foo.bar", false),
            ("foo*", "foo*", true),
            ("foo*", "foox", false), ("a.*.c", "a.b.c", true), ("a.*.c", "a.b.d", false), (">", "a.", false),
        ] as [(String, String, Bool)])
    func matching(_ pattern: String, _ subject: String, _ expected: Bool) {
        #expect(Subject.matches(Array(subject.utf8), pattern: Array(pattern.utf8)) == expected)
    }

    @Test("a channel's name has no slash, no wildcard character and no empty token, and anything else")
    func channels() {
        for name in ["foo", "foo.bar", "a|b", "a:b", "a b", "ünï", "A"] {
            #expect(Subject.isValidChannel(Array(name.utf8)), "\(name)")
        }
        for name in ["", "a/b", "a*", "foo.*", "foo>", ".a", "a.", "a..b", "."] {
            #expect(!Subject.isValidChannel(Array(name.utf8)), "\(name)")
        }
    }

    @Test("a client id is letters, digits, _ and -")
    func clientIDs() {
        for id in ["id", "id_x", "id-x", "0", "Z"] {
            #expect(Subject.isValidClientID(Array(id.utf8)), "\(id)")
        }
        for id in ["", "a b", "a:b", "a,b", "a.b", "!@#", "ü", "a\n"] {
            #expect(!Subject.isValidClientID(Array(id.utf8)), "\(id)")
        }
    }
}
