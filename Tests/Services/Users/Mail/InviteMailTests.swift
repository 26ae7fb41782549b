import Testing

@testable import UsersService

@Suite("the invitation mail") struct InviteMailTests {
    @Test("has the subject and the link as text, and the link in the HTML")
    func content() {
        let mail = InviteMail(recipient: "bob@x.io", link: "https://devpie.local:3000")
        #expect(mail.text == "You've been invited to a Team on DevPie! https://devpie.local:3000")
        #expect(mail.html.contains("<strong>Join Devpie</strong><br>"))
        #expect(mail.html.contains("<a href=\"https://devpie.local:3000\">create an account</a>"))
    }

    @Test("a link cannot break out of its attribute")
    func escaping() {
        let mail = InviteMail(recipient: "bob@x.io", link: "https://x/?a=1&b=\"><script>")
        #expect(mail.html.contains("href=\"https://x/?a=1&amp;b=&quot;&gt;&lt;script&gt;\""))
    }
}
