/// Which way a migration goes.
public enum MigrationDirection: String, Sendable, Hashable, CaseIterable {
    /// Towards higher versions.
    case up
    /// Back.
    case down
}

/// What the name of a migration file says: `000001_create_users.up.sql` (`specs/migrate.md` 2.2).
public struct MigrationFile: Sendable, Hashable {
    /// The version, 0 … 2⁶³ − 1.
    public let version: Int64
    /// What stands between the version and the direction; may be empty.
    public let identifier: String
    /// Which way it goes.
    public let direction: MigrationDirection
    /// The whole name.
    public let fileName: String

    /// What a name is.
    enum Reading {
        case migration(MigrationFile)
        /// Not a migration; it is passed over.
        case other
        /// A migration with a version beyond what the database can hold.
        case tooLarge
    }

    private static let marks = MigrationDirection.allCases.map { ($0, Array(".\($0.rawValue).".utf8)) }

    /// Reads a file name by `^([0-9]+)_(.*)\.(down|up)\.(.*)$`, greedily: the last direction counts.
    static func read(_ fileName: String) -> Reading {
        let bytes = Array(fileName.utf8)
        let digits = bytes.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        guard !digits.isEmpty, bytes.count > digits.count, bytes[digits.count] == UInt8(ascii: "_"),
            !bytes.contains(UInt8(ascii: "\n")),
            let version = UInt64(String(decoding: digits, as: UTF8.self))
        else { return .other }
        let rest = bytes[(digits.count + 1)...]
        // From the end: the first mark found is the last one.
        var best: (start: Int, direction: MigrationDirection)?
        var end = bytes.endIndex
        while best == nil, let dot = bytes[rest.startIndex..<end].lastIndex(of: UInt8(ascii: ".")) {
            for (direction, mark) in marks where rest[dot...].starts(with: mark) { best = (dot, direction) }
            end = dot
        }
        guard let best else { return .other }
        guard let signed = Int64(exactly: version) else { return .tooLarge }
        return .migration(
            MigrationFile(
                version: signed, identifier: String(decoding: rest[..<best.start], as: UTF8.self),
                direction: best.direction, fileName: fileName))
    }
}
