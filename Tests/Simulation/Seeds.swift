import Glibc
import Testing

/// How runs are chosen: `SIMULATION_SEED` runs one, `SIMULATION_SEEDS` says how many (2,000 by default), from
/// `SIMULATION_FIRST` on.
enum Seeds {
    static func value(_ name: String) -> UInt64? {
        guard let text = getenv(name) else { return nil }
        return UInt64(String(cString: text))
    }

    static var count: UInt64 { value("SIMULATION_SEEDS") ?? 2_000 }

    /// The seeds, dealt to so many tests that both cores work; `share` of them.
    static func dealt(_ part: UInt64, of parts: UInt64, share: Double = 1) -> [UInt64] {
        if let one = value("SIMULATION_SEED") { return part == 0 ? [one] : [] }
        let first = value("SIMULATION_FIRST") ?? 1
        let count = max(1, UInt64(Double(count) * share))
        return (first..<(first + count)).filter { $0 % parts == part }
    }

    /// Says what a seed broke and how to see it again.
    static func fail(_ test: String, seed: UInt64, _ error: any Error, _ run: Simulation? = nil) {
        let steps = run.map { "\n  last steps: \($0.trace.suffix(30).joined(separator: ", "))" } ?? ""
        Issue.record(
            """
            seed \(seed): \(error)\(steps)
            replay: SIMULATION_SEED=\(seed) swift test --filter SimulationTests.\(test)
            """)
    }
}
