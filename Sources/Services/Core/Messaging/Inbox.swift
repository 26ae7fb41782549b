import Postgres

/// Applies each event once: its id is recorded in the transaction that applies it (services.md 5.6).
///
/// Events of one entity are applied one after the other, also by several replicas: without that lock a creation and a
/// deletion at the same moment would each miss what the other has not committed, and the deleted entity would stay.
struct Inbox: Sendable {
    /// What became of a message.
    enum Outcome: Sendable, Equatable {
        case applied(entityID: String)
        case ignored
        /// It was handled before.
        case duplicate
        /// This service published it.
        case own
        case waiting(eventID: String, entityID: String, reason: String)
        case refused(String)

        /// The label of the metric.
        var label: String {
            switch self {
            case .applied: "applied"
            case .ignored: "ignored"
            case .duplicate: "duplicate"
            case .own: "own"
            case .waiting: "waiting"
            case .refused: "refused"
            }
        }
    }

    /// Undoes a transaction whose event was not applied.
    private struct Rollback: Error {
        let outcome: Outcome
    }

    /// The durable's name, under which ids are recorded.
    let consumer: String
    let database: Database
    private let listeners: [String: EventListener]

    init(consumer: String, database: Database, listeners: [EventListener]) {
        self.consumer = consumer
        self.database = database
        self.listeners = Dictionary(listeners.map { ($0.channel, $0) }) { first, _ in
            preconditionFailure("two listeners on the channel \(first.channel): one subscription a channel")
        }
    }

    var channels: [String] { listeners.keys.sorted() }

    /// Why a message is refused before it was tried.
    struct Refusal: Error {
        let reason: String
    }

    /// Reads a message.
    func read(channel: String, payload: [UInt8]) -> Result<EventListener.Prepared, Refusal> {
        guard let listener = listeners[channel] else {
            return .failure(Refusal(reason: "no listener for the channel"))
        }
        do throws(JSONFailure) {
            return .success(try listener.prepare(payload))
        } catch {
            return .failure(Refusal(reason: "undecodable: \(error.message)"))
        }
    }

    /// Reads a message and applies it.
    ///
    /// - Throws: As `process(_:)`.
    func process(channel: String, payload: [UInt8]) async throws -> Outcome {
        switch read(channel: channel, payload: payload) {
        case .success(let event): try await process(event)
        case .failure(let refusal): .refused(refusal.reason)
        }
    }

    /// Applies an event, unless it was applied before.
    ///
    /// - Throws: What will be tried again: the database is away, or the handler failed.
    func process(_ event: EventListener.Prepared) async throws -> Outcome {
        do {
            return try await database.transaction { transaction in
                let row = try await transaction.query(
                    """
                    WITH own AS (SELECT 1 FROM outbox WHERE event_id = \(event.id)),
                      handled AS (
                        INSERT INTO inbox (consumer, event_id)
                        SELECT \(consumer), \(event.id) WHERE NOT EXISTS (SELECT 1 FROM own)
                        ON CONFLICT DO NOTHING RETURNING 1)
                    SELECT EXISTS (SELECT 1 FROM own), EXISTS (SELECT 1 FROM handled),
                      pg_advisory_xact_lock(hashtextextended(\(event.entityID), 0))
                    """
                ).first
                guard let (isOwn, isNew) = try row?.decode(Bool.self, Bool.self) else { return .duplicate }
                if isOwn { return .own }
                if !isNew { return .duplicate }
                switch try await event.apply(transaction) {
                case .applied: return .applied(entityID: event.entityID)
                case .ignored: return .ignored
                case .waiting(let reason):
                    throw Rollback(
                        outcome: .waiting(eventID: event.id, entityID: event.entityID, reason: reason))
                case .refused(let reason): throw Rollback(outcome: .refused(reason))
                }
            }
        } catch let rollback as Rollback {
            return rollback.outcome
        } catch let error as PostgresError where error.isPermanent {
            // A value that no column can hold would come back for ever.
            return .refused("the database refuses it: \(error)")
        }
    }

    /// Sets a message aside that will never be applied.
    func bury(channel: String, sequence: UInt64, payload: [UInt8], reason: String) async throws {
        try await database.query(
            """
            INSERT INTO dead_letters (consumer, channel, sequence, payload, reason)
            VALUES (\(consumer), \(channel), \(Int64(bitPattern: sequence)), \(payload), \(reason.withoutNUL))
            ON CONFLICT DO NOTHING
            """)
    }

    /// Sets a message aside that waits for another one.
    func park(channel: String, sequence: UInt64, payload: [UInt8], eventID: String, reason: String)
        async throws
    {
        try await database.query(
            """
            INSERT INTO parked (consumer, event_id, channel, sequence, payload, reason)
            VALUES (\(consumer), \(eventID), \(channel), \(Int64(bitPattern: sequence)), \(payload), \(reason))
            ON CONFLICT DO NOTHING
            """)
    }
}

extension String {
    /// A text column holds no NUL.
    fileprivate var withoutNUL: String { contains("\0") ? replacing("\0", with: "") : self }
}
