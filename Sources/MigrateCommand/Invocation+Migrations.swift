import Flags
import Glibc
import Migrate

// The commands of golang-migrate.
extension Invocation {
    func version() async throws {
        let (migrator, version) = try await Migrator.openReadingVersion(
            database: databaseURL(), options: migratorOptions(RunOptions()), source: readSource)
        defer { migrator.close() }
        guard let number = version.number else {
            throw CommandFailure(version.isDirty ? "no migration (dirty)" : "no migration")
        }
        output.line(version.isDirty ? "\(number) (dirty)" : String(number))
    }

    func up(_ arguments: [String]) async throws {
        let flags = RunFlags("up", isUp: true)
        guard case .flags(let given) = try flags.flags.parse(arguments, output) else { return }
        let run = try flags.options(given)
        let migrator = try await open(run, isReading: run.isDryRun)
        defer { migrator.close() }
        let limit = try given.arguments.first.map(Arguments.limit)
        try await perform(.up(limit), migrator, run)
    }

    func down(_ arguments: [String]) async throws {
        var flags = RunFlags("down")
        let all = flags.flags.set.define("all", default: false, "Apply all down migrations")
        guard case .flags(let given) = try flags.flags.parse(arguments, output) else { return }
        let run = try flags.options(given)
        let migrator = try await open(run, isReading: run.isDryRun)
        defer { migrator.close() }
        let words = given.arguments
        if given[all], !words.isEmpty { throw CommandFailure("-all cannot be used with other arguments") }
        guard words.count < 2 else { throw CommandFailure("too many arguments") }
        let limit = try words.first.map(Arguments.limit)
        if limit == nil, !given[all], !run.isDryRun {
            try ask(
                "Are you sure you want to apply all down migrations? [y/N]",
                accepted: "Applying all down migrations", refused: "Not applying all down migrations")
        }
        try await perform(.down(limit), migrator, run)
    }

    func goTo(_ arguments: [String]) async throws {
        let flags = RunFlags("goto")
        guard case .flags(let given) = try flags.flags.parse(arguments, output) else { return }
        let run = try flags.options(given)
        let migrator = try await open(run, isReading: run.isDryRun)
        defer { migrator.close() }
        try await perform(.goTo(Arguments.version(given.arguments.first)), migrator, run)
    }

    func force(_ arguments: [String]) async throws {
        let flags = CommandFlags("force")
        guard case .flags(let given) = try flags.parse(arguments, output) else { return }
        let migrator = try await open()
        defer { migrator.close() }
        try await migrator.force(Arguments.signedVersion(given.arguments.first))
    }

    func drop(_ arguments: [String]) async throws {
        var flags = CommandFlags("drop")
        let isForced = flags.set.define(
            "f", default: false, "Force the drop command by bypassing the confirmation prompt")
        guard case .flags(let given) = try flags.parse(arguments, output) else { return }
        // The question comes before the error of opening, as in the original.
        let opened: Result<Migrator, any Error>
        do { opened = .success(try await open()) } catch { opened = .failure(error) }
        defer { if case .success(let migrator) = opened { migrator.close() } }
        if !given[isForced] {
            try ask(
                "Are you sure you want to drop the entire database schema? [y/N]",
                accepted: "Dropping the entire database schema",
                refused: "Aborted dropping the entire database schema")
        }
        try await opened.get().drop()
    }

    private func perform(_ request: MigrationRequest, _ migrator: Migrator, _ run: RunOptions) async throws {
        guard run.isDryRun else {
            if try await migrator.run(request).isNoChange { output.line("no change") }
            return
        }
        let (steps, ending) = try await migrator.plan(request)
        for step in steps {
            output.line(step.label)
            if run.showsSQL, let file = step.file { Output.result(bytes: try migrator.source.read(file)) }
        }
        if let ending { throw ending }
        if steps.isEmpty { output.line("no change") }
    }

    /// Asks on standard error and reads one line from standard input: its first word must be `y`.
    private func ask(_ question: String, accepted: String, refused: String) throws(CommandFailure) {
        output.line(question)
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while bytes.count < 4096, unsafe read(0, &byte, 1) == 1, byte != UInt8(ascii: "\n") {
            bytes.append(byte)
        }
        let word = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).first
        guard word?.lowercased() == "y" else { throw CommandFailure(refused, hasPrefix: false) }
        output.line(accepted)
    }
}

/// The flags that commands which run migrations share.
struct RunFlags {
    var flags: CommandFlags
    private let transactional: Flag<Bool>
    private let dryRun: Flag<Bool>
    private let sql: Flag<Bool>
    private var verify: Flag<String>?
    private var ahead: Flag<Bool>?

    init(_ name: String, isUp: Bool = false) {
        flags = CommandFlags(name)
        transactional = flags.set.define(
            "tx", default: false, "Run each migration and its record in one transaction")
        dryRun = flags.set.define("dry-run", default: false, "Show what would be run and change nothing")
        sql = flags.set.define(
            "sql", default: false, "With -dry-run: print the migrations to standard output")
        guard isUp else { return }
        verify = flags.set.define(
            "verify", default: "off", placeholder: "off|warn|fail", "Compare the files with the history first"
        )
        ahead = flags.set.define(
            "allow-ahead", default: false, "Accept a database that is ahead of the files")
    }

    func options(_ given: ParsedFlags) throws(UsageFailure) -> RunOptions {
        var run = RunOptions()
        run.isTransactional = given[transactional]
        run.isDryRun = given[dryRun]
        run.showsSQL = given[sql]
        let usage = "Usage of \(flags.name):\n\(flags.set.goDefaults)"
        guard !run.showsSQL || run.isDryRun else {
            throw UsageFailure(line: "-sql shows what -dry-run would run: add -dry-run", usage: usage)
        }
        if let ahead { run.allowsAhead = given[ahead] }
        if let verify {
            guard let verification = Migrator.Verification(rawValue: given[verify]) else {
                throw UsageFailure(
                    line: "invalid value \"\(given[verify])\" for flag -verify: it is off, warn or fail",
                    usage: usage)
            }
            run.verification = verification
        }
        return run
    }
}
