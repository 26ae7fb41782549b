import ArgumentParser
import BrokerClient
import Glibc

/// The program: which command a call means, and with what it ends.
@main
enum Program {
    /// Not `async`: an asynchronous `main` would be entered when there is a second thread already, and threads inherit what
    /// is blocked.
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        // A reader that goes away shows as an error of the write: the command ends quietly then.
        signal(SIGPIPE, SIG_IGN)
        SignalStream.block(Call(arguments).signals)
        // Detached: `main` belongs to the main actor, whose thread does no more work.
        Task.detached { exit(await run(arguments)) }
        // The main thread has no more to do. It must not end: a process without it shows as defunct.
        while true { pause() }
    }

    /// What a call means.
    enum Call: Equatable {
        /// `serve` with these arguments.
        case serve([String])
        /// One of the other commands, its name first.
        case tool([String])
        /// The overview of all commands.
        case help
        /// The version.
        case version
        /// No such command.
        case unknown(String)

        /// The signals that the command handles itself; the others do what they always do.
        var signals: [Int32] {
            switch self {
            case .serve: ServeCommand.signals
            case .tool(let arguments) where arguments.prefix(2) == ["channel", "sub"]:
                ChannelSubscribeCommand.signals
            default: []
            }
        }

        init(_ arguments: [String]) {
            guard let first = arguments.first, !first.hasPrefix("-") else {
                self = .serve(arguments)
                return
            }
            switch first {
            case "serve": self = .serve(Array(arguments.dropFirst()))
            case "version": self = .version
            case "help": self = arguments.count > 1 ? .tool(arguments) : .help
            case _ where Tool.names.contains(first): self = .tool(arguments)
            default: self = .unknown(first)
            }
        }
    }

    /// Runs a call and returns the exit code: 0 done, 1 failed, 2 not understood.
    static func run(_ arguments: [String]) async -> Int32 {
        switch Call(arguments) {
        case .serve(let arguments): return await ServeCommand.run(arguments)
        case .tool(let arguments): return await Tool.call(arguments)
        case .help:
            Terminal.out(ServeInvocation.usage)
            return 0
        case .version:
            Terminal.out(Version.line + "\n")
            return 0
        case .unknown(let word):
            Terminal.err(
                "broker: error: unrecognized command: \"\(word)\"; `broker help` lists the commands\n")
            return 1
        }
    }
}

/// The commands besides `serve`.
struct Tool: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "broker", abstract: "A durable message broker for NATS and NATS Streaming clients.",
        subcommands: [
            PublishCommand.self, SubscribeCommand.self, RequestCommand.self, ReplyCommand.self,
            ChannelCommand.self,
            BenchCommand.self, CheckCommand.self, RepairCommand.self,
        ])

    static let names = Set(
        configuration.subcommands.flatMap {
            [$0.configuration.commandName].compactMap { $0 } + $0.configuration.aliases
        })

    /// Parses and runs a command.
    static func call(_ arguments: [String]) async -> Int32 {
        do {
            var command = try parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return 0
        } catch let failure as CommandFailure {
            Terminal.err("broker: error: \(failure.message)\n")
            return failure.exitCode
        } catch let error as ClientError {
            Terminal.err("broker: error: \(error)\n")
            return 1
        } catch let error as StreamingError {
            Terminal.err("broker: error: \(error)\n")
            return 1
        } catch {
            if exitCode(for: error) == .success {
                Terminal.out(fullMessage(for: error) + "\n")
                return 0
            }
            // What was not understood, then how it is written.
            let text = fullMessage(for: error)
            Terminal.err(
                "broker: " + (text.hasPrefix("Error: ") ? "error: " + text.dropFirst(7) : text) + "\n")
            return 2
        }
    }
}

/// A command could not do what it was asked for.
struct CommandFailure: Error {
    /// What was wrong, and what would be right.
    let message: String
    /// 1 unless the command documents another.
    var exitCode: Int32 = 1

    init(_ message: String, exitCode: Int32 = 1) {
        self.message = message
        self.exitCode = exitCode
    }
}
