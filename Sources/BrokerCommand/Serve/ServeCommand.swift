import Broker
import Glibc
import Logging

/// Runs a broker until it is told to stop.
enum ServeCommand {
    /// The signals that it handles (nats-streaming.md 5.5).
    static let signals = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2]

    /// Runs `serve` with these arguments and returns the exit code.
    static func run(_ arguments: [String]) async -> Int32 {
        switch ServeInvocation.parse(arguments) {
        case .print(let text):
            Terminal.out(text)
            return 0
        case .refused(let message, let printsUsage, let exitCode):
            Terminal.err(message + "\n")
            if printsUsage { Terminal.out(ServeInvocation.usage) }
            return exitCode
        case .run(let configuration):
            do throws(Refusal) {
                return await serve(configuration, try configuration.log.destination())
            } catch {
                Terminal.err(error.message + "\n")
                return 1
            }
        }
    }

    private static func serve(_ configuration: ServeConfiguration, _ destination: LogDestination) async
        -> Int32
    {
        func logger(_ verbosity: LogOptions.Verbosity) -> Logger {
            Logger(label: "broker") { _ in
                LineLogHandler(verbosity, hasTime: configuration.log.hasTime, to: destination)
            }
        }
        let (logger, streamingLogger) = (
            logger(configuration.log.server), logger(configuration.log.streaming)
        )
        var options = configuration.options
        if !configuration.hasMemoryLimit { options.memoryLimitBytes = MemoryLimit.standard() }
        for warning in configuration.warnings { logger.warning("\(warning)") }
        logger.info("Up to \(FileLimit.raise()) files can be open, connections among them")
        if options.store == .file {
            logger.info(
                "Stored messages may take up to \(options.memoryLimitBytes >> 20) MB of memory (--memory-limit)"
            )
        }
        var files = RuntimeFiles()
        let server: BrokerServer
        do {
            if let pidFile = options.pidFile { try RuntimeFiles.writeProcessID(to: pidFile) }
            server = try await BrokerServer.start(
                options: options, version: Version.number, logger: logger, streamingLogger: streamingLogger)
        } catch {
            streamingLogger.critical("STREAM: Failed to start: \((error as? Refusal)?.message ?? "\(error)")")
            return 1
        }
        if let directory = options.portsFileDirectory {
            do throws(Refusal) {
                try files.writePorts(
                    host: options.host, port: server.port, monitoringPort: server.monitoringPort,
                    into: directory)
            } catch {
                logger.error("\(error.message)")
            }
        }
        await untilStopped(logger, streamingLogger, destination)
        files.remove()
        do {
            try await server.shutdown()
            return 0
        } catch {
            streamingLogger.critical("STREAM: Failed to stop: \(error)")
            return 1
        }
    }

    /// Handles signals; returns at the one that stops the broker.
    private static func untilStopped(
        _ logger: Logger, _ streamingLogger: Logger, _ destination: LogDestination
    ) async {
        for await signal in SignalStream(signals).signals {
            switch signal {
            case SIGINT, SIGTERM:
                logger.info("Trapped \"\(signal == SIGINT ? "interrupt" : "terminated")\" signal")
                return
            case SIGHUP:
                streamingLogger.error(
                    "STREAM: Reload: can only reload config when a file is provided using -c or --config")
            case SIGUSR1:
                switch destination.reopen() {
                case .done: logger.info("File log re-opened")
                case .notAFile: logger.info("File log re-open ignored, not a file logger")
                case .failed(let reason): logger.error("File log re-open failed: \(reason)")
                }
            default:
                // The original has no effect for it either (nats-streaming.md 5.5).
                logger.warning(
                    "Trapped \"user defined signal 2\" signal: there is no lame duck mode; SIGTERM stops the broker"
                )
            }
        }
    }
}

extension LogOptions {
    /// Opens what the lines go to.
    fileprivate func destination() throws(Refusal) -> LogDestination {
        if let file { return try LogDestination(file: file) }
        return LogDestination()
    }
}
