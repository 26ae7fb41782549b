/// What came of an event.
public enum EventOutcome: Sendable, Hashable {
    /// The data has changed.
    case applied
    /// Nothing to do: the event is stale, or what it is about was deleted.
    case ignored
    /// What it is about is not there yet; it is tried again.
    case waiting(String)
    /// It will never be applied; it goes to the dead letters with this reason.
    case refused(String)
}

/// Handles the events of one channel.
///
/// ```swift
/// EventListener(MembershipDeleted.self) { event, transaction in
///     try await transaction.query("DELETE FROM memberships WHERE membership_id = \(event.data.membershipID)")
///     return .applied
/// }
/// ```
///
/// `apply` runs in the transaction that records the event as handled: both are committed, or neither. What it throws is
/// rolled back and tried again.
public struct EventListener: Sendable {
    /// An event that was read, bound to what handles it.
    struct Prepared: Sendable {
        let id: String
        let entityID: String
        let traceID: String
        let apply: @Sendable (Transaction) async throws -> EventOutcome
    }

    /// The channel.
    public let channel: String
    let prepare: @Sendable ([UInt8]) throws(JSONFailure) -> Prepared

    /// A listener for one kind of event.
    public init<Data: EventData>(
        _ type: Data.Type, apply: @escaping @Sendable (Event<Data>, Transaction) async throws -> EventOutcome
    ) {
        channel = Data.type
        prepare = { (payload: [UInt8]) throws(JSONFailure) in
            let event = try Event<Data>(payload: payload)
            return Prepared(
                id: event.id, entityID: event.data.entityID, traceID: event.source.traceID,
                apply: { try await apply(event, $0) })
        }
    }
}
