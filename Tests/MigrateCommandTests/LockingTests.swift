import Foundation
import PostgresCluster
import Testing

@Suite struct LockingTests {
    /// Sessions that wait for, or hold, an advisory lock of this database.
    private static let advisory =
        "pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"

    @Test("the lock is golang-migrate's, for the URL's path, and is released")
    func number() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql":
                "CREATE TABLE seen AS SELECT classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        ])
        _ = try await sandbox.migrate("up")
        let seen = try await sandbox.sql("SELECT classid, objid, objsubid FROM seen")
        // CRC-32 by zlib's definition, computed by the server from the same bytes is not at hand: see PlanningTests.
        #expect(seen.hasPrefix("0|") && seen.hasSuffix("|1"))
        let left = try await sandbox.sql("SELECT count(*) FROM \(Self.advisory)")
        #expect(left == "0")
    }

    /// A psql session that holds the lock, as the original would, until its input ends.
    private func hold(_ sandbox: Sandbox) async throws -> (ChildProcess, () async throws -> Void) {
        let script = try await sandbox.sql("SELECT 1")
        #expect(script == "1")
        let id = lockID(sandbox)
        let holder = try ChildProcess(
            "psql",
            [
                "-XqAt", "-h", sandbox.cluster.directory, "-p", "\(sandbox.cluster.port)", "-U", "postgres",
                "-d", sandbox.database,
            ])
        holder.write("SELECT pg_advisory_lock(\(id));\n")
        try await sandbox.waitUntil("SELECT count(*) = 1 FROM \(Self.advisory) AND granted AND objid = \(id)")
        return (
            holder,
            {
                holder.closeInput()
                _ = await holder.wait()
            }
        )
    }

    private func lockID(_ sandbox: Sandbox) -> Int64 {
        var sum = UInt32.max
        for byte in Array("public\u{0}schema_migrations\u{0}/\(sandbox.database)".utf8) {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
        }
        return Int64(~sum &* 1_486_364_155)
    }

    @Test(
        "a lock held elsewhere blocks opening beyond -lock-timeout, until it is released; -open-lock-timeout bounds it"
    )
    func openLock() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let (_, release) = try await hold(sandbox)
        let bounded = try await sandbox.migrate("up", global: ["-open-lock-timeout", "1"])
        #expect(bounded.lines == ["error: failed to open database: timeout: can't acquire database lock"])
        let waiting = try sandbox.start("up", global: ["-verbose", "-lock-timeout", "0"])
        #expect(await waiting.waitForError(containing: "Waiting for another run to release the lock"))
        try await release()
        let ending = await waiting.wait()
        #expect(ending.status == 0)
        #expect(ending.error.contains("Finished 3/u three"))
    }

    @Test("the version waits for a lock held elsewhere, though the row is clean")
    func versionWaits() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up", "1")
        let (_, release) = try await hold(sandbox)
        let bounded = try await sandbox.migrate("version", global: ["-open-lock-timeout", "1"])
        #expect(bounded.lines == ["error: failed to open database: timeout: can't acquire database lock"])
        let waiting = try sandbox.start("version", global: ["-verbose"])
        #expect(await waiting.waitForError(containing: "Waiting for another run to release the lock"))
        _ = try await sandbox.sql("UPDATE schema_migrations SET version = 2")
        try await release()
        let ending = await waiting.wait()
        #expect(ending.status == 0)
        #expect(ending.lines.contains { $0.hasSuffix(" 2") }, "\(ending.error)")
        let left = try await sandbox.sql("SELECT count(*) FROM \(Self.advisory)")
        #expect(left == "0")
    }

    @Test("a lock taken during the question ends the command after -lock-timeout")
    func commandLock() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        _ = try await sandbox.migrate("up")
        let child = try sandbox.start("down", global: ["-lock-timeout", "1"])
        #expect(await child.waitForError(containing: "[y/N]"))
        let (_, release) = try await hold(sandbox)
        child.write("y\n")
        let ending = await child.wait()
        #expect(ending.status == 1)
        #expect(ending.lines.last == "error: timeout: can't acquire database lock")
        try await release()
        // Another table has another lock.
        let row = try await sandbox.row()
        #expect(row == "3|f")
    }

    @Test("another schema or table is another lock")
    func independent() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let (_, release) = try await hold(sandbox)
        let other = try await sandbox.migrate("force", "1", query: "x-migrations-table=other")
        #expect(other.status == 0)
        try await release()
    }

    @Test("of many runs at once one applies, the others find nothing to do, and each file runs once")
    func manyRuns() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "CREATE TABLE runs (n int)", "2_b.up.sql": "INSERT INTO runs VALUES (2)",
            "3_c.up.sql": "INSERT INTO runs VALUES (3)",
        ])
        let children = try (0..<30).map { _ in try sandbox.start("up", global: ["-lock-timeout", "600"]) }
        var applied = 0
        for child in children {
            let ending = await child.wait()
            #expect(ending.status == 0, "\(ending.error)")
            if ending.lines != ["no change"] { applied += 1 }
        }
        #expect(applied == 1)
        let runs = try await sandbox.sql("SELECT n FROM runs ORDER BY n")
        #expect(runs == "2\n3")
    }

    @Test("a waiter does not stop the holder's CREATE INDEX CONCURRENTLY")
    func concurrentIndex() async throws {
        let sandbox = try await Sandbox([
            "1_a.up.sql": "CREATE TABLE a AS SELECT generate_series(1, 1000) AS id",
            "2_b.up.sql": "SELECT pg_advisory_lock(1)", "3_c.up.sql": "CREATE INDEX CONCURRENTLY i ON a (id)",
        ])
        let gate = try ChildProcess(
            "psql",
            [
                "-XqAt", "-h", sandbox.cluster.directory, "-p", "\(sandbox.cluster.port)", "-U", "postgres",
                "-d", sandbox.database,
            ])
        gate.write("SELECT pg_advisory_lock(1);\n")
        try await sandbox.waitUntil("SELECT count(*) = 1 FROM \(Self.advisory) AND granted AND objid = 1")
        let holder = try sandbox.start("up")
        try await sandbox.waitUntil("SELECT count(*) = 1 FROM \(Self.advisory) AND NOT granted AND objid = 1")
        let waiter = try sandbox.start("up", global: ["-verbose"])
        #expect(await waiter.waitForError(containing: "Waiting for another run"))
        gate.closeInput()
        let first = await holder.wait()
        let second = await waiter.wait()
        _ = await gate.wait()
        #expect(first.status == 0, "\(first.error)")
        #expect(second.status == 0)
        #expect(second.error.contains("no change"))
    }

    /// A migration that waits in the server until the test lets it go on.
    private func gated(_ more: [String: String] = [:]) async throws -> (Sandbox, ChildProcess) {
        let sandbox = try await Sandbox(
            [
                "1_a.up.sql": "CREATE TABLE a (); SELECT pg_advisory_lock(1)",
                "2_b.up.sql": "CREATE TABLE b ()",
                "3_c.up.sql": "CREATE TABLE c ()",
            ].merging(more) { $1 })
        let gate = try ChildProcess(
            "psql",
            [
                "-XqAt", "-h", sandbox.cluster.directory, "-p", "\(sandbox.cluster.port)", "-U", "postgres",
                "-d", sandbox.database,
            ])
        gate.write("SELECT pg_advisory_lock(1);\n")
        try await sandbox.waitUntil("SELECT count(*) = 1 FROM \(Self.advisory) AND granted AND objid = 1")
        return (sandbox, gate)
    }

    private func waitForBody(_ sandbox: Sandbox) async throws {
        try await sandbox.waitUntil("SELECT count(*) = 1 FROM \(Self.advisory) AND NOT granted AND objid = 1")
    }

    @Test(
        "SIGINT and SIGTERM let the migration under way finish, run nothing more, and exit 0 or as asked",
        arguments: [([SIGINT], 0), ([SIGINT, SIGINT, SIGINT], 0), ([SIGTERM], 0), ([SIGTERM, SIGINT], 7)]
            as [([Int32], Int32)])
    func gracefulStop(_ signals: [Int32], _ status: Int32) async throws {
        let (sandbox, gate) = try await gated()
        let child = try sandbox.start("up", global: status == 0 ? [] : ["-exit-code-on-stop", "\(status)"])
        try await waitForBody(sandbox)
        for signal in signals { child.send(signal) }
        #expect(await child.waitForError(containing: "Stopping after this running migration ..."))
        gate.closeInput()
        let ending = await child.wait()
        _ = await gate.wait()
        #expect(ending.lineHeads == ["Stopping after this running migration ...", "1/u a (DUR)"])
        #expect(ending.status == status)
        #expect(!ending.isSignalled)
        let row = try await sandbox.row()
        #expect(row == "1|f")
        let locks = try await sandbox.sql("SELECT count(*) FROM \(Self.advisory)")
        #expect(locks == "0")
    }

    @Test(
        "a second SIGTERM cancels the statement on the server, and the version is told truly",
        arguments: [false, true])
    func forcedStop(_ isTransactional: Bool) async throws {
        let (sandbox, gate) = try await gated()
        let child = try sandbox.start("up", global: isTransactional ? ["-tx"] : [])
        try await waitForBody(sandbox)
        child.send(SIGTERM)
        #expect(await child.waitForError(containing: "Stopping"))
        child.send(SIGTERM)
        let ending = await child.wait()
        #expect(ending.status == 1)
        #expect(ending.error.contains("canceling statement due to user request"))
        try await sandbox.waitUntil("SELECT count(*) = 0 FROM \(Self.advisory) AND NOT granted")
        gate.closeInput()
        _ = await gate.wait()
        let version = try await sandbox.migrate("version")
        #expect(version.lines == [isTransactional ? "error: no migration" : "1 (dirty)"])
        let tables = try await sandbox.tables()
        #expect(tables == "")
    }

    @Test("a run that has waited for the lock stops gracefully as any other")
    func gracefulStopAfterWaiting() async throws {
        let (sandbox, gate) = try await gated()
        let (_, release) = try await hold(sandbox)
        let child = try sandbox.start("up", global: ["-verbose"])
        #expect(await child.waitForError(containing: "Waiting for another run"))
        try await release()
        try await waitForBody(sandbox)
        child.send(SIGINT)
        #expect(await child.waitForError(containing: "Stopping after this running migration ..."))
        gate.closeInput()
        let ending = await child.wait()
        _ = await gate.wait()
        #expect(ending.status == 0)
        #expect(!ending.isSignalled)
        let row = try await sandbox.row()
        #expect(row == "1|f")
    }

    @Test("before the database is open, a signal ends the process as a signal does")
    func earlySignals() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let (_, release) = try await hold(sandbox)
        for signal in [SIGINT, SIGTERM] {
            let child = try sandbox.start("up", global: ["-verbose"])
            #expect(await child.waitForError(containing: "Waiting for another run"))
            child.send(signal)
            let ending = await child.wait()
            #expect(ending.isSignalled)
            #expect(ending.status == 128 + signal)
        }
        try await release()
    }

    @Test("SIGKILL in a migration leaves it dirty, and the lock goes when the server notices")
    func killed() async throws {
        let (sandbox, gate) = try await gated()
        let child = try sandbox.start("up")
        try await waitForBody(sandbox)
        child.send(SIGKILL)
        _ = await child.wait()
        gate.closeInput()
        _ = await gate.wait()
        try await sandbox.waitUntil("SELECT count(*) = 0 FROM \(Self.advisory)")
        let version = try await sandbox.migrate("version")
        #expect(version.lines == ["1 (dirty)"])
    }

    /// Starts a run in a process namespace of its own, as a container has; its first process is number 1.
    private func startContainer(_ sandbox: Sandbox) throws -> ChildProcess {
        try ChildProcess(
            "unshare",
            [
                "--fork", "--pid", "--kill-child", "--map-root-user", Sandbox.program, "-path", sandbox.path,
                "-database", sandbox.url(), "-verbose", "up",
            ],
            // Where the tests run under the address sanitizer: its search for leaks knows no process namespaces.
            environment: ["LSAN_OPTIONS": "detect_leaks=0", "ASAN_OPTIONS": "detect_leaks=0"])
    }

    /// Signals the child of `unshare`, which is process 1 inside.
    private func terminate(_ container: ChildProcess) async throws {
        let children = try await ChildProcess.run("pgrep", ["-P", "\(container.processID)"])
        kill(try #require(pid_t(children.output.split(separator: "\n").first ?? "")), SIGTERM)
    }

    @Test("SIGTERM ends process 1 of a container that is not through with opening the database")
    func processOneEarly() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        let (_, release) = try await hold(sandbox)
        let container = try startContainer(sandbox)
        #expect(await container.waitForError(containing: "Waiting for another run"))
        try await terminate(container)
        let ending = await container.wait()
        #expect(ending.status == 128 + SIGTERM)
        #expect(!ending.error.contains("Stopping"))
        try await release()
    }

    @Test("SIGTERM stops process 1 of a container gracefully")
    func processOne() async throws {
        let (sandbox, gate) = try await gated()
        let container = try startContainer(sandbox)
        try await waitForBody(sandbox)
        try await terminate(container)
        #expect(await container.waitForError(containing: "Stopping"))
        gate.closeInput()
        let ending = await container.wait()
        _ = await gate.wait()
        #expect(ending.status == 0, "\(ending.error)")
        let row = try await sandbox.row()
        #expect(row == "1|f")
    }

    @Test("a database migrated by the original goes on here and back, at every version, dirty ones too")
    func takingTurns() async throws {
        let sandbox = try await Sandbox(Sandbox.three)
        // What golang-migrate sends, statement by statement.
        func original(_ version: Int, _ body: String, isDirty: Bool = false) async throws {
            let id = lockID(sandbox)
            _ = try await sandbox.sql(
                "SELECT pg_advisory_lock(\(id)); CREATE TABLE IF NOT EXISTS \"public\".\"schema_migrations\" (version bigint not null primary key, dirty boolean not null)"
            )
            for dirty in [true, isDirty] {
                _ = try await sandbox.sql(
                    "BEGIN; TRUNCATE \"public\".\"schema_migrations\"; INSERT INTO \"public\".\"schema_migrations\" (version, dirty) VALUES (\(version), \(dirty)); COMMIT"
                )
                if dirty, !isDirty || dirty != isDirty { _ = try await sandbox.sql(body) }
            }
        }
        try await original(1, "CREATE TABLE one ()")
        let second = try await sandbox.migrate("up", "1")
        #expect(second.lineHeads == ["2/u two (DUR)"])
        try await original(3, "CREATE TABLE three ()")
        let down = try await sandbox.migrate("down", "2")
        #expect(down.lineHeads == ["3/d three (DUR)", "2/d two (DUR)"])
        try await original(2, "", isDirty: true)
        let dirty = try await sandbox.migrate("up")
        #expect(dirty.lines == ["error: Dirty database version 2. Fix and force version."])
        let columns = try await sandbox.sql(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'schema_migrations'")
        #expect(columns == "2")
    }
}
