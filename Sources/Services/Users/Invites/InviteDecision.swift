import ServicesCore

/// What an answer to an invite comes to. An answer counts once: said again it changes nothing, and its opposite is
/// refused. Only an invite that is still open can expire.
enum InviteDecision: Sendable, Equatable {
    /// The answer is the first one: record it.
    case record
    /// The same answer was given before.
    case repeated
    /// The other answer was given before.
    case contradicted
    /// The invite was never answered, and its time is over.
    case expired

    /// Judges an answer.
    ///
    /// - Parameters:
    ///   - accepted: The answer.
    ///   - invite: The invite as it is now.
    ///   - now: The time.
    init(accepted: Bool, to invite: Invite, now: Timestamp) {
        self =
            if invite.isAccepted {
                accepted ? .repeated : .contradicted
            } else if invite.declinedAt != nil {
                accepted ? .contradicted : .repeated
            } else {
                invite.expiration > now ? .record : .expired
            }
    }
}
