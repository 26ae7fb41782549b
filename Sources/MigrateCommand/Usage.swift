import Flags

/// The texts of `-help`.
enum Usage {
    static func text(_ flags: FlagSet) -> String {
        """
        Usage: migrate OPTIONS COMMAND [arg...]
               migrate [ -version | -help ]

        Options:
        \(flags.goDefaults)
        Commands:
          create [-ext E] [-dir D] [-seq] [-digits N] [-format] [-tz] NAME
                      Create a set of up/down migrations titled NAME
          goto V      Migrate to version V
          up [N]      Apply all or N up migrations
          down [N] [-all]
                      Apply all or N down migrations
          drop [-f]   Drop everything inside the database
          force V     Set version V but don't run migrations (ignores dirty state)
          version     Print current migration version

          status [-json] [-exit-code]
                      Show which migrations are applied and pending
          verify      Compare the files with the history (x-history=true)
          repair [-retry | -applied]
                      Explain a dirty database and get out of it
          baseline V  Take a database that has no version for migrated up to V
          wait [-timeout 60s]
                      Wait until the database answers

        Source drivers: file
        Database drivers: postgres, postgresql

        """
    }

    /// The first line of `COMMAND -help`.
    static let commands = [
        "up": "up [N]      Apply all or N up migrations",
        "down":
            "down [N] [-all]    Apply all or N down migrations\n            Use -all to apply all down migrations",
        "goto": "goto V      Migrate to version V",
        "force": "force V     Set version V but don't run migrations (ignores dirty state)",
        "drop": "drop [-f]   Drop everything inside the database\n            Use -f to bypass confirmation",
        "create":
            "create [-ext E] [-dir D] [-seq] [-digits N] [-format] [-tz] NAME\n"
            + "            Create a set of timestamped up/down migrations titled NAME, in directory D with extension E.\n"
            + "            Use -seq to number them in sequence, with N digits.",
        "status": "status [-json] [-exit-code]\n            Show which migrations are applied and pending",
        "verify": "verify      Compare the files with the history",
        "repair":
            "repair [-retry | -applied]\n            Explain a dirty database; -retry goes back, -applied goes on",
        "baseline": "baseline V  Take a database that has no version for migrated up to V",
        "wait": "wait [-timeout D]\n            Wait until the database answers",
    ]
}

/// The flags of one command, between its name and its first argument.
struct CommandFlags {
    let name: String
    var set = FlagSet()
    private let help: Flag<Bool>

    init(_ name: String) {
        self.name = name
        help = set.define("help", default: false, "Print help information")
    }

    /// What parsing came to.
    enum Reading {
        case flags(ParsedFlags)
        /// The help was printed: exit code 0.
        case helped
    }

    func parse(_ arguments: [String], _ output: Output) throws(UsageFailure) -> Reading {
        let usage = "Usage of \(name):\n\(set.goDefaults)"
        do {
            let parsed = try set.parse(arguments)
            guard parsed[help] else { return .flags(parsed) }
            output.text("\(Usage.commands[name] ?? name)\n\(set.goDefaults)")
            return .helped
        } catch .helpRequested {
            output.text(usage)
            return .helped
        } catch {
            throw UsageFailure(line: "\(error)", usage: usage)
        }
    }
}
