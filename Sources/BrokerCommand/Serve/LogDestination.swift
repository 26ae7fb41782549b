import Glibc
import Synchronization

/// Where log lines go: standard error, or a file that can be opened anew after it was moved away.
final class LogDestination: Sendable {
    private let file: String?
    private let descriptor: Mutex<Int32>
    /// Whether lines are coloured: only on a terminal.
    let isTerminal: Bool

    /// Standard error.
    init() {
        file = nil
        descriptor = Mutex(STDERR_FILENO)
        isTerminal = isatty(STDERR_FILENO) == 1
    }

    /// A file, created if absent, appended to.
    init(file: String) throws(Refusal) {
        self.file = file
        descriptor = Mutex(try Self.open(file))
        isTerminal = false
    }

    /// Writes one line. An error of the log is not reported anywhere: there is no place left for it.
    func write(_ line: [UInt8]) {
        descriptor.withLock { descriptor in
            var position = 0
            while position < line.count {
                let written = unsafe line[position...].withUnsafeBytes { bytes in
                    unsafe Glibc.write(descriptor, bytes.baseAddress, bytes.count)
                }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return }
                position += written
            }
        }
    }

    /// What came of reopening.
    enum Reopened {
        case done
        /// Standard error is not reopened.
        case notAFile
        /// The old file stays in use, for this reason.
        case failed(String)
    }

    /// Opens the file again under its name, as SIGUSR1 asks.
    func reopen() -> Reopened {
        guard let file else { return .notAFile }
        do throws(Refusal) {
            let new = try Self.open(file)
            let old = descriptor.withLock { descriptor in
                defer { descriptor = new }
                return descriptor
            }
            close(old)
            return .done
        } catch {
            return .failed(error.message)
        }
    }

    private static func open(_ file: String) throws(Refusal) -> Int32 {
        let descriptor = unsafe Glibc.open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else {
            throw Refusal(message: unsafe "open \(file): \(String(cString: strerror(errno)))")
        }
        return descriptor
    }
}
