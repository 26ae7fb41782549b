import Flags
import Glibc
import Migrate
import Postgres

/// The program `migrate`: golang-migrate's command line, streams and exit codes (`specs/migrate.md` 1), and what goes
/// beyond (5).
@main
enum MigrateCommand {
    /// What `-version` prints.
    static let version = "4.19.1"

    // Not `async`: the runtime would park the main thread in `sigsuspend` with no signal blocked, and the first
    // signal would end the process there.
    static func main() {
        let signals = SignalWatch()
        let loop = ThreadLoop()
        let work = Task.detached(executorPreference: loop) {
            let code = await run(Array(CommandLine.arguments.dropFirst()), signals)
            // Nothing is buffered, and what libraries would tidy up goes with the process.
            _exit(code)
        }
        signals.onForce { work.cancel() }
        loop.run()
    }

    private static func run(_ arguments: [String], _ signals: SignalWatch) async -> Int32 {
        var output = Output()
        do {
            let options = try GlobalOptions(arguments)
            if options.wantsVersion {
                output.line(version)
                return 0
            }
            if options.wantsHelp {
                output.text(options.usage)
                return 0
            }
            output.isVerbose = options.isVerbose
            let invocation = Invocation(options: options, output: output, signals: signals)
            return try await invocation.run()
        } catch let failure as UsageFailure {
            if let line = failure.line { output.text("\(line)\n") }
            output.text(failure.usage)
            return 2
        } catch let failure as CommandFailure {
            if failure.hasPrefix {
                output.error(Array(failure.message.utf8))
            } else {
                output.line(failure.message)
            }
        } catch let error as MigrationError {
            output.error(error.messageBytes)
            output.hints(error.hints)
        } catch is CancellationError {
            output.error(Array("stopped".utf8))
        } catch {
            output.error(Array("\(error)".utf8))
        }
        return 1
    }
}
