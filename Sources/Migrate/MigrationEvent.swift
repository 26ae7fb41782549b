import Synchronization

/// What a run tells while it goes on.
public enum MigrationEvent: Sendable {
    /// A step was queued; its file is being read ahead, or there is none.
    case queued(MigrationStep, isReadAhead: Bool)
    /// A step with a file begins.
    case executing(MigrationStep)
    /// A step is done and recorded.
    case finished(MigrationStep, read: Duration, ran: Duration)
    /// Another run holds the lock; told once.
    case waitingForLock(id: Int64)
    /// The database is not up yet; told at each attempt.
    case waitingForDatabase(reason: String)
    /// The server said something beside its answers.
    case notice(severity: String, message: String)
    /// Something that the user should know and that stops nothing.
    case warning(String)
}

/// Asks a run to stop after the migration under way. Safe to use from any thread.
public final class MigrationStop: Sendable {
    private let flag = Atomic(false)

    /// Nothing was asked yet.
    public init() {}

    /// Lets the migration under way finish, and nothing more begin.
    public func request() { flag.store(true, ordering: .relaxed) }

    /// Whether a stop was asked for.
    public var isRequested: Bool { flag.load(ordering: .relaxed) }
}
