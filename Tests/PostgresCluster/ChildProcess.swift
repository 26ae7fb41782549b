import Foundation

/// A program that a test started, with its output as it grows.
///
/// Signals are not blocked in it and descriptors other than the three standard ones are closed, whatever the test
/// process has.
public final class ChildProcess: @unchecked Sendable {
    /// What is left when a program has ended.
    public struct Ending: Sendable {
        /// The exit code, or 128 + the signal.
        public let status: Int32
        /// Whether a signal ended it.
        public let isSignalled: Bool
        /// All of standard output.
        public let output: String
        /// All of standard error.
        public let error: String
        /// Standard error byte for byte.
        public let errorBytes: [UInt8]
    }

    /// Its process number.
    public let processID: pid_t
    private let input: FileHandle
    // `condition` guards the two texts and the ending.
    private let condition = NSCondition()
    private var output: [UInt8] = []
    private var error: [UInt8] = []
    private var ending: Ending?
    private var waiters: [CheckedContinuation<Ending, Never>] = []
    private var watchers: [(text: String, continuation: CheckedContinuation<Bool, Never>)] = []

    /// Starts a program.
    public init(
        _ path: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil
    ) throws {
        // Two starts at once could hand each other's pipes down between their creation and their mark.
        Self.starting.lock()
        defer { Self.starting.unlock() }
        let ends = [try Self.pipe(), try Self.pipe(), try Self.pipe()]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0][0], 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1][1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[2][1], 2)
        Self.closeOthers(&actions)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))
        var variables = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("PG") }
        variables.merge(environment) { $1 }
        let start = directory.map { ["env", "-C", $0] } ?? []
        let words = Self.cStrings(start + [path] + arguments)
        let settings = Self.cStrings(variables.map { "\($0.key)=\($0.value)" })
        defer { for text in words + settings { free(text) } }
        var number = pid_t()
        let status = posix_spawnp(
            &number, directory == nil ? path : "env", &actions, &attributes, words, settings)
        for end in [ends[0][0], ends[1][1], ends[2][1]] { close(end) }
        input = FileHandle(fileDescriptor: ends[0][1], closeOnDealloc: true)
        guard status == 0 else {
            close(ends[1][0])
            close(ends[2][0])
            throw POSIXError(POSIXErrorCode(rawValue: status) ?? .ENOENT)
        }
        processID = number
        let readers = DispatchGroup()
        for (descriptor, isError) in [(ends[1][0], false), (ends[2][0], true)] {
            readers.enter()
            Thread.detachNewThread { [self] in
                read(descriptor, isError: isError)
                readers.leave()
            }
        }
        Thread.detachNewThread { [self] in
            readers.wait()
            var status: Int32 = 0
            while waitpid(processID, &status, 0) < 0, errno == EINTR {}
            end(status)
        }
    }

    /// Held from the making of a pipe to its mark, and by everything that starts a program.
    static let starting = NSLock()

    /// Lets the program inherit nothing but the three standard descriptors: with a listening socket of another test it would
    /// keep that test's port.
    static func closeOthers(_ actions: inout posix_spawn_file_actions_t) {
        let result = addCloseFrom(&actions, 3)
        precondition(result == 0, "glibc takes any descriptor from 0 on")
    }

    /// glibc has it since 2.34; the Glibc module leaves it out.
    private static let addCloseFrom: AddCloseFrom = {
        guard let symbol = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") else {
            preconditionFailure("glibc 2.34 or later is needed to run the tests")
        }
        return unsafeBitCast(symbol, to: AddCloseFrom.self)
    }()
    private typealias AddCloseFrom =
        @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32

    /// Texts as C takes a list of them, to be freed by the caller.
    static func cStrings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var pointers: [UnsafeMutablePointer<CChar>?] = []
        for text in texts { pointers.append(strdup(text)) }
        pointers.append(nil)
        return pointers
    }

    /// A pipe that other programs do not inherit.
    static func pipe() throws -> [Int32] {
        var pair: [Int32] = [-1, -1]
        guard Glibc.pipe(&pair) == 0 else { throw POSIXError(.EMFILE) }
        for end in pair { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return pair
    }

    /// Runs a program to its end.
    public static func run(
        _ path: String, _ arguments: [String], environment: [String: String] = [:], input: String? = nil,
        directory: String? = nil
    ) async throws -> Ending {
        let child = try ChildProcess(path, arguments, environment: environment, directory: directory)
        if let input { child.write(input) }
        child.closeInput()
        return await child.wait()
    }

    /// Writes to its standard input.
    public func write(_ text: String) { try? input.write(contentsOf: Data(text.utf8)) }

    /// Ends its standard input.
    public func closeInput() { try? input.close() }

    /// Sends a signal.
    public func send(_ signal: Int32) { kill(processID, signal) }

    /// Waits for its end.
    public func wait() async -> Ending {
        await withCheckedContinuation { continuation in
            condition.withLock {
                if let ending { continuation.resume(returning: ending) } else { waiters.append(continuation) }
            }
        }
    }

    /// Waits until standard error contains a text; false when the program ended without it.
    public func waitForError(containing text: String) async -> Bool {
        await withCheckedContinuation { continuation in
            condition.withLock {
                if String(decoding: error, as: UTF8.self).contains(text) {
                    continuation.resume(returning: true)
                } else if ending != nil {
                    continuation.resume(returning: false)
                } else {
                    watchers.append((text, continuation))
                }
            }
        }
    }

    private func read(_ descriptor: Int32, isError: Bool) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            condition.withLock {
                if isError { error += buffer[..<count] } else { output += buffer[..<count] }
                guard isError, !watchers.isEmpty else { return }
                let text = String(decoding: error, as: UTF8.self)
                for watcher in watchers where text.contains(watcher.text) {
                    watcher.continuation.resume(returning: true)
                }
                watchers.removeAll { text.contains($0.text) }
            }
        }
        close(descriptor)
    }

    private func end(_ status: Int32) {
        condition.withLock {
            let signal = status & 0x7f
            let ending = Ending(
                status: signal == 0 ? (status >> 8) & 0xff : 128 + signal, isSignalled: signal != 0,
                output: String(decoding: output, as: UTF8.self),
                error: String(decoding: error, as: UTF8.self), errorBytes: error)
            self.ending = ending
            for waiter in waiters { waiter.resume(returning: ending) }
            for watcher in watchers { watcher.continuation.resume(returning: false) }
            waiters = []
            watchers = []
        }
    }
}
