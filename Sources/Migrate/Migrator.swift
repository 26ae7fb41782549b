import Postgres

/// Runs migrations: what the command `migrate` does, for programs.
///
/// ```swift
/// let migrator = try await Migrator.open(
///     source: MigrationSource(directory: "/migrations"), database: DatabaseURL(url))
/// defer { migrator.close() }
/// let run = try await migrator.run(.up(nil))
/// logger.info("migrated", metadata: ["steps": "\(run.steps.count)"])
/// ```
///
/// Runs of this library, of the command and of golang-migrate exclude each other by one advisory lock.
public struct Migrator: Sendable {
    /// How files are compared with the history before `up`.
    public enum Verification: String, Sendable {
        /// Not at all.
        case off
        /// Differences are warnings.
        case warn
        /// Differences stop the run.
        case fail
    }

    /// How a run behaves.
    public struct Options: Sendable {
        /// How long a command waits for the lock; zero tries once.
        public var lockTimeout = Duration.seconds(15)
        /// How long opening waits for the lock; `nil` waits as long as another run takes.
        public var openLockTimeout: Duration?
        /// Files to read ahead.
        public var prefetch = 10
        /// A migration and its record in one transaction; the URL's `x-tx` does the same.
        public var isTransactional = false
        /// How long to try again while the database is not up; `nil` tries once.
        public var wait: Duration?
        /// How files are compared with the history; needs `x-history=true`.
        public var verification = Verification.off
        /// `up` is content with a database that is ahead of all files.
        public var allowsAhead = false
        /// What the history calls this tool.
        public var toolVersion = "dev"
        /// Asks for a stop.
        public var stop = MigrationStop()
        /// Told what happens, on whatever thread it happens.
        public var report: @Sendable (MigrationEvent) -> Void = { _ in }

        /// The defaults of the command.
        public init() {}
    }

    /// What a run did.
    public struct Run: Sendable {
        /// The steps that were carried out.
        public internal(set) var steps: [MigrationStep] = []
        /// There was nothing to do.
        public internal(set) var isNoChange = false
    }

    /// The files.
    public let source: MigrationSource
    let database: MigrationDatabase
    let options: Options

    var history: MigrationHistory { MigrationHistory(database: database) }
    var keepsHistory: Bool { database.url.keepsHistory }

    // MARK: Opening

    /// Connects, waits for another run to end, and makes the bookkeeping table if it is missing.
    ///
    /// - Throws: `MigrationError`; `CancellationError`.
    public static func open(
        source: MigrationSource, database url: DatabaseURL, options: Options = Options()
    ) async throws -> Migrator {
        try await open(database: url, options: options) { () throws(MigrationError) in source }
    }

    /// As `open(source:database:options:)`, with files that are looked at while the server answers.
    ///
    /// - Throws: `MigrationError`, that of the files first; `CancellationError`.
    public static func open(
        database url: DatabaseURL, options: Options = Options(),
        source: () throws(MigrationError) -> MigrationSource
    ) async throws -> Migrator {
        let migrator = try await connect(url, options, for: .preparing, source)
        do {
            try await migrator.database.prepare(lockTimeout: options.openLockTimeout)
        } catch {
            migrator.close()
            throw error
        }
        return migrator
    }

    /// Opens and reads the version, in one round trip where all is as usual.
    ///
    /// - Throws: As `open` and `version()`.
    public static func openReadingVersion(
        database url: DatabaseURL, options: Options = Options(),
        source: () throws(MigrationError) -> MigrationSource
    ) async throws -> (Migrator, Version) {
        let migrator = try await connect(url, options, for: .readingVersion, source)
        do {
            let row = try await migrator.database.prepareAndReadVersion(lockTimeout: options.openLockTimeout)
            return (migrator, Version(row))
        } catch {
            migrator.close()
            throw error
        }
    }

    /// Connects and touches nothing: for `status` and dry runs, also by a role that may only read.
    ///
    /// - Throws: `MigrationError`; `CancellationError`.
    public static func connect(
        source: MigrationSource, database url: DatabaseURL, options: Options = Options()
    ) async throws -> Migrator {
        try await connect(url, options, for: .looking) { () throws(MigrationError) in source }
    }

    private static func connect(
        _ url: DatabaseURL, _ options: Options, for purpose: MigrationDatabase.Purpose,
        _ source: () throws(MigrationError) -> MigrationSource
    ) async throws -> Migrator {
        async let database = connect(url, options, for: purpose)
        // Where there is one thread, the connection is begun on it first, and libpq's first message sent: a thread loop looks at
        // its sockets between two jobs, and libpq has to be called twice.
        await Task.yield()
        await Task.yield()
        let source = try source()
        return Migrator(source: source, database: try await database, options: options)
    }

