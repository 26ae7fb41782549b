import Foundation
import Postgres
import PostgresCluster
import Testing

@Suite struct PoolTests {
    private func pool(
        _ cluster: PostgresCluster? = nil, _ change: (inout PostgresPool.Options) -> Void = { _ in }
    )
        async throws -> (pool: PostgresPool, name: String)
    {
        var configuration = try await PostgresConfiguration.testServer(cluster)
        let name = "pool-" + UUID().uuidString
        configuration.parameters["application_name"] = name
        var options = PostgresPool.Options()
        options.acquireTimeout = .seconds(600)
        change(&options)
        return (PostgresPool(configuration, options: options), name)
    }

    private func connections(_ name: String) async throws -> Int {
        try await withConnection {
            try await $0.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = \(name)")[0]
                .decode(0, as: Int.self)
        }
    }

    @Test("two hundred tasks share ten connections, and none is left behind")
    func manyTasks() async throws {
        let (pool, name) = try await pool()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for task in 0..<200 {
                group.addTask {
                    var sum = 0
                    for step in 0..<10 {
                        sum += try await pool.query("SELECT \(task * step)::int")[0].decode(0, as: Int.self)
                    }
                    return sum
                }
            }
            var total = 0
            for try await sum in group { total += sum }
            #expect(total == (0..<200).reduce(0, +) * 45)
        }
        let statistics = pool.statistics
        #expect(statistics.lent == 0)
        #expect(statistics.waiting == 0)
        #expect(statistics.idle <= 10)
        #expect(statistics.opened <= 10)
        let count = try await connections(name)
        #expect(count == statistics.idle)
        await pool.shutdown()
        try await withConnection {
            try await waitUntil(
                $0, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = '\(name)'")
        }
        let closed = await #expect(throws: PostgresError.self) { try await pool.query("SELECT 1") }
        #expect(closed?.code == .poolClosed)
    }

    @Test(
        "an exhausted pool says so: at once when the line is full, after the timeout otherwise; cancelled callers leave"
    )
    func exhaustion() async throws {
        let (pool, _) = try await pool {
            $0.maximumConnections = 1
            $0.maximumWaiters = 1
            $0.acquireTimeout = .milliseconds(100)
        }
        try await pool.withConnection { _ in
            let late = await #expect(throws: PostgresError.self) { try await pool.query("SELECT 1") }
            #expect(late?.code == .poolExhausted)
            #expect(late?.message.contains("all 1 are lent") == true)
        }
        let (strict, _) = try await self.pool {
            $0.maximumConnections = 1
            $0.maximumWaiters = 0
        }
        try await strict.withConnection { _ in
            let full = await #expect(throws: PostgresError.self) { try await strict.query("SELECT 1") }
            #expect(full?.code == .poolExhausted)
        }
        let (patient, _) = try await self.pool { $0.maximumConnections = 1 }
        try await patient.withConnection { _ in
            let waiting = Task { try await patient.query("SELECT 1") }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { try await waiting.value }
        }
        let one = try await patient.query("SELECT 1").count
        #expect(one == 1)
        #expect(patient.statistics.waiting == 0)
        for pool in [pool, strict, patient] { await pool.shutdown() }
    }

    @Test(
        "a transaction left open is rolled back before the connection is lent again, and a cancelled body gives it back"
    )
    func leftovers() async throws {
        let (pool, _) = try await pool { $0.maximumConnections = 1 }
        try await pool.withConnection { try await $0.execute(script: "CREATE TEMP TABLE t (n int); ") }
        try await pool.withConnection { try await $0.execute(script: "BEGIN; INSERT INTO t VALUES (1)") }
        let count = try await pool.query("SELECT count(*) FROM t")[0].decode(0, as: Int.self)
        #expect(count == 0)
        let task = Task {
            try await pool.withConnection { connection in
                withUnsafeCurrentTask { $0?.cancel() }
                try await connection.query("SELECT 1")
            }
        }
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(pool.statistics.lent == 0)
        let again = try await pool.query("SELECT 1").count
        #expect(again == 1)
        #expect(pool.statistics.opened == 1)
        await pool.shutdown()
    }

    @Test("concurrent transactions that collide are tried again until all have counted")
    func serialization() async throws {
        let cluster = try await PostgresCluster.shared()
        let database = try await cluster.createDatabase()
        var configuration = try await PostgresConfiguration.testServer()
        configuration.parameters["dbname"] = database
        var options = PostgresPool.Options()
        options.acquireTimeout = .seconds(600)
        let pool = PostgresPool(configuration, options: options)
        try await pool.query("CREATE TABLE c (n int)")
        try await pool.query("INSERT INTO c VALUES (0)")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await pool.withTransaction(isolation: .serializable, attempts: 200) { transaction in
                        let n = try await transaction.query("SELECT n FROM c")[0].decode(0, as: Int.self)
                        try await transaction.query("UPDATE c SET n = \(n + 1)")
                    }
                }
            }
            try await group.waitForAll()
        }
        let n = try await pool.query("SELECT n FROM c")[0].decode(0, as: Int.self)
        #expect(n == 20)
        await pool.shutdown()
    }

    @Test(
        "after the server restarted under load, every later query works and no connection is lost or leaked")
    func restart() async throws {
        let cluster = try await PostgresCluster.restartable()
        let (pool, name) = try await pool(cluster)
        let load = Task {
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<50 {
                    group.addTask {
                        var failures = 0
                        while !Task.isCancelled {
                            do { try await pool.query("SELECT pg_sleep(0.001)") } catch is CancellationError {
                            } catch { failures += 1 }
                        }
                        return failures
                    }
                }
                return try await group.reduce(0, +)
            }
        }
        for _ in 0..<100 { try await pool.query("SELECT 1") }
        try await cluster.stop()
        let refused = await #expect(throws: PostgresError.self) { try await pool.query("SELECT 1") }
        #expect(refused != nil)
        try await cluster.start()
        for _ in 0..<500 { try await pool.query("SELECT 1") }
        load.cancel()
        let failures = try await load.value
        #expect(failures > 0)
        #expect(pool.statistics.lent == 0)
        let count = try await pool.query(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = \(name)")[0]
            .decode(0, as: Int.self)
        #expect(count <= 10)
        #expect(count == pool.statistics.idle)
        await pool.shutdown()
    }

    @Test("old and unused connections are closed and replaced")
    func ages() async throws {
        let (pool, _) = try await pool {
            $0.maximumLifetime = .zero
            $0.maximumConnections = 1
        }
        for _ in 0..<3 { try await pool.query("SELECT 1") }
        #expect(pool.statistics.opened == 3)
        #expect(pool.statistics.idle == 0)
        let (checked, _) = try await self.pool {
            $0.checkAfter = .zero
            $0.maximumConnections = 1
        }
        let first = try await checked.withConnection { $0.backendProcessID }
        let second = try await checked.withConnection { $0.backendProcessID }
        #expect(first == second)
        try await withConnection { try await $0.query("SELECT pg_terminate_backend(\(first), 10000)") }
        let third = try await checked.withConnection { $0.backendProcessID }
        #expect(third != first)
        await checked.shutdown()
        await pool.shutdown()
    }
}
