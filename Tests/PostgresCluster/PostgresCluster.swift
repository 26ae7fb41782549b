import Foundation

/// What keeps a test from its server.
public struct ClusterError: Error, CustomStringConvertible {
    /// What to do.
    public let description: String

    /// An error with a sentence.
    public init(description: String) { self.description = description }
}

/// A PostgreSQL server of the test run's own: a temporary cluster on a free port of 127.0.0.1 and on a socket.
///
/// The superuser is `postgres` with the password `postgres`; on the socket no password is asked for. A small shell
/// waits on a pipe from this process: when the process ends, however it ends, the shell stops the server and removes
/// the cluster.
public final class PostgresCluster: @unchecked Sendable {
    /// The port, on 127.0.0.1.
    public let port: Int
    /// The directory of the socket, and of everything else.
    public let directory: String
    private let binaries: String
    private let account: String?
    private let settings: String

    /// The server that most tests share.
    public static func shared() async throws -> PostgresCluster { try await sharedTask.value }
    private static let sharedTask = Task { try await onThread { try PostgresCluster() } }

    /// A server for one test that stops or kills it: what was committed before is there afterwards.
    public static func restartable() async throws -> PostgresCluster {
        try await onThread { try PostgresCluster(keepsCommits: true) }
    }

    /// A server with TLS and a certificate for `localhost`; its authority is `ca.crt` in the directory.
    public static func encrypted() async throws -> PostgresCluster {
        try await onThread { try PostgresCluster(isTLS: true) }
    }