    /// Waits until the database answers, at most `options.wait`.
    ///
    /// - Throws: `MigrationError`: the last one when the time is over, others than "not up yet" at once.
    public static func waitForDatabase(_ url: DatabaseURL, options: Options) async throws {
        try await connect(url, options, for: .looking).connection.close()
    }

    private static func connect(
        _ url: DatabaseURL, _ options: Options, for purpose: MigrationDatabase.Purpose
    ) async throws -> MigrationDatabase {
        let clock = ContinuousClock()
        let deadline = options.wait.map { clock.now.advanced(by: $0) }
        var pause = Duration.milliseconds(250)
        while true {
            do {
                return try await MigrationDatabase.connect(
                    url, for: purpose, report: options.report)
            } catch let error as MigrationError {
                guard let deadline, error.isWorthWaitingFor, clock.now < deadline else { throw error }
                options.report(.waitingForDatabase(reason: error.message))
                try await Task.sleep(for: min(pause, clock.now.duration(to: deadline)))
                pause = min(pause * 2, .seconds(2))
            }
        }
    }

    /// Ends the session; a lock goes with it.
    public func close() { database.connection.close() }

    // MARK: Running

    /// Applies or undoes migrations.
    ///
    /// - Returns: What was done. A run that was stopped has fewer steps than were asked for.
    /// - Throws: `MigrationError`; what was done before it stays done.
    public func run(_ request: MigrationRequest) async throws -> Run {
        switch request {
        case .up(0), .down(0): return Run(isNoChange: true)
        default: break
        }
        return try await locked {
            let current = try await cleanVersion()
            if let run = try await aheadOfFiles(request, current) { return run }
            let plan = try MigrationPlan(request, current: current, source: source)
            if keepsHistory {
                try await history.prepare(current: current, source: source, toolVersion: options.toolVersion)
            }
            try await verify(request, current: current)
            guard !plan.steps.isEmpty else { return Run(isNoChange: true) }
            return try await run(plan)
        }
    }

    /// What a run would do now, by the same rules, without a lock and without changing anything.
    ///
    /// - Throws: `MigrationError` that the run would begin with.
    /// - Returns: The steps, and the error that the run would end with.
    public func plan(_ request: MigrationRequest) async throws -> (
        steps: [MigrationStep], ending: MigrationError?
    ) {
        switch request {
        case .up(0), .down(0): return ([], nil)
        default: break
        }
        let current = try await cleanVersion()
        if try await aheadOfFiles(request, current) != nil { return ([], nil) }
        try await verify(request, current: current)
        let plan = try MigrationPlan(request, current: current, source: source)
        return (plan.steps, plan.ending)
    }

    private func run(_ plan: MigrationPlan) async throws -> Run {
        var done = Run()
        var queued = 0
        for (index, step) in plan.steps.enumerated() {
            while queued < plan.steps.count, queued <= index + options.prefetch {
                queue(plan.steps[queued])
                queued += 1
            }
            if options.stop.isRequested { return done }
            try await run(step)
            done.steps.append(step)
        }
        if let ending = plan.ending { throw ending }
        return done
    }

    private func queue(_ step: MigrationStep) {
        let isReadAhead = step.file != nil && options.prefetch > 0
        if isReadAhead, let file = step.file { source.prefetch(file) }
        options.report(.queued(step, isReadAhead: isReadAhead))
    }

    private func run(_ step: MigrationStep) async throws {
        let clock = ContinuousClock()
        let start = clock.now
        var body: [UInt8] = []
        var large: LargeScript?
        if let file = step.file {
            // The history wants the hash of all of it, and pieces of x-multi-statement are not one transaction.
            if !keepsHistory, !database.url.isMultiStatement { large = try source.largeScript(file) }
            if large == nil { body = try source.read(file) }
        }
        let read = start.duration(to: clock.now)
        let checksum = keepsHistory ? SHA256.text(normalising: body) : ""
        let path = step.file.map { "\(source.directory)/\($0.fileName)" } ?? ""
        let isTransactional =
            large.map { self.isTransactional(step, firstLine: $0.firstLine, leadingWords: []) }
            ?? self.isTransactional(
                step, firstLine: body.prefix { $0 != UInt8(ascii: "\n") },
                leadingWords: StatementSplitter.leadingWords(body))
        if step.file != nil { options.report(.executing(step)) }
        if isTransactional {
            try await database.bookkeep("BEGIN")
        } else {
            try await database.record(step.target, isDirty: true)
        }
        let began = clock.now
        let entry = { (outcome: String) in
            MigrationHistory.Entry(
                step: step, checksum: checksum, duration: began.duration(to: clock.now), outcome: outcome,
                toolVersion: options.toolVersion)
        }
        do {
            if let large, let file = step.file {
                try await database.run(large, isInTransaction: isTransactional) { () throws(MigrationError) in
                    try source.read(file)
                }
            } else {
                // Handed over: such a file is in memory once, and once more in libpq.
                try await database.run(consume body, path: path, isInTransaction: isTransactional)
            }
        } catch var error as MigrationError {
            await database.rollBack()
            if keepsHistory { await noteFailure(entry("failed")) }
            error.hints += hints(after: step, isTransactional: isTransactional)
            throw error
        }
        let ran = began.duration(to: clock.now)
        // A COMMIT out of our sight would have ended the transaction.
        let isStillOpen = database.connection.transactionStatus == .inTransaction
        try await database.record(
            step.target, isDirty: false, extra: keepsHistory ? [history.insertion(entry("applied"))] : [],
            isInTransaction: isTransactional && isStillOpen)
        options.report(.finished(step, read: read, ran: ran))
    }

