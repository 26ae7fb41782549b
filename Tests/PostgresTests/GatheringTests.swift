import PostgresCluster
import Testing

@testable import Postgres

@Suite("Statements that gather")
struct GatheringTests {
    private let limit = PostgresPool.convoyLimit

    /// A convoy under way, after some that took so long for each statement.
    private func busy(_ nanoseconds: UInt64) -> Gathering {
        var gathering = Gathering()
        for _ in 0..<20 {
            gathering.begin(at: 0)
            gathering.end(of: 10, begun: 0, at: 10 * nanoseconds)
        }
        gathering.begin(at: 0)
        return gathering
    }

    @Test("wait for quick convoys, but for those that fill one, and only while one is under way")
    func quick() {
        var gathering = busy(Gathering.quickTime - 1_000)
        #expect(gathering.shouldWait(behind: 0, at: 0))
        #expect(gathering.shouldWait(behind: limit - 2, at: 0))
        #expect(!gathering.shouldWait(behind: limit - 1, at: 0))
        gathering.end(of: 1, begun: 0, at: 1)
        #expect(!gathering.shouldWait(behind: 0, at: 0))
    }

    @Test("do not wait before any convoy has ended, nor for slow ones, until those are long past")
    func slow() {
        #expect(!Gathering().shouldWait(behind: 0, at: 0))
        var gathering = Gathering()
        gathering.begin(at: 0)
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
        gathering.begin(at: patience)
        #expect(gathering.shouldWait(behind: 0, at: patience + 1))
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

    /// A pool with one open connection and a convoy that is under way for as long as the test likes; nobody looks whether the
    /// line moves.
    private func gathering(maximum: Int) async throws -> PostgresPool {
        var options = PostgresPool.Options()
        options.maximumConnections = maximum
        let pool = PostgresPool(try await PostgresConfiguration.testServer(), options: options)
        try await pool.query("SELECT 1")
        pool.state.withLock { state in
            state.gathering = busy(1)
            state.gathering.end(of: 1, begun: 0, at: 1)
            state.gathering.begin(at: .max / 2)
            state.gathering.isWatched = true
        }
        return pool
    }

    private func ask(_ pool: PostgresPool, _ index: Int) -> Task<Int, any Error> {
        Task { try await pool.queryKept("SELECT \(index)::int")[0].decode(0, as: Int.self) }
    }

    @Test("leave together when they fill a convoy", .timeLimit(.minutes(5)))
    func full() async throws {
        let pool = try await gathering(maximum: 2)
        var answers = (0..<limit - 1).map { ask(pool, $0) }
        while pool.statistics.waiting < answers.count { await Task.yield() }
        #expect(pool.statistics.idle == 1)
        answers.append(ask(pool, answers.count))
        for (index, answer) in answers.enumerated() { #expect(try await answer.value == index) }
        await pool.shutdown()
    }

    @Test("let a connection that comes back lie while a convoy is under way", .timeLimit(.minutes(5)))
    func connectionBack() async throws {
        let pool = try await gathering(maximum: 2)
        let answer = try await pool.withConnection { _ in
            let answer = ask(pool, 7)
            while pool.statistics.waiting < 1 { await Task.yield() }
            return answer
        }
        #expect(pool.statistics == .init(idle: 1, lent: 0, waiting: 1, opened: 1))
        pool.state.withLock { $0.gathering.end(of: 1, begun: .max / 2, at: .max / 2) }
        try await pool.withConnection { _ in }
        #expect(try await answer.value == 7)
        await pool.shutdown()
    }

    @Test("do not wait before one who wants a connection to himself", .timeLimit(.minutes(5)))
    func connectionWanted() async throws {
        let pool = try await gathering(maximum: 1)
        let (answer, loan) = try await pool.withConnection { _ in
            let answer = ask(pool, 7)
            while pool.statistics.waiting < 1 { await Task.yield() }
            let loan = Task { try await pool.withConnection { _ in } }
            while pool.statistics.waiting < 2 { await Task.yield() }
            return (answer, loan)
        }
        #expect(try await answer.value == 7)
        try await loan.value
        await pool.shutdown()
    }

    @Test("go out after a while on a connection that is free, when what they wait for does not end")
    func patience() async throws {
        var options = PostgresPool.Options()
        options.maximumConnections = 2
        let pool = PostgresPool(try await PostgresConfiguration.testServer(), options: options)
        let key = Int.random(in: 0...Int.max)
        try await withConnection { observer in
            // Opens all connections, and has convoys that are taken for quick ones, however slow this machine is.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<2 {
                    group.addTask { _ = try await pool.queryKept("SELECT pg_sleep(\(0.01))") }
                }
                try await group.waitForAll()
            }
            try await observer.query("SELECT pg_advisory_lock(\(key)::bigint)")
            let blocked = Task {
                try await pool.queryKept("SELECT 0 FROM pg_advisory_xact_lock_shared(\(key)::bigint)")
            }
            while pool.statistics.lent < 1 { await Task.yield() }
            pool.state.withLock { state in
                state.gathering.begin(at: 0)
                state.gathering.end(of: 1_000_000, begun: 0, at: 0)
            }
            let answer = Task { try await pool.queryKept("SELECT \(1)::int") }
            #expect(try await answer.value[0].decode(0, as: Int.self) == 1)
            try await observer.query("SELECT pg_advisory_unlock(\(key)::bigint)")
            _ = try await blocked.value
        }
        await pool.shutdown()
        #expect(pool.statistics.lent == 0)
    }
}
