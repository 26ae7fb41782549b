import ArgumentParser
import BrokerClient
import BrokerLog

/// `broker repair`.
struct RepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair", abstract: "Set aside what is damaged in a data directory, and serve the rest.",
        discussion: """
            Checks the directory, keeps copies of the damaged files in DIR/damaged, and makes two checkpoints of everything that \
            is whole. What damage took is gone: its sequences stay unused, and no repair brings it back. Run it while no \
            broker runs on the directory; it may be ended and begun again at any time.
            Exit code: 0 sound, or sound now; 1 a dry run found damage; 2 it cannot be repaired, which a dry run says too.
            """)

    @Argument(help: "Data directory.") var directory: String
    @Option(help: "Cluster id of the store, where the file that says it (DIR/store) is damaged or missing.")
    var clusterID: String?
    @Flag(help: "Only print what would be done.") var dryRun = false

    mutating func run() async throws {
        let outcome = try Self.repair(directory, clusterID: clusterID, isDryRun: dryRun)
        Terminal.out(Self.text(outcome, isDryRun: dryRun))
        let needsCluster = outcome.plan.steps.contains(.writeStore)
        if dryRun, !outcome.plan.steps.isEmpty {
            throw CommandFailure(
                "\(directory) is damaged; `broker repair \(directory)\(needsCluster ? " --cluster-id NAME" : "")` does "
                    + "what is said above")
        }
    }

    /// Repairs a directory.
    static func repair(
        _ directory: String, clusterID: String?, isDryRun: Bool
    ) throws(CommandFailure) -> LogRepair.Outcome {
        do throws(LogError) {
            return try LogRepair.run(directory: directory, clusterID: clusterID, isDryRun: isDryRun)
        } catch {
            throw CommandFailure(error.description, exitCode: 2)
        }
    }

    /// What was found and done, for a person.
    static func text(_ outcome: LogRepair.Outcome, isDryRun: Bool) -> String {
        guard !outcome.plan.steps.isEmpty else { return "Sound: nothing to repair\n" }
        var text = ""
        for damage in outcome.before.damage { text += "Damage: \(damage.description.printable)\n" }
        for range in outcome.plan.lost { text += "Lost: \(range.description.printable)\n" }
        text += isDryRun ? "A repair would:\n" : "Done:\n"
        for step in outcome.plan.steps { text += "  - \(step.description.printable)\n" }
        if let path = outcome.setAside { text += "The copies are in \(path)\n" }
        if let after = outcome.after {
            text +=
                "Sound now: \(Figures.grouped(after.messages)) messages in "
                + "\(Figures.grouped(after.channels.count)) channels\n"
        }
        return text
    }
}