    /// Best effort: the migration's own error is what counts.
    private func noteFailure(_ entry: MigrationHistory.Entry) async {
        do {
            try await database.bookkeep(history.insertion(entry))
        } catch {
            options.report(.warning("the failure could not be written to the history: \(error)"))
        }
    }

    private func hints(after step: MigrationStep, isTransactional: Bool) -> [String] {
        if isTransactional {
            return [
                "Nothing was changed: the migration and its record were one transaction. Fix the file and run again."
            ]
        }
        return [
            "The database is dirty at version \(step.target). Unless the file has a COMMIT of its own (or pieces, with "
                + "x-multi-statement), the server has undone it.",
            "Fix the file, then `repair -retry` and run again; or finish by hand and `repair -applied`. "
                + "With -tx a failed migration leaves nothing to repair.",
        ]
    }

    /// Whether the step runs in one transaction with its record.
    private func isTransactional(
        _ step: MigrationStep, firstLine: some Collection<UInt8>, leadingWords: @autoclosure () -> [String]
    ) -> Bool {
        guard options.isTransactional || database.url.isTransactional else { return false }
        if String(decoding: firstLine, as: UTF8.self).trimmingBlanks == "-- migrate:no-transaction" {
            return false
        }
        let own: Set = [
            "BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "START TRANSACTION", "PREPARE TRANSACTION",
        ]
        let hasOwn = leadingWords().contains { word in
            // ROLLBACK TO SAVEPOINT stays inside.
            own.contains(word) || own.contains(String(word.prefix { $0 != " " })) && word != "ROLLBACK TO"
        }
        if hasOwn {
            options.report(
                .warning(
                    "\(step.file?.fileName ?? "") has transaction statements of its own: it is run without -tx, and a "
                        + "failure leaves the database dirty"))
        }
        return !hasOwn
    }

    // MARK: Guards

    func locked<Value>(_ body: () async throws -> Value) async throws -> Value {
        try await database.lock(timeout: options.lockTimeout)
        do {
            let value = try await body()
            await database.unlock()
            return value
        } catch var error as MigrationError {
            // An expired statement timeout loses the session in the original, which then reports the unlock too.
            let isUnlocked = error.isSessionLost ? false : await database.unlock()
            if !isUnlocked {
                error.append(line: "driver: bad connection in line 0: SELECT pg_advisory_unlock($1)")
            }
            throw error
        }
    }

    private func cleanVersion() async throws -> Int64 {
        let (version, isDirty) = try await database.readVersion()
        guard !isDirty else { throw MigrationError.dirty(version) }
        return version
    }

    private func aheadOfFiles(_ request: MigrationRequest, _ current: Int64) async throws -> Run? {
        guard case .up = request, options.allowsAhead, let last = source.entries.last, current > last.version
        else {
            return nil
        }
        options.report(
            .warning(
                "the database is at version \(current), ahead of these files, which end at \(last.version)"))
        return Run(isNoChange: true)
    }

    private func verify(_ request: MigrationRequest, current: Int64) async throws {
        guard case .up = request, options.verification != .off else { return }
        guard keepsHistory else {
            throw MigrationError(
                .refused,
                "-verify=\(options.verification.rawValue) compares with the history: add x-history=true to the database URL"
            )
        }
        let findings = try await history.findings(current: current, source: source)
        if options.verification == .warn || findings.isEmpty {
            for finding in findings { options.report(.warning(finding.text)) }
            return
        }
        throw MigrationError(
            .verification,
            "the files are not those that were applied: " + findings.map(\.text).joined(separator: "; "))
    }
}

extension MigrationError {
    var isWorthWaitingFor: Bool { cause?.isWorthWaitingFor ?? false }
    var isSessionLost: Bool {
        code == .migrationFailed && cause.map { $0.code == .timedOut || $0.code == .connectionLost } ?? false
    }
}
