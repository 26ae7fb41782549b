import Testing

@testable import UsersService

@Suite("e-mail addresses") struct EmailAddressTests {
    @Test(
        "what people write is taken, blanks around it dropped and the domain in lower case",
        arguments: [
            ("ann@devpie.io", "ann@devpie.io"), ("  Ann.B+tag@DevPie.IO\n", "Ann.B+tag@devpie.io"),
            ("o'hara@example.co.uk", "o'hara@example.co.uk"), ("a@b-c.d1", "a@b-c.d1"), ("\"@x.io", nil),
            ("a{b}|c~@x.io", "a{b}|c~@x.io"), ("xn@xn--bcher-kva.example", "xn@xn--bcher-kva.example"),
        ] as [(String, String?)])
    func accepted(_ text: String, _ expected: String?) { #expect(EmailAddress(text)?.text == expected) }

    @Test(
        "what is no address is refused",
        arguments: [
            "", " ", "@", "a", "a@", "@x.io", "a@x", "a@x.", "a@.io", "a@x..io", "a@-x.io", "a@x-.io",
            "a@@x.io",
            "a@b@x.io", ".a@x.io", "a.@x.io", "a..b@x.io", "a b@x.io", "a@x .io", "a@x.io,b@x.io",
            "a@[127.0.0.1]",
            "Ann <ann@x.io>", "ä@x.io", "a@ä.io", "a\0@x.io", "a@x.io\r\nBcc: b@x.io", "a\"},{\"x\":\"@x.io",
            "a@" + String(repeating: "b", count: 64) + ".io",
            String(repeating: "a", count: 60) + "@x.io",
        ])
    func refused(_ text: String) { #expect(EmailAddress(text) == nil) }

    @Test("the longest that the column holds is taken, one more is not")
    func length() {
        let local = String(repeating: "a", count: 59)
        #expect(EmailAddress(local + "@x.io")?.text.count == 64)
        #expect(EmailAddress("a" + local + "@x.io") == nil)
    }

    @Test("the same address in other letters counts once, the first as it was written")
    func unique() {
        let addresses = ["Ann@x.io", "bob@x.io", "ann@X.io"].compactMap { EmailAddress($0) }
        #expect(EmailAddress.unique(addresses).map(\.text) == ["Ann@x.io", "bob@x.io"])
    }
}
