import Flags
import Glibc
import Logging
import UnixSignals

/// The command of a service: `projects [flags]`, and `projects dead-letters …`.
public enum ServiceProgram<Service: BackendService> {
    /// Runs the command to its end and exits: 0 done, 1 an error or a forced shutdown, 2 an unknown command, 78 wrong
    /// settings, as variables or as flags.
    public static func main() async -> Never {
        exit(await run(arguments: Array(CommandLine.arguments.dropFirst()), environment: environment))
    }

    static func run(arguments: [String], environment: [String: String]) async -> Int32 {
        let configuration: ServiceConfiguration
        let command: [String]
        do throws(Settings.Problems) {
            let settings = try Settings(
                CoreSettings.all + Service.settings, environment: environment, arguments: arguments)
            if settings.isHelpRequested {
                print(usage + settings.usage, terminator: "")
                return 0
            }
            command = settings.arguments
            configuration = try ServiceConfiguration(settings, environment: environment)
            let problems = Service.problems(settings)
            if !problems.isEmpty { throw Settings.Problems(lines: problems) }
        } catch {
            for line in error.lines { complain(line) }
            return 78
        }
        var logger = Logger(label: Service.name) { _ in JSONLogHandler(level: configuration.logLevel) }
        logger[metadataKey: "service"] = "\(Service.name)"
        switch command.first {
        case nil: return await serve(configuration, logger)
        case "dead-letters":
            return await DeadLettersCommand<Service>(configuration: configuration, logger: logger)
                .run(Array(command.dropFirst()))
        case .some(let word):
            complain("\(Service.name): there is no command \"\(word)\"; see \(Service.name) --help")
            return 2
        }
    }

    private static func serve(_ configuration: ServiceConfiguration, _ logger: Logger) async -> Int32 {
        // A client that went away is an error of a write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        logger.info("configuration", metadata: ["settings": "\(configuration.settings.maskedText)"])
        if let failPoint = configuration.failPoint {
            logger.critical(
                "a fail point is on: this process will kill itself",
                metadata: ["fail_point": "\(failPoint.rawValue)"])
        }
        let service: RunningService
        do {
            service = try await RunningService.start(Service.self, configuration, logger: logger)
        } catch {
            logger.critical("the service cannot start", metadata: ["error": "\(error)"])
            return 1
        }
        logger.info(
            "listening",
            metadata: [
                "port": .stringConvertible(service.port),
                "debug_port": .stringConvertible(service.debugPort ?? 0),
            ])
        await end(service, within: configuration.shutdownTimeout, logger)
    }

    /// Waits for a signal, then ends the service: the process exits 0 when that was in time, 1 when not or when a second
    /// signal comes.
    private static func end(_ service: RunningService, within limit: Duration, _ logger: Logger) async
        -> Never
    {
        // One iterator for all signals: the sequence allows no second one.
        var signals = await UnixSignalsSequence(trapping: .sigterm, .sigint).makeAsyncIterator()
        _ = await signals.next()
        Task {
            // Nobody cancels it: the process ends before, or here.
            try? await Task.sleep(for: limit)
            force(logger, "it did not end in time")
        }
        Task {
            await service.shutdown()
            exit(0)
        }
        _ = await signals.next()
        force(logger, "a second signal came")
    }

    private static func force(_ logger: Logger, _ reason: String) -> Never {
        logger.error("the shutdown is forced", metadata: ["reason": "\(reason)"])
        exit(1)
    }

    private static var usage: String {
        """
        Usage: \(Service.name) [flags]                          serves the API
               \(Service.name) [flags] dead-letters list        shows the messages that could not be applied
               \(Service.name) [flags] dead-letters replay ID…  applies them again (--all for all)
               \(Service.name) [flags] dead-letters drop ID…    deletes them (--all for all)

        Each setting is a flag or an environment variable; the flag wins.

        """
    }

    private static func complain(_ line: String) {
        JSONLogHandler.standardError(Array((line + "\n").utf8))
    }

    private static var environment: [String: String] {
        var variables: [String: String] = [:]
        var entry = unsafe environ
        while let text = unsafe entry.pointee {
            let parts = unsafe String(cString: text).split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
            unsafe entry += 1
        }
        return variables
    }
}

extension Settings {
    /// `web-port=:4000 … db-password=[REDACTED]`, for the log.
    var maskedText: String {
        masked.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
    }
}
