import ServicesCore
import Testing

@testable import UsersService

@Suite("answers to invites") struct InviteDecisionTests {
    private static let now = Timestamp(microseconds: 1_000)

    private func invite(accepted: Bool = false, declined: Bool = false, expiresIn microseconds: Int64)
        -> Invite
    {
        Invite(
            id: "i", userID: "u", teamID: "t", isRead: accepted || declined, isAccepted: accepted,
            declinedAt: declined ? Self.now : nil,
            expiration: Timestamp(microseconds: Self.now.microseconds + microseconds), updatedAt: Self.now,
            createdAt: Self.now)
    }

    @Test("an open invite takes either answer until its last microsecond", arguments: [true, false])
    func open(_ accepted: Bool) {
        #expect(InviteDecision(accepted: accepted, to: invite(expiresIn: 1), now: Self.now) == .record)
        #expect(InviteDecision(accepted: accepted, to: invite(expiresIn: 0), now: Self.now) == .expired)
    }

    @Test("an answer stands: the same again changes nothing, the other is refused, expired or not")
    func decided() {
        for expiry in [Int64(-1), 1] {
            let accepted = invite(accepted: true, expiresIn: expiry)
            #expect(InviteDecision(accepted: true, to: accepted, now: Self.now) == .repeated)
            #expect(InviteDecision(accepted: false, to: accepted, now: Self.now) == .contradicted)
            let declined = invite(declined: true, expiresIn: expiry)
            #expect(InviteDecision(accepted: false, to: declined, now: Self.now) == .repeated)
            #expect(InviteDecision(accepted: true, to: declined, now: Self.now) == .contradicted)
        }
    }
}
