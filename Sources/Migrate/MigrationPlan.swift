/// What a run is asked to do.
public enum MigrationRequest: Sendable, Hashable {
    /// All that is pending, or so many steps.
    case up(Int?)
    /// Everything undone, or so many steps.
    case down(Int?)
    /// Up or down to a version.
    case goTo(Int64)
}

/// One migration to run.
public struct MigrationStep: Sendable, Hashable {
    /// Which way.
    public let direction: MigrationDirection
    /// The version that is applied or undone.
    public let version: Int64
    /// The version of the database after the step; −1 for none.
    public let target: Int64
    /// The version of the database before the step; −1 for none.
    public let origin: Int64
    /// The file; `nil` when there is none for this direction, and nothing is executed.
    public let file: MigrationFile?

    /// `3/u create_users`, as the log names it.
    public var label: String {
        "\(version)/\(direction == .up ? "u" : "d") \(file?.identifier ?? "<empty>")"
    }
}

/// The steps from one state to another, worked out without touching anything (`specs/migrate.md` 4).
struct MigrationPlan {
    var steps: [MigrationStep] = []
    /// What is raised when all steps have run: fewer could be taken than were asked for.
    var ending: MigrationError?

    /// - Parameters:
    ///   - request: What to do.
    ///   - current: The version of the database, −1 for none.
    ///   - source: The files.
    /// - Throws: `MigrationError` when nothing can be run. A plan without steps means that there is nothing to do.
    init(_ request: MigrationRequest, current: Int64, source: MigrationSource) throws(MigrationError) {
        let entries = source.entries
        guard current < 0 || source.index(of: current) != nil else { throw .notFound(current) }
        switch request {
        case .up(let limit):
            let pending = entries.filter { $0.version > current }
            if pending.isEmpty {
                if entries.isEmpty, current < 0 {
                    throw MigrationError(
                        .nothingThere, "first .: file does not exist",
                        hints: ["There is no file VERSION_NAME.up.sql in \(source.directory)."])
                }
                guard limit == nil else { throw MigrationError(.nothingThere, "file does not exist") }
                return
            }
            addUps(pending.prefix(limit ?? .max), from: current)
            if let limit, limit > pending.count { ending = Self.short(limit - pending.count) }
        case .down(let limit):
            guard current >= 0 else {
                guard limit == nil else { throw MigrationError(.nothingThere, "file does not exist") }
                return
            }
            let applied = entries.filter { $0.version <= current }
            addDowns(applied, count: min(limit ?? .max, applied.count))
            if let limit, limit > applied.count { ending = Self.short(limit - applied.count) }
        case .goTo(let version):
            guard let index = source.index(of: version) else { throw .notFound(version) }
            if version > current {
                addUps(entries[...index].filter { $0.version > current }[...], from: current)
            } else {
                let applied = entries.filter { $0.version <= current }
                addDowns(applied, count: applied.count - index - 1)
            }
        }
    }

    private mutating func addUps(_ pending: ArraySlice<MigrationSource.Entry>, from current: Int64) {
        var origin = current
        for entry in pending {
            steps.append(
                MigrationStep(
                    direction: .up, version: entry.version, target: entry.version, origin: origin,
                    file: entry.up))
            origin = entry.version
        }
    }

    private mutating func addDowns(_ applied: [MigrationSource.Entry], count: Int) {
        for index in applied.indices.reversed().prefix(count) {
            steps.append(
                MigrationStep(
                    direction: .down, version: applied[index].version,
                    target: index > 0 ? applied[index - 1].version : -1, origin: applied[index].version,
                    file: applied[index].down))
        }
    }

    private static func short(_ count: Int) -> MigrationError {
        MigrationError(.shortLimit(count), "limit \(count) short")
    }
}
