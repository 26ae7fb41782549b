import CLibPQ

/// Something that a session does for one caller: a query, a script, a pipeline, a stream of rows.
// @unchecked: every variable is guarded by the lock of the session that the operation was given to.
final class Operation: @unchecked Sendable {
    /// What goes to the server.
    enum Request: Sendable {
        /// SQL for the simple protocol, ending in a NUL byte; it may hold several statements.
        case simple([UInt8])
        case statement(PostgresStatement)
        case prepare(name: String, sql: String, types: [UInt32])
        case pipeline([PostgresStatement])
        /// Statements of several callers, each an operation of its own.
        case convoy(Convoy)
    }

    /// What becomes of the results.
    enum Mode: Sendable {
        /// All of them are kept.
        case collect
        /// They are counted and dropped.
        case discard
        /// Rows are handed over as they come.
        case stream
    }

    enum CancelReason: Sendable {
        /// The caller's task was cancelled.
        case task
        /// The time for the statement passed.
        case timeout
        /// The caller needs no more rows.
        case abandoned
    }

    typealias Outcome = Result<[PostgresResult], any Error>

    /// Rows of a stream, `nil` at its end.
    typealias Rows = Result<[PostgresRow]?, any Error>

    /// A caller that can go on.
    enum Resumption {
        case outcome(Outcome, Continuation<Outcome, Never>)
        case rows(Rows, Continuation<Rows, Never>)
        case notification(Listener.Next, Continuation<Listener.Next, Never>)
        case opening(Result<Void, any Error>, Continuation<Void, any Error>)
        /// A member of a convoy.
        case member(Outcome?, Continuation<Outcome?, Never>)
        case convoyEnded(Convoy)

        func callAsFunction() {
            switch self {
            case .outcome(let outcome, let continuation): continuation.resume(returning: outcome)
            case .rows(let rows, let continuation): continuation.resume(returning: rows)
            case .notification(let next, let continuation): continuation.resume(returning: next)
            case .opening(let result, let continuation): continuation.resume(with: result)
            case .member(let outcome, let continuation): continuation.resume(returning: outcome)
            case .convoyEnded(let convoy): convoy.ended()
            }
        }
    }

    private(set) var request: Request?
    let mode: Mode
    let timeout: Duration?
    /// How long its caller may watch for the answer, in nanoseconds.
    let watchTime: UInt64
    /// Whether a quick answer is to be expected at all: not of a commit, which waits for the server's disk.
    let answersSoon: Bool

    /// Who waits for the end. A stream has none: its consumer waits in `rowWaiter`.
    var continuation: Continuation<Outcome, Never>?
    /// Who waits for the end of a member of a convoy; `nil` tells that it has not been sent (`PostgresPool`).
    var memberContinuation: Continuation<Outcome?, Never>?
    var results: [PostgresResult] = []
    var completedStatements = 0
    var failure: PostgresError?
    var cancelReason: CancelReason?
    /// The server has said all about it.
    var hasEnded = false
    /// Nothing more will happen: `outcome` is what its caller gets.
    var isComplete = false
    /// Its task was cancelled before the session had it.
    var isCancelledEarly = false
    /// Nanoseconds of `MonotonicClock` at which it was sent.
    var sentAt: UInt64 = 0
    var timer: UInt64?
    /// When its time ends; set when it is sent for the first time.
    var deadline: UInt64?
    var isCopyingOut = false
    /// What follows must not run without it.
    var isBegin = false
    /// The answer to BEGIN comes first.
    var isBehindBegin = false

    /// The statements that travel as this operation.
    let convoy: Convoy?
    /// What this operation is in a convoy.
    var member: ConvoyMember?
    /// The session that has this member of a convoy; guarded by the lock of the pool.
    var carrier: Session?

    // Streams.
    var rows: [PostgresRow] = []
    var columns: [PostgresColumn]?
    var rowWaiter: Continuation<Rows, Never>?
    var streamEnd: Outcome?
    /// The consumer lags; the socket is not read.
    var isPaused = false

    init(_ request: Request, mode: Mode = .collect, timeout: Duration? = nil, answersSoon: Bool = true) {
        self.request = request
        if case .convoy(let convoy) = request { self.convoy = convoy } else { convoy = nil }
        member = nil
        self.answersSoon = answersSoon
        self.mode = mode
        self.timeout = timeout
        var further: UInt64 = 0
        if case .pipeline(let statements) = request { further = UInt64(max(statements.count, 1) - 1) }
        watchTime = min(Session.watchTime + further * Session.watchTimeOfNext, Session.longestWatchTime)
    }

