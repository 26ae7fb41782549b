/// The mail that asks somebody into a team.
struct InviteMail: Sendable, Equatable {
    /// The address.
    let recipient: String
    /// Where accepting begins: the front end, or a password ticket made for this recipient alone.
    let link: String

    /// The subject, which is also the first sentence of the text.
    static let subject = "You've been invited to a Team on DevPie!"

    /// The mail as plain text.
    var text: String { "\(Self.subject) \(link)" }

    /// The mail as HTML.
    var html: String {
        "<strong>Join Devpie</strong><br><p>To accept the invitation, "
            + "<a href=\"\(Self.escape(link))\">create an account</a>.</p>"
    }

    private static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
