import PostgresCluster
import Testing

@testable import Postgres

@Suite("Statements that gather")
struct GatheringTests {
    private let enough = Gathering.enough

    /// As many convoys under way as keep the machine busy, after some that took so long for each statement.
    private func busy(_ nanoseconds: UInt64) -> Gathering {
        var gathering = Gathering()
        for _ in 0..<20 {
            gathering.begin()
            gathering.end(of: 10, took: 10 * nanoseconds)
        }
        for _ in 0..<enough { gathering.begin() }
        return gathering
    }

    @Test("wait for quick convoys, as many as those take along, and only while enough are under way")
    func quick() {
        var gathering = busy(Gathering.quickTime - 1_000)
        #expect(gathering.shouldWait(behind: 0))
        #expect(gathering.shouldWait(behind: enough * PostgresPool.convoyLimit - 1))
        #expect(!gathering.shouldWait(behind: enough * PostgresPool.convoyLimit))
        gathering.end(of: 1, took: 1)
        #expect(!gathering.shouldWait(behind: 0))
    }

    @Test("do not wait before any convoy has ended, nor for slow ones, until those are long past")
    func slow() {
        #expect(!Gathering().shouldWait(behind: 0))
        var gathering = Gathering()
        for _ in 0..<enough { gathering.begin() }
        #expect(!gathering.shouldWait(behind: 0))
        gathering = busy(Gathering.quickTime + 1_000)
        #expect(!gathering.shouldWait(behind: 0))
        for _ in 0..<20 {
            gathering.begin()
            gathering.end(of: 10, took: 9 * Gathering.quickTime)
        }
        #expect(gathering.shouldWait(behind: 0))
    }

    @Test("go out after a while on a connection that is free, when what they wait for does not end")
    func patience() async throws {
        var options = PostgresPool.Options()
        options.maximumConnections = enough + 1
        let pool = PostgresPool(try await PostgresConfiguration.testServer(), options: options)
        let key = Int.random(in: 0...Int.max)
        try await withConnection { observer in
            // Opens all connections, and has convoys that are taken for quick ones, however slow this machine is.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0...enough {
                    group.addTask { _ = try await pool.queryKept("SELECT pg_sleep(\(0.01))") }
                }
                try await group.waitForAll()
            }
            try await observer.query("SELECT pg_advisory_lock(\(key)::bigint)")
            let blocked = (0..<enough).map { _ in
                Task {
                    try await pool.queryKept("SELECT 0 FROM pg_advisory_xact_lock_shared(\(key)::bigint)")
                }
            }
            while pool.statistics.lent < enough { await Task.yield() }
            pool.state.withLock { state in
                state.gathering.begin()
                state.gathering.end(of: 1_000_000, took: 0)
            }
            let answer = Task { try await pool.queryKept("SELECT \(1)::int") }
            #expect(try await answer.value[0].decode(0, as: Int.self) == 1)
            try await observer.query("SELECT pg_advisory_unlock(\(key)::bigint)")
            for task in blocked { _ = try await task.value }
        }
        await pool.shutdown()
        #expect(pool.statistics.lent == 0)
    }
}
