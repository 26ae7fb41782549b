import Foundation
import Synchronization

/// SendGrid's v3 API, as far as this service uses it.
final class MailStandIn: Sendable {
    struct Mail: Sendable, Equatable {
        let to: String
        let text: String
        let html: String
        /// What follows the subject in the text.
        var link: String { String(text.dropFirst("You've been invited to a Team on DevPie! ".count)) }
    }

    struct State: Sendable {
        var mails: [Mail] = []
        var complaints: [String] = []
        var interjections: [StandInAnswer] = []
    }

    static let key = "SG.key"

    private let state = Mutex(State())

    var mails: [Mail] { state.withLock { $0.mails } }
    var complaints: [String] { state.withLock { $0.complaints } }
    /// Puts answers before the usual ones.
    func interject(_ answers: StandInAnswer...) { state.withLock { $0.interjections += answers } }

    @Sendable func answer(_ request: ReceivedRequest) async throws -> StandInAnswer {
        let interjection = state.withLock { $0.interjections.isEmpty ? nil : $0.interjections.removeFirst() }
        if let interjection { return interjection }
        let json = request.json
        let from = json["from"] as? [String: String]
        let personalizations = json["personalizations"] as? [[String: Any]]
        let to = (personalizations?.first?["to"] as? [[String: String]])?.first
        let content = json["content"] as? [[String: String]]
        var rules: [String: Bool] = [:]
        rules["path"] = request.method == "POST" && request.path == "/v3/mail/send"
        rules["key"] = request.headers["authorization"] == "Bearer \(Self.key)"
        rules["type"] = request.headers["content-type"] == "application/json"
        rules["from"] = from == ["email": "people@devpie.io", "name": "DevPie"]
        rules["to"] = personalizations?.count == 1 && to?["name"] == "Invitee"
        rules["subject"] = json["subject"] as? String == "You've been invited to a Team on DevPie!"
        rules["content"] = content?.compactMap { $0["type"] } == ["text/plain", "text/html"]
        let broken = rules.filter { !$0.value }.keys.sorted()
        state.withLock { state in
            state.complaints += broken
            state.mails.append(
                Mail(
                    to: to?["email"] ?? "", text: content?.first?["value"] ?? "",
                    html: content?.last?["value"] ?? ""))
        }
        return StandInAnswer(status: 202)
    }
}
