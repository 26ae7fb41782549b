/// What an unfinished migration can have been, and the ways out.
public struct MigrationDiagnosis: Sendable {
    /// The version that the table names; −1 for none.
    public let version: Int64
    /// Which directions can have led here: an `up` to the version, a `down` from the one above.
    public let directions: [MigrationDirection]
    /// The version before the step, by the likeliest direction; −1 for none.
    public let origin: Int64
    /// The history knows which direction it was.
    public let isCertain: Bool
    /// The whole story, a line each.
    public let explanation: [String]
}

/// How to get out of an unfinished migration.
public enum MigrationRepair: Sendable {
    /// Back to the version before it, to run it again.
    case retry
    /// It was finished by hand.
    case applied
}

extension Migrator {
    /// Explains an unfinished migration; `nil` when there is none.
    ///
    /// - Throws: `MigrationError`.
    public func diagnose() async throws -> MigrationDiagnosis? {
        let (version, isDirty) = try await database.readVersion()
        guard isDirty else { return nil }
        let index = source.index(of: version)
        let above =
            version < 0
            ? source.entries.first
            : index.flatMap { $0 + 1 < source.entries.count ? source.entries[$0 + 1] : nil }
        let below: Int64 = index.map { $0 > 0 ? source.entries[$0 - 1].version : -1 } ?? -1
        var directions: [MigrationDirection] = []
        if index.map({ source.entries[$0].up != nil }) ?? false { directions.append(.up) }
        if above?.down != nil { directions.append(.down) }
        let failure = try await history.lastFailure()
        let certain: MigrationDirection? = failure.flatMap { failure in
            (failure.direction == .up ? failure.version == version : failure.version == above?.version)
                ? failure.direction : nil
        }
        if let certain { directions = [certain] }
        let direction = directions.first ?? .up
        let origin = direction == .up ? below : above?.version ?? -1
        return MigrationDiagnosis(
            version: version, directions: directions, origin: origin, isCertain: certain != nil,
            explanation: explain(
                version, directions, origin, below: below, above: above, isCertain: certain != nil))
    }

    private func explain(
        _ version: Int64, _ directions: [MigrationDirection], _ origin: Int64, below: Int64,
        above: MigrationSource.Entry?, isCertain: Bool
    ) -> [String] {
        let name = { (version: Int64) in version < 0 ? "no version" : "version \(version)" }
        var lines = ["The database is dirty: a migration to \(name(version)) began and did not end."]
        let verb = isCertain ? "was" : "can have been"
        if directions.contains(.up), let file = source.index(of: version).flatMap({ source.entries[$0].up }) {
            lines.append("  It \(verb) the up migration \(file.fileName), from \(name(below)).")
        }
        if directions.contains(.down), let file = above?.down {
            lines.append(
                "  It \(verb) the down migration \(file.fileName), from \(name(above?.version ?? -1)).")
        }
        if directions.isEmpty { lines.append("  These files have no migration that leads there.") }
        lines += [
            "A file without BEGIN and COMMIT of its own runs in one transaction: if it failed, the server has undone it;",
            "if the connection or the tool died, it may have been carried out: look at the schema.",
            "  It was undone:              repair -retry    (sets \(name(origin)), then run the migration again)",
            "  It is complete, or you completed it by hand:  repair -applied  (sets \(name(version)))",
        ]
        if directions.count == 2 {
            lines.append(
                "  It was the down migration and was undone:     force \(above?.version ?? -1)")
        }
        return lines
    }

    /// Gets out of an unfinished migration. Never done unless asked for.
    ///
    /// - Returns: The version set; −1 for none. `nil` when nothing was unfinished.
    /// - Throws: `MigrationError`.
    public func repair(_ repair: MigrationRepair) async throws -> Int64? {
        try await locked {
            guard let diagnosis = try await diagnose() else { return nil }
            let version = repair == .retry ? diagnosis.origin : diagnosis.version
            try await database.record(version, isDirty: false)
            return version
        }
    }
}
