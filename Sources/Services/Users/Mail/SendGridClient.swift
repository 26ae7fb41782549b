import NIOHTTP1

/// Sends mail through SendGrid (v3 Web API, "Mail Send").
struct SendGridClient: Sendable {
    let api: RemoteAPI
    let key: String

    /// Hands one mail over; SendGrid delivers it.
    ///
    /// - Throws: `RemoteAPIError` or `CancellationError`.
    func send(_ mail: InviteMail) async throws {
        struct Address: Encodable {
            let email: String
            let name: String
        }
        struct Personalization: Encodable {
            let to: [Address]
        }
        struct Content: Encodable {
            let type: String
            let value: String
        }
        struct Message: Encodable {
            let personalizations: [Personalization]
            let from: Address
            let subject: String
            let content: [Content]
        }
        let message = Message(
            personalizations: [Personalization(to: [Address(email: mail.recipient, name: "Invitee")])],
            from: Address(email: "people@devpie.io", name: "DevPie"), subject: InviteMail.subject,
            content: [
                // The order is SendGrid's rule: plain text before HTML.
                Content(type: "text/plain", value: mail.text), Content(type: "text/html", value: mail.html),
            ])
        _ = try await api.send(RemoteRequest(.POST, "/v3/mail/send", token: key, body: .json(message)))
    }
}
