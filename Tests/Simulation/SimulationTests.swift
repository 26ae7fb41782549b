import BrokerLog
import Glibc
import Testing

/// How the random runs are chosen: `SIMULATION_SEED` runs one, `SIMULATION_SEEDS` says how many
/// (2,000 by default), from `SIMULATION_FIRST` on.
private enum Seeds {
    static func value(_ name: String) -> UInt64? {
        guard let text = getenv(name) else { return nil }
        return UInt64(String(cString: text))
    }

    /// The seeds, dealt to so many tests that both cores work.
    static func dealt(_ part: UInt64, of parts: UInt64) -> [UInt64] {
        if let one = value("SIMULATION_SEED") { return part == 0 ? [one] : [] }
        let first = value("SIMULATION_FIRST") ?? 1
        let count = value("SIMULATION_SEEDS") ?? 2_000
        return (first..<(first + count)).filter { $0 % parts == part }
    }
}

@Suite("The log on a disk that fails")
struct SimulationTests {
    @Test(
        "nothing acknowledged is lost, altered, reordered or doubled, whatever the disk does",
        arguments: UInt64(0)..<4)
    func survives(part: UInt64) throws {
        var failures = 0
        var crashes = 0
        var acknowledged = 0
        for seed in Seeds.dealt(part, of: 4) {
            do {
                if getenv("SIMULATION_VERBOSE") != nil {
                    let t = "seed \(seed)\n"
                    write(2, t, t.utf8.count)
                }
                let simulation = try Simulation(seed: seed)
                try simulation.run(steps: 100)
                crashes += simulation.crashes
                acknowledged += simulation.acknowledged
            } catch {
                failures += 1
                Issue.record(
                    """
                    seed \(seed): \(error)
                    replay: SIMULATION_SEED=\(seed) swift test --filter SimulationTests
                    """)
                if failures == 3 { break }
            }
        }
        print("simulation part \(part): \(crashes) crashes, \(acknowledged) records acknowledged and found")
    }
}
