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
            gathering.begin(at: 0)
            gathering.end(of: 10, begun: 0, at: 10 * nanoseconds)
        }
        for _ in 0..<enough { gathering.begin(at: 0) }
        return gathering
    }

    @Test("wait for quick convoys, as many as those take along, and only while enough are under way")
    func quick() {
        var gathering = busy(Gathering.quickTime - 1_000)
        #expect(gathering.shouldWait(behind: 0, at: 0))
        #expect(gathering.shouldWait(behind: enough * PostgresPool.convoyLimit - 1, at: 0))
        #expect(!gathering.shouldWait(behind: enough * PostgresPool.convoyLimit, at: 0))
        gathering.end(of: 1, begun: 0, at: 1)
        #expect(!gathering.shouldWait(behind: 0, at: 0))
    }

    @Test("do not wait before any convoy has ended, nor for slow ones, until those are long past")
    func slow() {
        #expect(!Gathering().shouldWait(behind: 0, at: 0))
        var gathering = Gathering()
        for _ in 0..<enough { gathering.begin(at: 0) }
        #expect(!gathering.shouldWait(behind: 0, at: 0))
        gathering = busy(Gathering.quickTime + 1_000)
        #expect(!gathering.shouldWait(behind: 0, at: 0))
        for _ in 0..<20 {
            gathering.begin(at: 0)
            gathering.end(of: 10, begun: 0, at: 9 * Gathering.quickTime)
        }
        #expect(gathering.shouldWait(behind: 0, at: 0))
    }

    @Test("do not wait for those that were sent long ago, whatever has ended since")
    func stuck() {
        let patience = UInt64(Gathering.patience) * 1_000_000
        var gathering = busy(1)
        #expect(gathering.shouldWait(behind: 0, at: patience - 1))
        #expect(!gathering.shouldWait(behind: 0, at: patience))
        gathering.begin(at: patience)
        gathering.end(of: 1, begun: patience, at: patience + 1)
        #expect(!gathering.shouldWait(behind: 0, at: patience + 1))
        for _ in 0..<enough { gathering.begin(at: patience) }
        #expect(gathering.shouldWait(behind: enough * PostgresPool.convoyLimit - 1, at: patience + 1))
        #expect(!gathering.shouldWait(behind: enough * PostgresPool.convoyLimit, at: patience + 1))
    }

    @Test("go out on all connections that are free, not only as many as travel together")
    func longLine() async throws {
        var options = PostgresPool.Options()
        let maximum = 3
        options.maximumConnections = maximum
        let pool = PostgresPool(try await PostgresConfiguration.testServer(), options: options)
        // Open, and idle.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<maximum {
                group.addTask {
                    try await pool.withConnection { _ in
                        while pool.statistics.opened < maximum { await Task.yield() }
                    }
                }
            }
            try await group.waitForAll()
        }
        let answers = (0..<(2 * PostgresPool.convoyLimit + 1)).map { index in
            Task {
                let operation = Operation(try ConvoyMember("SELECT \(index)::int"), timeout: nil)
                let outcome = await withCheckedContinuation { continuation in
                    operation.memberContinuation = continuation
                    pool.state.withLock {
                        $0.waiters.append(.init(id: UInt64(1_000 + index), wish: .statement(operation)))
                    }
                }
                return try outcome?.get().last?[0].decode(0, as: Int.self)
            }
        }
        while pool.statistics.waiting < answers.count { await Task.yield() }
        pool.moveLine(unlessSentMoreThan: pool.state.withLock { $0.gathering.sent })
        #expect(pool.statistics.waiting == 0)
        for (index, answer) in answers.enumerated() { #expect(try await answer.value == index) }
        await pool.shutdown()
    }

    @Test(
        "go out after a while on a connection that is free, when what they wait for does not end",
        .timeLimit(.minutes(5)))
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
                state.gathering.begin(at: 0)
                state.gathering.end(of: 1_000_000, begun: 0, at: 0)
                // Sent just now for as long as this takes, so that the next statement waits for them on any machine.
                for _ in 0..<enough { state.gathering.begin(at: .max / 2) }
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