    /// A statement that may travel with those of other callers.
    init(_ member: ConvoyMember, timeout: Duration?) {
        self.member = member
        self.timeout = timeout
        (request, convoy, mode, answersSoon, watchTime) = (nil, nil, .collect, false, 0)
    }

    /// Whether a BEGIN that waits for its first statement may go out with this operation, or wait on: a statement is only
    /// prepared yet.
    var isFitBehindBegin: Bool {
        switch request {
        case .statement: mode == .collect
        case .prepare: true
        default: false
        }
    }

    /// Hands the request over to be sent. A script may be many megabytes: libpq has its own copy then.
    func takeRequest() -> Request? {
        defer { request = nil }
        return request
    }

    /// What to tell the caller.
    var outcome: Outcome {
        if isCancelledEarly { return .failure(CancellationError()) }
        guard let failure else { return .success(results) }
        if failure.sqlState == "57014" {
            switch cancelReason {
            case .task, .abandoned: return .failure(CancellationError())
            case .timeout:
                return .failure(
                    PostgresError(
                        .timedOut,
                        "the statement took longer than \(timeout.map { "\($0)" } ?? "its time") and was cancelled",
                        server: failure.server, completedStatements: completedStatements))
            case nil: break
            }
        }
        return .failure(failure)
    }
}

/// The parameters of one statement, or of several, in the form that libpq takes: all bytes in one block, each value ending
/// in NUL.
struct ParameterBlock {
    private var bytes: ContiguousArray<UInt8> = []
    /// Where each value begins in `bytes`; `nil` is NULL.
    private var offsets: [Int?] = []
    private var types: [Oid] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []

    /// Adds the parameters of a statement.
    ///
    /// - Returns: The places of its values in the block.
    mutating func append(_ parameters: [PostgresParameter]) throws(PostgresError) -> Range<Int> {
        guard parameters.count <= 65_535 else {
            throw PostgresError(
                .misuse, "a statement takes at most 65535 parameters, and this one has \(parameters.count)")
        }
        let start = offsets.count
        for (index, parameter) in parameters.enumerated() {
            types.append(parameter.typeOID)
            switch parameter.payload {
            case .null:
                offsets.append(nil)
                lengths.append(0)
                formats.append(0)
            case .text(let text):
                guard !text.utf8.contains(0) else {
                    throw PostgresError(
                        .misuse, "parameter $\(index + 1) holds a NUL character, which no PostgreSQL text can"
                    )
                }
                offsets.append(bytes.count)
                bytes.append(contentsOf: text.utf8)
                bytes.append(0)
                lengths.append(0)
                formats.append(0)
            case .binary(let value):
                guard let length = Int32(exactly: value.count) else {
                    throw PostgresError(
                        .misuse,
                        "parameter $\(index + 1) has \(value.count) bytes; a value holds at most 1 GiB")
                }
                offsets.append(bytes.count)
                bytes.append(contentsOf: value)
                bytes.append(0)
                lengths.append(length)
                formats.append(1)
            }
        }
        return start..<offsets.count
    }

    typealias Arrays = (
        count: Int32, types: UnsafePointer<Oid>?, values: UnsafePointer<UnsafePointer<CChar>?>?,
        lengths: UnsafePointer<Int32>?, formats: UnsafePointer<Int32>?
    )

    /// Calls `body` for each statement with pointers that are valid during the call, until it returns another than 1;
    /// returns what the last call did.
    func forEach(_ statements: [Range<Int>], _ body: (Int, Arrays) -> Int32) -> Int32 {
        unsafe bytes.withUnsafeBufferPointer { bytes in
            let base = unsafe UnsafeRawPointer(bytes.baseAddress)
            let values = unsafe offsets.map { offset in
                unsafe offset.flatMap { unsafe base?.advanced(by: $0).assumingMemoryBound(to: CChar.self) }
            }
            return unsafe values.withUnsafeBufferPointer { values in
                unsafe types.withUnsafeBufferPointer { types in
                    unsafe lengths.withUnsafeBufferPointer { lengths in
                        unsafe formats.withUnsafeBufferPointer { formats in
                            var result: Int32 = 1
                            for (index, places) in statements.enumerated() where result == 1 {
                                let start = places.lowerBound
                                result = unsafe body(
                                    index,
                                    (
                                        Int32(places.count), types.baseAddress?.advanced(by: start),
                                        values.baseAddress?.advanced(by: start),
                                        lengths.baseAddress?.advanced(by: start),
                                        formats.baseAddress?.advanced(by: start)
                                    ))
                            }
                            return result
                        }
                    }
                }
            }
        }
    }
}
