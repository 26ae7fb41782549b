import CLibPQ
import Synchronization

/// One connection of libpq: its states, its queue of operations, and who waits for what.
///
/// A caller sends its statement itself, without blocking; the poller's thread reads the answer and resumes the
/// caller. The files `Session+….swift` hold connecting, sending, receiving and cancelling.
// @unchecked: `lock` is held wherever a variable below or the PGconn is touched; methods named `locked…` expect it
// to be held by their caller.
@safe final class Session: @unchecked Sendable {
    enum Phase {
        /// Names are being looked up and libpq prepared, on a thread for blocking calls.
        case starting
        /// libpq talks to the server about opening.
        case connecting
        case open
        case closed
    }

    enum Report {
        case notice(PostgresServerError)
        /// The connection ended, for a reason in libpq's words.
        case lost(String)
    }

    let lock = Mutex<Void>(())
    let configuration: PostgresConfiguration
    let poller = Poller.shared
    /// The poller's number for this session; 0 before `open`.
    var id: UInt64 = 0

    var phase = Phase.starting
    var pg: OpaquePointer?
    /// The descriptor that the poller watches, or -1.
    var watched: Int32 = -1
    var isWriteWanted = false
    /// The caller of `current` looks at the socket; the poller does not.
    var isWatchedByCaller = false
    /// The last answer came while a caller would have watched for it, alone or among others.
    var answersSoon = true
    var answersAtOnce = true
    /// Nanoseconds of `MonotonicClock` at which the last answer was complete, and at which callers that watch began to do
    /// so without a pause.
    var answeredAt: UInt64 = 0
    var turnBegan: UInt64 = 0
    var opening: Continuation<Void, any Error>?
    var openTimer: UInt64?
    /// Why the session is closed.
    var closeReason = PostgresError(.connectionLost, "the connection is closed")

    var current: Operation?
    var queue: [Operation] = []
    var cancelHandle: CancelHandle?
    /// Requests to cancel that are on their way: until the server has them, no other statement may begin.
    var cancelsInFlight = 0
    var graceTimer: UInt64?

    /// What came up for the log while the lock was held; told when it is free.
    var reports: [Report] = []
    /// Callers whose operation ended while the lock was held; resumed when it is free. They soon want it themselves, and a
    /// resumption waits for the handler of a cancellation of the same task, which waits for the lock.
    var resumptions: [Operation.Resumption] = []
    var listeners: [UInt64: Listener] = [:]
    var lastListener: UInt64 = 0
    /// What opens a transaction whose first statement has not come yet: it goes out with that one.
    var begin: String?
    /// The last convoy went well, so the next one may be one transaction.
    var isConvoyQuick = false
    /// What opens the transaction of a convoy is prepared.
    var isOpeningPrepared = false
    /// How many transactions of convoys have failed at their opening, one after the other.
    var openingFailures = 0
    /// How often statements have broken the transaction of a convoy since they last did well in one.
    var breaks: [KeptStatement: Int] = [:]
    /// Statements that the connection prepared for itself, by their text and the types of
    /// their parameters.
    var kept: [KeptStatement: PostgresPreparedStatement] = [:]

    init(_ configuration: PostgresConfiguration) { self.configuration = configuration }

    var isOpen: Bool { lock.withLock { _ in phase == .open } }

    /// Runs `body` under the lock, then tells the reports that came up and resumes those whose operation ended.
    func withLock<Value>(_ body: () -> Value) -> Value {
        let (value, reports, resumptions) = lock.withLock { _ in
            let value = body()
            defer {
                self.reports = []
                self.resumptions = []
            }
            return (value, self.reports, self.resumptions)
        }
        for report in reports { tell(report) }
        for resumption in resumptions { resumption() }
        return value
    }

    private func tell(_ report: Report) {
        switch report {
        case .lost(let reason):
            configuration.logger?.warning("connection to PostgreSQL lost", metadata: ["reason": "\(reason)"])
        case .notice(let notice):
            if let onNotice = configuration.onNotice { return onNotice(notice) }
            configuration.logger?.log(
                level: notice.severity == "WARNING" ? .warning : .debug, "notice from PostgreSQL",
                metadata: ["message": "\(notice.message)", "sqlstate": "\(notice.sqlState)"])
        }
    }

    /// Closes the connection. What is under way fails, and no further statement is taken.
    func close(
        _ reason: PostgresError = PostgresError(.connectionLost, "the connection was closed by this program")
    ) {
        withLock { lockedClose(reason) }
    }

    func lockedClose(_ reason: PostgresError) {
        guard phase != .closed else { return }
        phase = .closed
        closeReason = reason
        if let openTimer { poller.callOff(openTimer) }
        if let graceTimer { poller.callOff(graceTimer) }
        if let timer = current?.timer { poller.callOff(timer) }
        if let pg = unsafe pg {
            lockedUnwatch()
            unsafe PQfinish(pg)
            unsafe self.pg = nil
        }
        poller.remove(id)
        lockedEndOpening(.failure(reason))
        if let operation = current {
            current = nil
            // What the server had said to the end stays true.
            if !operation.hasEnded, operation.failure == nil { operation.failure = reason }
            lockedComplete(operation)
        }
        for operation in queue {
            operation.failure = reason
            lockedComplete(operation)
        }
        queue = []
        // They stay to be asked for what has arrived before.
        resumptions += listeners.values.compactMap { $0.finish(.failure(reason)) }
    }

    // MARK: The poller

    /// The descriptor can be read or written.
    func becameReady() {
        withLock {
            switch phase {
            case .connecting: lockedPollConnecting()
            case .open: lockedReceive()
            case .starting, .closed: break
            }
        }
    }

    func lockedWatch(reading: Bool, writing: Bool) {
        guard let pg = unsafe pg else { return }
        let socket = unsafe PQsocket(pg)
        // Closed by libpq, which could make no sense of the server: whoever reads next loses the connection.
        guard socket >= 0 else { return }
        if watched == socket {
            poller.rewatch(socket, reading: reading, writing: writing, id: id)
        } else {
            poller.watch(socket, reading: reading, writing: writing, id: id)
            watched = socket
        }
    }

    /// Must run before libpq may close the descriptor: its number could belong to another session right after.
    func lockedUnwatch() {
        guard watched >= 0 else { return }
        // A socket that libpq has dropped by itself left the poller with its last descriptor.
        if unsafe PQsocket(pg) == watched { poller.unwatch(watched) }
        watched = -1
    }
}