    /// Runs something that blocks for as long as a program runs: on one of the few threads that all tasks share it would
    /// hold up every other test.
    private static func onThread<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
        }
    }

    private init(isTLS: Bool = false, keepsCommits: Bool = false) throws {
        settings =
            "-c fsync=off -c synchronous_commit=\(keepsCommits ? "on" : "off") -c full_page_writes=off "
            + "-c max_connections=300 -c autovacuum=off -c ssl=\(isTLS ? "on" : "off")"
        binaries = try Self.findBinaries()
        account = getuid() == 0 ? try Self.findAccount() : nil
        var template = Array("/tmp/devpie-postgres-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ClusterError(description: "no temporary directory can be made below /tmp")
        }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try Supervisor.guardCluster(directory, stop: Self.command(account, "\(binaries)/pg_ctl"))
        chmod(directory, 0o755)
        if let account { try Self.shell("chown \(account) \(directory)") }
        let run = Self.command(account, "")
        try Self.shell("echo postgres > \(directory)/password; chmod 644 \(directory)/password")
        try Self.shell(
            "\(run) \(binaries)/initdb -D \(directory)/data -U postgres --pwfile=\(directory)/password "
                + "--auth-local=trust --auth-host=scram-sha-256 --locale=C.UTF-8 -E UTF8 --no-sync")
        if isTLS {
            try Self.shell(
                "\(run) openssl req -new -x509 -days 2 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost "
                    + "-keyout \(directory)/data/server.key -out \(directory)/data/server.crt && "
                    + "chmod 600 \(directory)/data/server.key && cp \(directory)/data/server.crt \(directory)/ca.crt && "
                    + "chmod 644 \(directory)/ca.crt")
        }
        var chosen = 0
        var lastError: (any Error)?
        for _ in 0..<5 {
            chosen = try Self.freePort()
            do {
                try Self.start(
                    run: run, binaries: binaries, directory: directory, port: chosen, settings: settings)
                lastError = nil
                break
            } catch {
                lastError = error
            }
        }
        if let lastError { throw lastError }
        port = chosen
    }

    /// A URL of golang-migrate's kind for a database of this server.
    public func url(_ database: String, _ query: String = "sslmode=disable") -> String {
        "postgres://postgres:postgres@127.0.0.1:\(port)/\(database)?\(query)"
    }

    /// Makes an empty database with a name of its own.
    public func createDatabase() async throws -> String {
        let name = "t" + UUID().uuidString.lowercased().filter { $0 != "-" }
        _ = try await psql("postgres", "CREATE DATABASE \(name) STRATEGY file_copy")
        return name
    }

    /// Runs SQL with psql over the socket; rows as lines, columns apart by `|`.
    public func psql(_ database: String, _ sql: String) async throws -> String {
        let ending = try await ChildProcess.run(
            "\(binaries)/psql",
            [
                "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", directory, "-p", String(port), "-U", "postgres", "-d",
                database, "-c", sql,
            ])
        guard ending.status == 0 else { throw ClusterError(description: "psql: \(ending.error)") }
        return ending.output.split(separator: "\n").joined(separator: "\n")
    }

    /// Stops the server at once, as if it had crashed.
    public func stop() async throws {
        try await Self.onThread { [self] in
            try Self.shell(
                "\(Self.command(account, "\(binaries)/pg_ctl")) -D \(directory)/data -m immediate -w -t 600 stop"
            )
        }
    }

    /// Kills the server's first process with SIGKILL, as the kernel does when memory runs out; the others notice.
    public func kill() throws {
        let file = try String(contentsOfFile: "\(directory)/data/postmaster.pid", encoding: .utf8)
        guard let number = file.split(separator: "\n").first.flatMap({ pid_t($0) }), number > 1 else {
            throw ClusterError(description: "no process number in postmaster.pid")
        }
        guard Glibc.kill(number, SIGKILL) == 0 else { throw POSIXError(.ESRCH) }
    }

    /// Starts the server again, on the same port. After `kill` it may take some tries: as long as a process of the old
    /// server is there, the new one refuses.
    public func start() async throws {
        try await Self.onThread { [self] in
            for attempt in 1... {
                do {
                    return try Self.start(
                        run: Self.command(account, ""), binaries: binaries, directory: directory, port: port,
                        settings: settings)
                } catch {
                    guard attempt < 100 else { throw error }
                }
            }
        }
    }

    // MARK: Starting

    private static func start(
        run: String, binaries: String, directory: String, port: Int, settings: String
    ) throws {
        let options = "-p \(port) -k \(directory) -c listen_addresses=127.0.0.1 \(settings)"
        try shell(
            "\(run) \(binaries)/pg_ctl -D \(directory)/data -l \(directory)/log -w -t 600 -o '\(options)' start "
                + "|| (cat \(directory)/log; false)")
    }

    private static func findBinaries() throws -> String {
        let root = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        let newest = versions.compactMap { Int($0) }.sorted().last { version in
            FileManager.default.isExecutableFile(atPath: "\(root)/\(version)/bin/initdb")
        }
        guard let newest else {
            throw ClusterError(
                description: "these tests need a PostgreSQL server: apt-get install postgresql libpq-dev")
        }
        return "\(root)/\(newest)/bin"
    }

    /// PostgreSQL refuses to run as root.
    private static func findAccount() throws -> String {
        for name in ["postgres", "nobody"] where getpwnam(name) != nil { return name }
        throw ClusterError(
            description: "PostgreSQL does not run as root, and there is no user postgres or nobody")
    }

    private static func command(_ account: String?, _ program: String) -> String {
        account.map { "setpriv --reuid=\($0) --regid=$(id -g \($0)) --clear-groups \(program)" } ?? program
    }

    private static func freePort() throws -> Int {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 ? getsockname(socket, $0, &length) : -1
            }
        }
        guard status == 0 else { throw ClusterError(description: "no free port on 127.0.0.1") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Runs a line of shell to its end. Not by Foundation's `Process`: that waits on a descriptor which the server
    /// inherits, so as long as the server runs.
    private static func shell(_ line: String) throws {
        let log = "/tmp/devpie-shell-\(UUID().uuidString)"
        let words = ChildProcess.cStrings([
            "/bin/sh", "-c",
            "cd /; (\(line)) </dev/null >\(log) 2>&1; s=$?; [ $s = 0 ] || cat \(log) >&2; rm -f \(log); exit $s",
        ])
        defer { for word in words { free(word) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        ChildProcess.closeOthers(&actions)
        var number = pid_t()
        let isStarted = ChildProcess.starting.withLock {
            posix_spawn(&number, "/bin/sh", &actions, nil, words, environ) == 0
        }
        guard isStarted else { throw POSIXError(.EAGAIN) }
        var status: Int32 = 0
        while waitpid(number, &status, 0) < 0, errno == EINTR {}
        guard status == 0 else {
            throw ClusterError(description: "failed with status \(status): \(line)")
        }
    }
}

/// The shells that clean up behind this process.
private enum Supervisor {
    // Only touched while a program is started, under `ChildProcess.starting`, and at exit.
    nonisolated(unsafe) private static var pipes: [(descriptor: Int32, processID: pid_t)] = []
    nonisolated(unsafe) private static var isRegistered = false

    static func guardCluster(_ directory: String, stop: String) throws {
        ChildProcess.starting.lock()
        defer { ChildProcess.starting.unlock() }
        let ends = try ChildProcess.pipe()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        ChildProcess.closeOthers(&actions)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A session of its own: an interrupt at the terminal must not end it before it has cleaned up.
        posix_spawnattr_setflags(&attributes, 0x80)  // POSIX_SPAWN_SETSID, which the Glibc module leaves out
        let script =
            "cat >/dev/null; cd /; \(stop) -D \(directory)/data -m immediate -w stop; rm -rf \(directory)"
        let words = ChildProcess.cStrings(["/bin/sh", "-c", script])
        defer { for word in words { free(word) } }
        var number = pid_t()
        guard posix_spawn(&number, "/bin/sh", &actions, &attributes, words, environ) == 0 else {
            throw POSIXError(.EAGAIN)
        }
        close(ends[0])
        pipes.append((ends[1], number))
        if !isRegistered {
            isRegistered = true
            atexit { Supervisor.finish() }
        }
    }

    static func finish() {
        for pipe in pipes { close(pipe.descriptor) }
        for pipe in pipes {
            var status: Int32 = 0
            waitpid(pipe.processID, &status, 0)
        }
    }
}
