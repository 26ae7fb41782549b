import CLibPQ
import Glibc

extension Session {
    /// Opens a connection.
    ///
    /// - Throws: `PostgresError` with the code `.connectionFailed`, or `CancellationError`.
    static func open(_ configuration: PostgresConfiguration) async throws -> Session {
        let session = Session(configuration)
        try await withTaskCancellationHandler {
            try await withThrowingContinuation { continuation in
                session.beginOpening(continuation)
            }
        } onCancel: {
            session.callOffOpening()
        }
        return session
    }

    private func callOffOpening() {
        withLock {
            lockedEndOpening(.failure(CancellationError()))
            lockedClose(PostgresError(.connectionLost, "connecting was called off"))
        }
    }

    private func failOpening(_ error: PostgresError) {
        withLock {
            guard phase == .starting || phase == .connecting else { return }
            lockedClose(error)
        }
    }

    private func beginOpening(_ continuation: Continuation<Void, any Error>) {
        let isBegun = lock.withLock { _ in
            guard phase == .starting else {
                continuation.resume(throwing: CancellationError())
                return false
            }
            id = poller.add(self)
            opening = continuation
            if let timeout = configuration.connectTimeout {
                openTimer = poller.schedule(at: MonotonicClock.after(timeout)) { [weak self] in
                    self?.failOpening(
                        PostgresError(
                            .connectionFailed(.timedOut),
                            "no answer from the server within \(timeout): timeout"))
                }
            }
            return true
        }
        guard isBegun else { return }
        if configuration.startsOnCallersThread, !HostNames.mustLookUp(configuration.parameters) {
            start()
        } else {
            BlockingCalls.openings.run { self.start() }
        }
    }

    /// On a thread for blocking calls, or the caller's: looks names up and prepares the connection.
    private func start() {
        // Out of time while it waited for a thread: what is looked up now would keep others waiting.
        guard lock.withLock({ _ in phase == .starting }) else { return }
        var parameters = configuration.parameters
        // Kerberos may call its servers while it blocks, and costs milliseconds to load: only on request.
        if parameters["gssencmode"] == nil { parameters["gssencmode"] = "disable" }
        parameters["client_encoding"] = "UTF8"
        // Ours come first, so that the caller's settings win.
        let options = parameters["options"] ?? HostNames.environment("PGOPTIONS") ?? ""
        parameters["options"] = "-c DateStyle=ISO,MDY " + options
        do {
            try HostNames.resolve(&parameters)
        } catch {
            return close(error)
        }
        let pairs = parameters.sorted { $0.key < $1.key }
        let keywords = CStringArray(pairs.map(\.key))
        let values = CStringArray(pairs.map(\.value))
        guard let pg = unsafe PQconnectStartParams(keywords.pointers, values.pointers, 0) else {
            return close(PostgresError(.connectionFailed(.other), "there is no memory for a connection"))
        }
        withLock { unsafe lockedStarted(pg) }
    }

    private func lockedStarted(_ pg: OpaquePointer) {
        guard phase == .starting else {
            // Called off, or out of time.
            unsafe PQfinish(pg)
            return
        }
        unsafe self.pg = unsafe pg
        phase = .connecting
        unsafe PQsetErrorVerbosity(pg, PQERRORS_VERBOSE)
        // The session outlives its PGconn, which it closes: the pointer to it stays good.
        unsafe PQsetNoticeReceiver(
            pg,
            { argument, result in
                guard let argument = unsafe argument, let result = unsafe result else { return }
                let session = unsafe Unmanaged<Session>.fromOpaque(argument).takeUnretainedValue()
                unsafe session.lockedNotice(result)
            }, Unmanaged.passUnretained(self).toOpaque())
        guard unsafe PQstatus(pg) != CONNECTION_BAD else {
            return lockedFailOpening()
        }
        lockedWatch(reading: false, writing: true)
    }

    func lockedPollConnecting() {
        // libpq may go on with another socket, and close this one, inside the call.
        lockedUnwatch()
        switch unsafe PQconnectPoll(pg) {
        case PGRES_POLLING_READING: lockedWatch(reading: true, writing: false)
        case PGRES_POLLING_WRITING: lockedWatch(reading: false, writing: true)
        case PGRES_POLLING_OK: lockedOpened()
        default: lockedFailOpening()
        }
    }

    private func lockedFailOpening() {
        lockedClose(ConnectionFailureText.error(unsafe String(cString: PQerrorMessage(pg))))
    }

    private func lockedOpened() {
        unsafe PQsetnonblocking(pg, 1)
        unsafe PQsetErrorVerbosity(pg, PQERRORS_DEFAULT)
        guard let handle = unsafe PQgetCancel(pg) else {
            return lockedClose(
                PostgresError(.connectionFailed(.other), "there is no memory for a connection"))
        }
        cancelHandle = unsafe CancelHandle(handle)
        phase = .open
        if let openTimer { poller.callOff(openTimer) }
        openTimer = nil
        lockedWatch(reading: true, writing: false)
        lockedEndOpening(.success(()))
    }

    func lockedEndOpening(_ result: Result<Void, any Error>) {
        guard let opening else { return }
        self.opening = nil
        resumptions.append(.opening(result, opening))
    }

    /// Called by libpq inside one of our calls, so under the lock.
    private func lockedNotice(_ result: OpaquePointer) {
        // The result belongs to libpq and is valid during this call alone, so nothing may keep it.
        let field = { (code: Unicode.Scalar) in
            unsafe PQresultErrorField(result, Int32(UInt8(ascii: code))).map { unsafe String(cString: $0) }
        }
        guard let message = field("M") else { return }
        var notice = PostgresServerError(
            severity: field("V") ?? field("S") ?? "NOTICE", sqlState: field("C") ?? "00000", message: message)
        notice.detail = field("D")
        notice.hint = field("H")
        notice.context = field("W")
        // A server that talks without end must not fill our memory between two unlocks.
        if reports.count < 10_000 { reports.append(.notice(notice)) }
    }
}

/// Texts for C, alive as long as this object: a NULL-terminated array of NUL-terminated strings.
// The pointers are freed in `deinit` and nowhere else.
@safe final class CStringArray {
    let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>
    private let count: Int

    init(_ texts: [String]) {
        count = texts.count
        unsafe pointers = .allocate(capacity: count + 1)
        for (index, text) in texts.enumerated() {
            unsafe pointers[index] = UnsafePointer(strdup(text))
        }
        unsafe pointers[count] = nil
    }

    deinit {
        for index in 0..<count { unsafe free(UnsafeMutableRawPointer(mutating: pointers[index])) }
        unsafe pointers.deallocate()
    }
}
