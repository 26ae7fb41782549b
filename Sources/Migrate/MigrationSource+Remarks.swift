import Postgres

extension MigrationSource {
    /// What is odd about the files (`specs/migrate.md` 5, item 12): names that are nearly migrations, and migrations that
    /// their author may not have meant as they are.
    public var remarks: [String] {
        Directory.sorted(others).compactMap(Self.nearMiss) + mixedPadding + withoutDown + leftovers
            + deadLinks
    }

    /// Why a file is passed over although its author may have meant a migration.
    private static func nearMiss(_ name: String) -> String? {
        let lower = name.lowercased()
        guard lower.hasBytes(".up.") || lower.hasBytes(".down.") else { return nil }
        if case .migration = MigrationFile.read(lower) {
            return "\(name) is no migration: up and down are written in small letters"
        }
        return "\(name) is no migration: its name is not VERSION_NAME.up.sql or VERSION_NAME.down.sql"
    }

    /// The names of the migrations in the order of versions.
    private var fileNames: [String] { entries.flatMap { [$0.up, $0.down].compactMap { $0?.fileName } } }

    private var mixedPadding: [String] {
        func width(_ name: String) -> Int { name.utf8.prefix { $0 != UInt8(ascii: "_") }.count }
        let names = fileNames
        guard let padded = names.first(where: { $0.hasPrefix("0") && width($0) > 1 }),
            let other = names.first(where: { width($0) != width(padded) })
        else { return [] }
        return [
            "\(padded) and \(other) have versions of different width: listed by name they stand in another order than they run"
        ]
    }

    /// Where nothing can be undone, nobody meant to.
    private var withoutDown: [String] {
        guard entries.contains(where: { $0.down != nil }) else { return [] }
        return entries.compactMap { entry in
            guard let up = entry.up, entry.down == nil else { return nil }
            return "\(up.fileName) has no down file: undoing it changes the version and nothing else"
        }
    }

    private var leftovers: [String] {
        let endings = [".bak", ".orig", ".old", ".rej", ".save", ".swp", ".tmp", "~"]
        return fileNames.filter { name in endings.contains { name.hasSuffix($0) } }
            .map { "\($0) is a migration as any other: what stands behind up or down makes no difference" }
    }

    private var deadLinks: [String] {
        let links = Set(links)
        return fileNames.filter { name in
            guard links.contains(name) else { return false }
            do {
                _ = try Directory.size("\(directory)/\(name)")
                return false
            } catch {
                return true
            }
        }.map { "\($0) is a link that leads to no file" }
    }
}
