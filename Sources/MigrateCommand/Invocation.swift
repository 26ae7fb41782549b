import Flags
import Migrate
import Postgres

/// One run of the program: the global options and what they lead to.
struct Invocation {
    let options: GlobalOptions
    let output: Output
    let signals: SignalWatch

    /// - Returns: The exit code.
    func run() async throws -> Int32 {
        let clock = ContinuousClock()
        let start = clock.now
        guard let name = options.arguments.first else { throw UsageFailure(usage: options.usage) }
        let arguments = Array(options.arguments.dropFirst())
        var code: Int32 = 0
        switch name {
        case "create":
            try CreateCommand.run(arguments, output)
            return 0
        case "version":
            try await version()
            close()
            return 0
        case "up": try await up(arguments)
        case "down": try await down(arguments)
        case "goto": try await goTo(arguments)
        case "force": try await force(arguments)
        case "drop": try await drop(arguments)
        case "status": code = try await status(arguments)
        case "verify": code = try await verify(arguments)
        case "repair": try await repair(arguments)
        case "baseline": try await baseline(arguments)
        case "wait": try await wait(arguments)
        default: throw UsageFailure(usage: options.usage)
        }
        if output.isVerbose {
            let (seconds, attoseconds) = start.duration(to: clock.now).components
            output.line(
                "Finished after \(GoDuration.text(nanoseconds: seconds * 1_000_000_000 + attoseconds / 1_000_000_000))"
            )
        }
        close()
        return code == 0 && signals.stop.isRequested ? options.exitCodeOnStop : code
    }

    private func close() {
        if output.isVerbose { output.line("Closing source and database") }
    }

    // MARK: Opening

    /// Opens source and database; signals stop gracefully from then on.
    func open(_ run: RunOptions = RunOptions(), isReading: Bool = false) async throws -> Migrator {
        let database = try databaseURL()
        let migrator =
            isReading
            ? try await Migrator.connect(
                source: readSource(), database: database, options: migratorOptions(run))
            : try await Migrator.open(
                database: database, options: migratorOptions(run), source: readSource)
        signals.arm(output)
        return migrator
    }

    /// The files, and what is odd about them.
    func readSource() throws(MigrationError) -> MigrationSource {
        let url = options.sourceURL
        let source = try MigrationSource(url: url.text, isFromPath: url.isFromPath)
        if output.isVerbose {
            for remark in source.remarks { output.line("warning: \(remark)") }
        }
        return source
    }

    /// The URL of the database. Mistakes are told in the order of golang-migrate (`specs/migrate.md` 1.4): the scheme of the
    /// source, that of the database, the source, the database.
    func databaseURL() throws -> DatabaseURL {
        try MigrationSource.scheme(of: options.sourceURL.text)
        let text = try options.databaseText()
        try DatabaseURL.scheme(of: text)
        do {
            var url = try DatabaseURL(text)
            url.configuration.startsOnCallersThread = true
            return url
        } catch {
            _ = try readSource()
            throw error
        }
    }

    func migratorOptions(_ run: RunOptions) -> Migrator.Options {
        var result = Migrator.Options()
        result.lockTimeout = options.lockTimeout
        result.openLockTimeout = options.openLockTimeout
        result.prefetch = options.prefetch
        result.isTransactional = options.isTransactional || run.isTransactional
        result.wait = run.wait ?? options.waiting
        result.verification = run.verification
        result.allowsAhead = run.allowsAhead
        result.toolVersion = MigrateCommand.version
        result.stop = signals.stop
        let output = output
        result.report = { Self.report($0, output) }
        return result
    }

    private static func report(_ event: MigrationEvent, _ output: Output) {
        switch event {
        case .queued(let step, let isReadAhead):
            if output.isVerbose {
                output.line((isReadAhead ? "Start buffering " : "Scheduled ") + step.label)
            }
        case .executing(let step):
            if output.isVerbose { output.line("Read and execute \(step.label)") }
        case .finished(let step, let read, let ran):
            if output.isVerbose {
                output.line("Finished \(step.label) (read \(text(read)), ran \(text(ran)))")
            } else {
                output.line("\(step.label) \(output.duration(text(read + ran)))")
            }
        case .waitingForLock(let id):
            output.hints(["Waiting for another run to release the lock \(id)"])
        case .waitingForDatabase(let reason): output.hints(["Waiting for the database: \(reason)"])
        case .notice(let severity, let message):
            if output.isVerbose { output.line("\(severity): \(message)") }
        case .warning(let text): output.line("warning: \(text)")
        }
    }

    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        return GoDuration.text(nanoseconds: seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}

/// The flags of commands that run migrations.
struct RunOptions {
    var isTransactional = false
    var allowsAhead = false
    var verification = Migrator.Verification.off
    var isDryRun = false
    var showsSQL = false
    var wait: Duration?
}
