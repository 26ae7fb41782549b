/// Runs a broker until it is told to stop.
import Glibc

enum ServeCommand {
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
        case .run: return 1
        }
    }
}
