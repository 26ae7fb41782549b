import Glibc
import Postgres
import Synchronization
import Testing

@Suite struct WatchingTests {
    private final class Answered: Sendable {
        let numbers = Mutex<Set<Int>>([])
    }

    @Test(
        "tasks whose answers come before they had to wait let others have their turn", .timeLimit(.minutes(2))
    )
    func turns() async throws {
        // More than there are threads: each task goes on until all have had answers.
        let count = 2 * sysconf(Int32(_SC_NPROCESSORS_ONLN)) + 2
        let answered = Answered()
        try await withThrowingTaskGroup { group in
            for number in 0..<count {
                group.addTask {
                    try await withConnection { connection in
                        while answered.numbers.withLock({ $0.count < count }) {
                            let row = try await connection.query("SELECT \(number)::int")[0]
                            let answer = try row.decode(0, as: Int.self)
                            _ = answered.numbers.withLock { $0.insert(answer) }
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
